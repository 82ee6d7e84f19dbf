"""Fill rules from ``tests/golden/fills``: read from their files, and played to the engine in each of its ways."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from milepost_backtester.engine.bars import Bars
from milepost_backtester.engine.compiled import compiled
from milepost_backtester.engine.desk import Desk, cancel, of, order, target
from milepost_backtester.engine.orders import Conditions
from milepost_backtester.engine.portfolio_bars import PortfolioBars
from milepost_backtester.engine.strategy import ActingRule, CompiledRule
from milepost_backtester.engine.terms import Terms
from milepost_backtester.engine.waking import WakeWhen

from tests.backtester.reference_engine import Reference

FOLDER = Path(__file__).parents[1] / "golden" / "fills"
HOUR = 3600 * 10**9
FIRST_DAY = 24 * HOUR
CONDITIONS = tuple(field.name for field in fields(Conditions))
PRICES = (
    "limit",
    "stop",
    "trail",
    "trail_rate",
    "stop_loss",
    "take_profit",
    "stop_trail",
    "stop_trail_rate",
)
ORDER, TARGET, CANCEL = 0.0, 1.0, 2.0
COLUMNS = 15
"""Of a plan in compiled code: bar, verb, value, the eight prices, day, reduce only, place of the other, symbol."""


@dataclass(frozen=True)
class FillRule:
    """One file: bars, what is ordered at their closes, and what has to come of it."""

    name: str
    content: dict[str, Any]

    @property
    def orders(self) -> list[dict[str, Any]]:
        """In the order in which they are given."""
        return self.content["orders"]

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names; none for a single symbol."""
        bars = self.content["bars"]
        return tuple(bars) if isinstance(bars, dict) else ()

    @property
    def terms(self) -> Terms:
        """Costs and borrowing."""
        return Terms(**self.content.get("terms", {}))

    @cached_property
    def parts(self) -> list[Bars]:
        """Bars of each symbol, two a day unless the file says otherwise, from 1970-01-02 on."""
        rows = self.content["bars"]
        return [self._part(part) for part in (rows.values() if isinstance(rows, dict) else [rows])]

    @cached_property
    def bars(self) -> Bars | PortfolioBars:
        """As the engine takes them."""
        return PortfolioBars.of(self.symbols, self.parts) if self.symbols else self.parts[0]

    @property
    def warm_up_bars(self) -> int:
        """At how many bars no orders are accepted."""
        return self.content.get("warm_up_bars", 0)

    @property
    def wants_levels(self) -> bool:
        """Whether a compiled rule can say it: targets alone, one for each symbol and bar."""
        places = [(each["bar"], each.get("symbol")) for each in self.orders]
        return all("target" in each for each in self.orders) and len(set(places)) == len(places)

    def place(self, symbol: str | None) -> int:
        """Where a symbol stands among the others."""
        return self.symbols.index(symbol) if symbol else 0

    def plan(self) -> np.ndarray:
        """The orders as compiled code reads them: (orders, columns)."""
        names = {each["name"]: place for place, each in enumerate(self.orders) if "name" in each}
        table = np.full((len(self.orders), COLUMNS), np.nan)
        for row, each in zip(table, self.orders, strict=True):
            verb = TARGET if "target" in each else CANCEL if "cancel" in each else ORDER
            value = each.get("units", each.get("target", 0.0))
            other = names.get(each.get("instead_of", each.get("cancel")), -1)
            row[:3] = each["bar"], verb, value
            row[3:11] = [each.get(name, np.nan) for name in PRICES]
            row[11:] = (
                each.get("day", False),
                each.get("reduce_only", False),
                other,
                self.place(each.get("symbol")),
            )
        return table

    def _part(self, rows: list[list[float] | None]) -> Bars:
        there = [place for place, row in enumerate(rows) if row is not None]
        columns = np.array([rows[place] for place in there], dtype=np.float64).T
        times = FIRST_DAY + np.array(there, dtype=np.int64) * self.content.get("hours", 12) * HOUR
        return Bars(times, *(np.ascontiguousarray(column) for column in columns), np.ones(len(there)))


