"""What the engine gives out: orders, lots, fills, round trips, and the logs that only ever grow."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

import numpy as np

from milepost_backtester.engine.bars import Floats
from milepost_backtester.engine.layouts import FILL, TRADE, Table

State: TypeAlias = dict[str, Any]
"""Text keys and JSON values; survives a JSON round trip bit for bit."""


@dataclass(frozen=True, slots=True)
class Order:
    """An order that waits. Those of one bar act in the order of submission."""

    order_id: int
    """From 1, in the order of submission."""
    quantity: float
    """Units; negative sells."""
    submitted_bar: int
    """The bar at whose close it was decided; it acts from the next one on."""
    symbol: int = 0
    kind: int = 0
    """``MARKET``, ``LIMIT``, ``STOP``, ``STOP_LIMIT`` or ``TRAILING`` of ``layouts``."""
    limit: float = 0.0
    stop: float = 0.0
    trail: float = 0.0
    """Distance of a trailing stop from the best price, in money."""
    trail_rate: float = 0.0
    """The same as a share of the best price."""
    extreme: float = 0.0
    """The best price that a trailing stop has seen."""
    day: int = 0
    """1: good for the day of the first bar it can fill in; 0: until cancelled."""
    group: int = 0
    """Orders of one group other than 0: when one fills, the others are dropped."""
    parent: int = 0
    """The order whose fill this one waits for; 0 when it may act."""
    reduce_only: int = 0
    """1: closes at most what is held, and goes when nothing is."""
    triggered: int = 0
    """1: the stop of a stop-limit order was reached."""


@dataclass(frozen=True, slots=True)
class Lot:
    """Units that one fill opened and that are still held."""

    order_id: int
    bar: int
    """The bar in which it was entered."""
    price: float
    quantity: float
    """Units still held; negative when short."""
    commission: float
    """Entry commission of the units still held."""
    highest: float
    """Highest price since the entry, for the excursions."""
    lowest: float
    symbol: int = 0


@dataclass(frozen=True, slots=True)
class Fill:
    """One executed order."""

    order_id: int
    submitted_bar: int
    bar: int
    quantity: float
    """Units; negative sells."""
    price: float
    """With spread and slippage."""
    commission: float
    symbol: int = 0


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
    symbol: int = 0


def _no_marks() -> Floats:
    return np.empty(0)


@dataclass(slots=True, eq=False)
class Logs:
    """What only ever grows, as arrays. Lengths belong to the state; rows beyond them are cut on loading."""

    equity: Floats = field(default_factory=_no_marks)
    """Cash plus positions at the close, one value for each bar done."""
    cash: Floats = field(default_factory=_no_marks)
    position: Floats = field(default_factory=_no_marks)
    """Units held: (bars,), of several symbols (symbols, bars)."""
    fills: Table = field(default_factory=lambda: np.empty(0, FILL))
    """Rows of ``layouts.FILL``."""
    trades: Table = field(default_factory=lambda: np.empty(0, TRADE))
    """Rows of ``layouts.TRADE``."""

    def copy(self) -> Self:
        """Return logs of their own with the same rows."""
        return type(self)(
            self.equity.copy(), self.cash.copy(), self.position.copy(), self.fills.copy(), self.trades.copy()
        )


def fills_of(rows: Table) -> list[Fill]:
    """Return rows of the log of fills as records."""
    return [Fill(*row) for row in rows.tolist()]


def round_trips_of(rows: Table) -> list[RoundTrip]:
    """Return rows of the log of trades as records."""
    return [RoundTrip(*row) for row in rows.tolist()]


def orders_of(rows: Table) -> tuple[Order, ...]:
    """Return rows of the table of orders as records."""
    return tuple(Order(*row[:-1]) for row in rows.tolist())


def rows_as_states(rows: Table, columns: Sequence[str]) -> list[State]:
    """Return some columns of a table as plain values by name."""
    if not len(rows):
        return []
    values = [rows[name].tolist() for name in columns]
    return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]


def states_as_rows(states: Sequence[State], columns: Sequence[str], layout: Any) -> Table:
    """Return what ``rows_as_states`` gave as a table again; other columns are 0.

    Raises:
        KeyError: a column is missing.
    """
    rows: Table = np.zeros(len(states), layout)
    for name in columns:
        rows[name] = [state[name] for state in states]
    return rows
