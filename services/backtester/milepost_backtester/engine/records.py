"""What the ledger keeps: open lots and waiting orders, and the append-only logs of what happened."""

from array import array
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

State: TypeAlias = dict[str, Any]
"""Text keys and JSON values; survives a JSON round trip bit for bit."""


@dataclass(frozen=True, slots=True)
class Order:
    """A market order that waits for the next open."""

    order_id: int
    """From 1, in the order of submission; orders fill in this order."""
    quantity: float
    """Units; negative sells."""
    submitted_bar: int
    """The bar at whose close it was decided."""


@dataclass(slots=True)
class Lot:
    """Units that one fill opened and that are still held."""

    order_id: int
    bar: int
    """The bar at whose open it was entered."""
    price: float
    quantity: float
    """Units still held; negative when short."""
    commission: float
    """Entry commission of the units still held."""
    highest: float
    """Highest price since the entry, for the excursions."""
    lowest: float


@dataclass(frozen=True, slots=True)
class Fill:
    """One executed order."""

    order_id: int
    submitted_bar: int
    bar: int
    quantity: float
    """Units; negative sells."""
    price: float
    commission: float


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """Units from their entry to their exit; first in, first out."""

    entry_order_id: int
    exit_order_id: int
    entry_bar: int
    exit_bar: int
    quantity: float
    """Units; negative when short."""
    entry_price: float
    exit_price: float
    commission: float
    """Of entry and exit together."""
    pnl: float
    """``quantity * (exit_price - entry_price) - commission``."""
    max_favourable_excursion: float
    """Best unrealised profit while held, before commission; at least 0."""
    max_adverse_excursion: float
    """Worst unrealised loss while held, before commission, as a positive number; at least 0."""


@dataclass(slots=True)
class Logs:
    """What only ever grows. Lengths belong to the state: rows beyond them are cut when a state is loaded."""

    equity: "array[float]" = field(default_factory=lambda: array("d"))
    """Cash plus position at the close, one value for each bar done."""
    cash: "array[float]" = field(default_factory=lambda: array("d"))
    position: "array[float]" = field(default_factory=lambda: array("d"))
    fills: list[Fill] = field(default_factory=list[Fill])
    trades: list[RoundTrip] = field(default_factory=list[RoundTrip])

    def copy(self) -> Self:
        """Return logs of their own with the same rows."""
        return type(self)(self.equity[:], self.cash[:], self.position[:], list(self.fills), list(self.trades))

    def cut(self, *, bars: int, fills: int, trades: int) -> None:
        """Drop the rows beyond these lengths."""
        for marks in (self.equity, self.cash, self.position):
            del marks[bars:]
        del self.fills[fills:]
        del self.trades[trades:]