@dataclass(frozen=True)
class GeneratedPlan(FillRule):
    """Orders of every kind in every symbol, some linked across symbols or cancelled at once, from a seed."""

    rows: tuple[Bars, ...] = ()

    @classmethod
    def of(cls, seed: int, rows: list[Bars]) -> "GeneratedPlan":
        """Make it for the bars of symbols a, b and so on."""
        names = "abcdefgh"[: len(rows)]
        bars = PortfolioBars.of(names, rows)
        rng = np.random.default_rng(seed)
        orders: list[dict[str, Any]] = []
        for bar in range(len(bars)):
            begun = [place for place in range(len(rows)) if bars.close[place, bar] > 0]
            for _ in range(rng.integers(0, 3)):
                symbol, other = (begun[rng.integers(len(begun))] for _ in range(2))
                close = bars.close.item(symbol, bar)
                found = _generated(rng, close, bars.close.item(other, bar), names[other])
                orders += [{"bar": bar, "symbol": names[symbol], **each} for each in found]
        for place, each in enumerate(orders):
            for link in ("name", "instead_of", "cancel"):
                if link in each:
                    each[link] = str(place if link == "name" else place - 1)
        return cls("generated", {"bars": dict.fromkeys(names), "orders": orders}, tuple(rows))

    @property
    def parts(self) -> list[Bars]:
        """Those that it was made for."""
        return list(self.rows)


def _generated(rng: Any, close: float, other_close: float, other: str) -> list[dict[str, Any]]:
    """One order, or two of which the second is linked to the first."""
    side = 1.0 if rng.random() < 0.5 else -1.0
    units, below, above = side * float(rng.integers(1, 9)), close - side * 0.4, close + side * 0.4
    first = {"units": units, "limit": below, "name": ""}
    return [
        [{"units": units}],
        [{"units": units, "limit": below, "day": True}],
        [{"units": units, "stop": above}],
        [{"units": units, "stop": above, "limit": close}],
        [{"units": units, "trail": 0.8}],
        [{"units": units, "trail_rate": 0.006, "reduce_only": True}],
        [{"units": units, "stop_loss": below, "take_profit": close + side}],
        [{"units": units, "limit": below, "stop_trail": 0.7, "take_profit": close + 2 * side}],
        [{"units": units, "stop_trail_rate": 0.01}],
        [first, {"units": -2.0, "stop": other_close - 0.3, "symbol": other, "instead_of": ""}],
        [first, {"cancel": ""}],
        [{"target": 0.0}],
    ][rng.integers(12)]


def fill_rules() -> dict[str, FillRule]:
    """All of them, by name."""
    return {
        path.stem: FillRule(path.stem, json.loads(path.read_text())) for path in sorted(FOLDER.glob("*.json"))
    }


