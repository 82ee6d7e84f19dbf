"""How large a position is: parameters that the rules of the library share."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, ValidationInfo, field_validator

from milepost_contracts.model import ContractModel

SizingKind: TypeAlias = Literal["units", "cash", "equity", "target", "volatility"]
SHARES_MAX = {"equity": 10.0, "target": 10.0, "volatility": 1.0}
"""The most that ``quantity`` may be where it is a share."""
TOLERANCE_DEFAULT, RANGE_BARS_DEFAULT = 0.1, 14


class SizedParameters(ContractModel):
    """Parameters of a rule that wants a position of some size."""

    sizing: SizingKind = "units"
    """What ``quantity`` counts, as of the bar at which a side is entered. ``units``; ``cash``: money; ``equity``:
    the share of the equity that the position is worth; ``volatility``: the share that it loses when prices move
    by their average true range. ``target``: as ``equity``, and kept while the position lasts."""
    quantity: Annotated[float, Field(gt=0, allow_inf_nan=False, validate_default=True)] = 100.0
    """How much a position is, in what ``sizing`` counts."""
    tolerance: Annotated[float, Field(ge=0, lt=1)] = TOLERANCE_DEFAULT
    """With ``target``: how far off a position may be, as a share of what it should be, until brought back."""
    range_bars: Annotated[int, Field(ge=2, le=100_000)] = RANGE_BARS_DEFAULT
    """With ``volatility``: bars of the average true range (Wilder)."""

    @field_validator("quantity")
    @classmethod
    def _is_a_possible_share(cls, quantity: float, info: ValidationInfo) -> float:
        sizing = info.data.get("sizing")
        most = SHARES_MAX.get(str(sizing))
        if most is not None and quantity > most:
            raise ValueError(
                f"with sizing {sizing} a share of the equity, at most {most:g}, not {quantity:g}: 0.01 is 1 %"
            )
        return quantity

    @field_validator("tolerance", "range_bars")
    @classmethod
    def _counts(cls, value: float, info: ValidationInfo) -> float:
        wanted, usual = {
            "tolerance": ("target", TOLERANCE_DEFAULT),
            "range_bars": ("volatility", RANGE_BARS_DEFAULT),
        }[str(info.field_name)]
        if value != usual and info.data.get("sizing", wanted) != wanted:
            raise ValueError(f"counts only with sizing {wanted}")
        return value
