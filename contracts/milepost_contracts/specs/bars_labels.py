"""What the task ``bars`` predicts: a union of small types, told apart by ``name``."""

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from milepost_contracts.model import ContractModel
from milepost_contracts.specs.named import told_by_name

Horizon = Annotated[int, Field(ge=1, le=10_000)]
Multiple = Annotated[float, Field(gt=0, le=1_000, allow_inf_nan=False)]


class DirectionLabel(ContractModel):
    """Whether the close will be higher ``horizon`` bars later."""

    classes: ClassVar[tuple[str, ...]] = ("down", "up")

    name: Literal["direction"] = "direction"
    horizon: Horizon = 1


class ReturnLabel(ContractModel):
    """The log return of the close over the next ``horizon`` bars, a number."""

    classes: ClassVar[tuple[str, ...]] = ()

    name: Literal["return"] = "return"
    horizon: Horizon = 1


class TripleBarrierLabel(ContractModel):
    """Which barrier the close touches first: profit, stop, or the time limit.

    Source: M. Lopez de Prado, Advances in Financial Machine Learning, 2018, chapter 3.
    """

    classes: ClassVar[tuple[str, ...]] = ("down", "timeout", "up")

    name: Literal["triple-barrier"] = "triple-barrier"
    horizon: Horizon = 10
    """Time limit in bars."""
    profit: Multiple = 2.0
    """Distance of the upper barrier in multiples of the volatility."""
    stop: Multiple = 2.0
    """Distance of the lower barrier in multiples of the volatility."""
    volatility: Annotated[int, Field(ge=2, le=10_000)] = 20
    """Bars up to the sample over which the standard deviation of log returns is taken."""


class ZigzagLabel(ContractModel):
    """Direction of the swing that goes on from this bar, known only in hindsight.

    A swing ends at the highest (lowest) close from which the close then falls (rises) by ``reversal``.
    """

    classes: ClassVar[tuple[str, ...]] = ("down", "up")

    name: Literal["zigzag"] = "zigzag"
    reversal: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of the price."""


_Labels: TypeAlias = DirectionLabel | ReturnLabel | TripleBarrierLabel | ZigzagLabel
LabelSpec: TypeAlias = Annotated[_Labels, Field(discriminator="name"), told_by_name(_Labels)]
