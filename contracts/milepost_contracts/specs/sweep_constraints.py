"""What combinations must satisfy: two sides and a comparison, nothing that could be executed."""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_NUMBER = r"-?\d+(?:\.\d+)?"
_SIDE = rf"(?:(?P<{{0}}factor>{_NUMBER})\s*\*\s*)?(?P<{{0}}name>{_NAME})|(?P<{{0}}number>{_NUMBER})"
_CONSTRAINT = re.compile(
    rf"\s*(?:{_SIDE.format('left_')})\s*(?P<comparison><=|>=|==|!=|<|>)\s*(?:{_SIDE.format('right_')})\s*"
)


@dataclass(frozen=True, slots=True)
class Side:
    """``factor * name``, or a number."""

    factor: float
    name: str | None

    def value(self, parameters: Mapping[str, Any]) -> Any:
        """Return what the side is for these parameters.

        Raises:
            KeyError: there is no such parameter.
            TypeError: it is no number.
        """
        if self.name is None:
            return self.factor
        value = parameters[self.name]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{self.name} is {value!r}, which is no number")
        return value if self.factor == 1 else self.factor * value


@dataclass(frozen=True, slots=True)
class Constraint:
    """A comparison of two sides."""

    text: str
    left: Side
    right: Side
    comparison: str

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters it speaks of."""
        return tuple(side.name for side in (self.left, self.right) if side.name is not None)

    def holds(self, parameters: Mapping[str, Any]) -> bool:
        """Say whether these parameters satisfy it; errors as for ``Side.value``."""
        return _COMPARISONS[self.comparison](self.left.value(parameters), self.right.value(parameters))


def parse_constraint(text: str) -> Constraint:
    """Read ``fast < slow``, ``slow >= 2 * fast``, ``quantity <= 100``.

    Raises:
        ValueError: it is nothing like that.
    """
    found = _CONSTRAINT.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r} cannot be read: write it as `fast < slow` or `slow >= 2 * fast`"
            f" (comparisons: {' '.join(_COMPARISONS)})"
        )
    return Constraint(text.strip(), _side(found, "left_"), _side(found, "right_"), found["comparison"])


def _side(found: "re.Match[str]", prefix: str) -> Side:
    number, factor = found[f"{prefix}number"], found[f"{prefix}factor"]
    if number is not None:
        return Side(float(number), None)
    return Side(float(factor or 1), found[f"{prefix}name"])
