"""One axis of a sweep's grid: values written out, or a range that stands for them."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Self, TypeAlias

from pydantic import ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from milepost_contracts.model import ContractModel

VALUES_MAX = 100_000

Number: TypeAlias = StrictInt | Annotated[StrictFloat, Field(allow_inf_nan=False)]
GridValue: TypeAlias = StrictBool | Number | StrictStr


class GridRange(ContractModel):
    """Numbers from ``from`` up to ``to``, both included where the step reaches it."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    first: Annotated[Number, Field(alias="from")]
    to: Number
    step: Number | None = None
    """Distance of two values; it and ``count`` exclude each other."""
    count: Annotated[int, Field(ge=2, le=VALUES_MAX)] | None = None
    """How many values at equal distances."""

    @model_validator(mode="after")
    def _has_values(self) -> Self:
        problems: list[str] = []
        if (self.step is None) == (self.count is None):
            problems.append("give step or count: one of the two")
        if self.to < self.first:
            problems.append(f"to ({self.to}) must be at least from ({self.first})")
        if self.step is not None and self.step <= 0:
            problems.append(f"step ({self.step}) must be more than 0")
        elif self.step and (_decimal(self.to) - _decimal(self.first)) / _decimal(self.step) >= VALUES_MAX:
            problems.append(f"the range has more than {VALUES_MAX:,} values: make the step larger")
        if problems:
            raise ValueError("; ".join(problems))
        return self


def values_of(axis: "Sequence[GridValue] | GridRange") -> tuple[GridValue, ...]:
    """Return the values of an axis in order; whole numbers where they are whole and none was given as a fraction.

    Decimal arithmetic: the third value from 0.1 in steps of 0.1 is 0.3, not 0.30000000000000004.
    """
    if not isinstance(axis, GridRange):
        return tuple(axis)
    first, last = _decimal(axis.first), _decimal(axis.to)
    if axis.step is not None:
        step = _decimal(axis.step)
        values = [first + step * place for place in range(int((last - first) / step) + 1)]
    else:
        count = axis.count or 2
        values = [first + (last - first) * place / (count - 1) for place in range(count)]
    whole = all(isinstance(number, int) for number in (axis.first, axis.to, axis.step or 0)) and all(
        value == int(value) for value in values
    )
    return tuple(int(value) if whole else float(value) for value in values)


def _decimal(number: float) -> Decimal:
    return Decimal(repr(number))