class Planned:
    """Gives the orders of a rule, called at every bar or at those of its orders only."""

    def __init__(self, rule: FillRule) -> None:
        self._rule = rule
        self._given = 0
        self._ids: dict[str, int] = {}

    def wake_when(self) -> WakeWhen:
        """At the bar of the next order."""
        left = self._rule.orders[self._given :]
        if not left:
            return WakeWhen(on_change=False)
        return WakeWhen(on_change=False, at_timestamp=int(self._rule.parts[0].timestamp[left[0]["bar"]]))

    def on_bar(self, bar: Any, broker: Any) -> None:
        """Give the orders of this bar."""
        self._give(bar.index, lambda _: broker)

    def on_bars(self, bars: Mapping[str, Any], broker: Any) -> None:
        """The same of several symbols."""
        self._give(next(iter(bars.values())).index, broker.of)

    def state_dict(self) -> dict[str, Any]:
        """Return how many orders were given, and the ids of those with a name."""
        return {"given": self._given, "ids": dict(self._ids)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put them back."""
        self._given, self._ids = state["given"], dict(state["ids"])

    def _give(self, bar: int, broker_of: Any) -> None:
        for each in self._rule.orders[self._given :]:
            if each["bar"] != bar:
                return
            self._given += 1
            broker = broker_of(each.get("symbol"))
            if "target" in each:
                broker.target(each["target"])
            elif "cancel" in each:
                assert broker.cancel(self._ids[each["cancel"]])
            else:
                conditions = Conditions(**{name: each[name] for name in CONDITIONS if name in each})
                instead_of = self._ids.get(each.get("instead_of", ""), 0)
                order_id = broker.order(each["units"], conditions, instead_of=instead_of)
                self._ids[each.get("name", str(order_id))] = order_id


class PlannedActing(Planned):
    """The same as a compiled ``on_bar``."""

    def acting_rule(self, symbols: tuple[str, ...] = ()) -> ActingRule:
        """Return it, for one symbol or several."""
        assert symbols == self._rule.symbols
        return ActingRule(give, self._rule.plan().ravel(), np.zeros(len(self._rule.orders)))


class PlannedSignals(Planned):
    """The same as wanted positions."""

    def compiled_rule(self) -> CompiledRule:
        """Return it."""
        return CompiledRule(want, self._rule.plan().ravel(), np.zeros(0))


class PlannedReference(Reference):
    """The second engine with the orders of a rule."""

    def __init__(self, rule: FillRule) -> None:
        plan: dict[int, list[Any]] = {}
        for each in rule.orders:
            if each["bar"] < rule.warm_up_bars:
                continue
            plan.setdefault(each["bar"], []).append(each)
        super().__init__(rule.parts, plan, rule.terms, rule.content["cash"])
        self._rule = rule
        self._ids: dict[str, int] = {}

    def take(self, bar: int, instruction: Any) -> None:
        """Take an order as the file has it."""
        symbol = self._rule.place(instruction.get("symbol"))
        if "cancel" in instruction:
            super().take(bar, ("cancel", self._ids[instruction["cancel"]]))
            return
        units = instruction.get("units")
        if units is None:
            at_market = [each for each in self.line if each.kind == "market" and each.symbol == symbol]
            units = instruction["target"] - self.positions[symbol] - sum(each.units for each in at_market)
            if abs(units) < 1e-12 and instruction["target"] != 0:
                return
        conditions = Conditions(**{name: instruction[name] for name in CONDITIONS if name in instruction})
        if "name" in instruction:
            self._ids[instruction["name"]] = self.next_number
        instead_of = self._ids.get(instruction.get("instead_of", ""), 0)
        super().take(bar, ("order", units, conditions, instead_of, symbol))


@compiled
def give(desk: Desk, parameters: Any, memory: Any) -> None:
    """Give the orders of this bar; ``memory``: the id of each that was given."""
    for place in range(len(memory)):
        row = parameters[place * 15 : (place + 1) * 15]
        if row[0] != desk.bar:
            continue
        if row[1] == 1:
            target(of(desk, int(row[14])), row[2])
        elif row[1] == 2:
            cancel(desk, int(memory[int(row[13])]))
        else:
            memory[place] = order(
                of(desk, int(row[14])), row[2], row[3], row[4], row[5], row[6], row[7], row[8], row[9], row[10],
                row[11] != 0, row[12] != 0, int(memory[int(row[13])]) if row[13] >= 0 else 0,
            )  # fmt: skip


@compiled
def want(
    start: int, stop: int, timestamp: Any, open_price: Any, high: Any, low: Any, close: Any, volume: Any,
    parameters: Any, memory: Any, wanted: Any,
) -> None:  # fmt: skip
    """Want the targets at their bars, nothing at others."""
    wanted[:, :] = np.nan
    for place in range(len(parameters) // 15):
        bar = int(parameters[place * 15])
        if start <= bar < stop:
            wanted[int(parameters[place * 15 + 14]), bar - start] = parameters[place * 15 + 2]
