"""The broker's rules once more, from their description, as plainly as possible and without regard to speed.

Orders are objects in a list, the account is a few numbers, bars are looked up by symbol and time; nothing is
shared with the engine but the words of its documentation. Used to compare with; it knows no round trips.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

WORD = 2**64 - 1


@dataclass
class Waiting:
    """One order that waits."""

    number: int
    units: float
    decided: int
    kind: str
    limit: float = 0.0
    stop: float = 0.0
    distance: float = 0.0
    share: float = 0.0
    best: float = 0.0
    day: bool = False
    links: set[int] = field(default_factory=set)
    entry: "Waiting | None" = None
    closes_only: bool = False
    stop_seen: bool = False
    whole_bar_from: int = 0
    symbol: int = 0

    @property
    def buys(self) -> bool:
        return self.units > 0

    def level(self) -> float:
        if self.kind != "trailing":
            return self.stop
        away = self.distance + self.best * self.share
        return self.best + away if self.buys else self.best - away


class Reference:
    """Goes through the times with a plan: what to order or cancel at the close of which one.

    ``bars`` are those of one symbol, or a list of those of several.
    """

    def __init__(self, bars: Any, plan: dict[int, list[Any]], terms: Any, cash: float) -> None:
        symbols = bars if isinstance(bars, list) else [bars]
        self.rows = [
            {
                int(time): tuple(float(column[row]) for column in (part.open, part.high, part.low, part.close))
                for row, time in enumerate(part.timestamp)
            }
            for part in symbols
        ]  # fmt: skip
        self.times = sorted({time for rows in self.rows for time in rows})
        self.last = [0.0] * len(symbols)
        self.plan, self.terms = plan, terms
        self.cash, self.borrow_cost = cash, 0.0
        self.positions = [0.0] * len(symbols)
        self.line: list[Waiting] = []
        self.next_number = 1
        self.fills: list[tuple[int, int, int, float, float, float, int]] = []
        self.marks: list[tuple[float, ...]] = []
        self.refused = self.expired = self.calls = 0

    def run(self) -> "Reference":
        for bar in range(len(self.times)):
            self.do_bar(bar)
            for instruction in self.plan.get(bar, []):
                self.take(bar, instruction)
        return self

    def row(self, symbol: int, bar: int) -> tuple[float, float, float, float] | None:
        return self.rows[symbol].get(self.times[bar])

    def do_bar(self, bar: int) -> None:
        self.drop_old_days(bar)
        for order in list(self.line):
            self.try_at_open(order, bar)
        for _ in ("stops", "stops of limit entries"):
            for order in list(self.line):
                self.try_stop(order, bar)
            if _ == "stops":
                for order in list(self.line):
                    self.try_limit(order, bar)
        for order in self.line:
            row = self.row(order.symbol, bar)
            if row and order.kind == "trailing" and self.acts(order, bar) and order.whole_bar_from <= bar:
                order.best = min(order.best, row[2]) if order.buys else max(order.best, row[1])
        for symbol in range(len(self.rows)):
            row = self.row(symbol, bar)
            self.last[symbol] = row[3] if row else self.last[symbol]
        for symbol, position in enumerate(self.positions):
            if position < 0 and bar:
                years = float(self.times[bar] - self.times[bar - 1]) / (365.25 * 24 * 3600 * 1e9)
                cost = -position * self.last[symbol] * (self.terms.borrow_rate * years)
                self.cash -= cost
                self.borrow_cost += cost
        equity, exposure = self.cash, 0.0
        for position, last in zip(self.positions, self.last, strict=True):
            equity += position * last
            exposure += abs(position) * last
        self.marks.append((equity, self.cash, *self.positions))
        if exposure and self.terms.maintenance_margin and equity < self.terms.maintenance_margin * exposure:
            self.call(bar)

    def call(self, bar: int) -> None:
        held = [symbol for symbol, position in enumerate(self.positions) if position]
        closing = {
            order.symbol
            for order in self.line
            if order.kind == "market" and not order.entry and order.units == -self.positions[order.symbol]
        }
        if set(held) <= closing:
            return
        self.line = []
        for symbol in held:
            order = Waiting(self.next_number, -self.positions[symbol], bar, "market", symbol=symbol)
            self.line.append(order)
            self.next_number += 1
        self.calls += 1

    def take(self, bar: int, instruction: Any) -> None:
        if instruction[0] == "cancel":
            self.line = [
                order
                for order in self.line
                if order.number != instruction[1]
                and (order.entry is None or order.entry.number != instruction[1])
            ]
            return
        _, units, wish, instead_of, *rest = instruction
        symbol = rest[0] if rest else 0
        order = Waiting(self.next_number, units, bar, kind_of(wish), wish.limit or 0.0, wish.stop or 0.0)
        order.distance, order.share = wish.trail or 0.0, wish.trail_rate or 0.0
        order.best = self.last[symbol]
        order.day, order.closes_only = wish.day, wish.reduce_only
        for other in self.line:
            if instead_of and other.number == instead_of:
                other.links.add(order.number)
                order.links.add(other.number)
        exits: list[Waiting] = []
        if wish.stop_loss is not None:
            exits.append(Waiting(0, -units, bar, "stop", stop=wish.stop_loss))
        if wish.stop_trail is not None or wish.stop_trail_rate is not None:
            exits.append(
                Waiting(
                    0, -units, bar, "trailing",
                    distance=wish.stop_trail or 0.0, share=wish.stop_trail_rate or 0.0,
                )
            )  # fmt: skip
        if wish.take_profit is not None:
            exits.append(Waiting(0, -units, bar, "limit", limit=wish.take_profit))
        for leg in exits:
            leg.entry, leg.closes_only = order, True
        for place, leg in enumerate([order, *exits]):
            leg.number = self.next_number + place
            leg.symbol = symbol
        for leg in exits:
            leg.links = {other.number for other in exits if other is not leg}
        self.line += [order, *exits]
        self.next_number += 1 + len(exits)

    def acts(self, order: Waiting, bar: int) -> bool:
        return order in self.line and order.decided < bar and order.entry is None

    def drop_old_days(self, bar: int) -> None:
        def day(index: int) -> Any:
            return datetime.fromtimestamp(self.times[index] / 1e9, UTC).date()

        for order in list(self.line):
            own = [place for place in range(order.decided + 1, bar + 1) if self.row(order.symbol, place)]
            if order.day and own and own[-1] == bar and day(bar) != day(own[0]):
                self.expired += 1
                self.drop(order)

    def drop(self, order: Waiting) -> None:
        self.line = [other for other in self.line if other is not order and other.entry is not order]

    def try_at_open(self, order: Waiting, bar: int) -> None:
        row = self.row(order.symbol, bar)
        if not row or not self.acts(order, bar):
            return
        price = row[0]
        taken = self.worse(price, order, bar)
        within = price <= order.limit if order.buys else price >= order.limit
        past = price >= order.level() if order.buys else price <= order.level()
        if order.kind == "stop-limit" and past:
            order.stop_seen = True
        if order.kind == "market" or (order.kind in ("stop", "trailing") and past):
            self.fill(order, bar, taken, inside=False)
        elif (order.kind == "limit" or (order.kind == "stop-limit" and order.stop_seen)) and within:
            best = min(taken, order.limit) if order.buys else max(taken, order.limit)
            self.fill(order, bar, best, inside=False)

    def try_stop(self, order: Waiting, bar: int) -> None:
        row = self.row(order.symbol, bar)
        stops = order.kind in ("stop", "trailing") or (order.kind == "stop-limit" and not order.stop_seen)
        if not row or not self.acts(order, bar) or not stops:
            return
        high, low = row[1:3]
        level = order.level()
        if not (high >= level if order.buys else low <= level):
            return
        taken = self.worse(level, order, bar)
        if order.kind != "stop-limit":
            self.fill(order, bar, taken, inside=True)
            return
        order.stop_seen = True
        if level <= order.limit if order.buys else level >= order.limit:
            best = min(taken, order.limit) if order.buys else max(taken, order.limit)
            self.fill(order, bar, best, inside=True)
        else:
            order.whole_bar_from = bar + 1

    def try_limit(self, order: Waiting, bar: int) -> None:
        row = self.row(order.symbol, bar)
        limited = order.kind == "limit" or (order.kind == "stop-limit" and order.stop_seen)
        if not row or not self.acts(order, bar) or not limited or order.whole_bar_from > bar:
            return
        high, low = row[1:3]
        if low <= order.limit if order.buys else high >= order.limit:
            self.fill(order, bar, order.limit, inside=True)

    def fill(self, order: Waiting, bar: int, price: float, *, inside: bool) -> None:
        units, held = order.units, self.positions[order.symbol]
        if order.closes_only:
            if held * units >= 0:
                self.drop(order)
                return
            if abs(units) > abs(held):
                units = -held
        terms = self.terms
        commission = terms.commission_fixed + terms.commission_per_unit * abs(units)
        commission = max(commission + abs(units) * price * terms.commission_rate, terms.commission_minimum)
        after = held + units
        if abs(after) > abs(held) and terms.leverage_max < float("inf"):
            worth, exposure = self.cash - commission, 0.0
            for symbol, position in enumerate(self.positions):
                row = self.row(symbol, bar)
                other = price if symbol == order.symbol else row[0] if row else self.last[symbol]
                worth += position * other
                exposure += abs(after if symbol == order.symbol else position) * other
            if exposure > terms.leverage_max * worth:
                self.refused += 1
                self.drop(order)
                return
        self.cash -= units * price
        self.cash -= commission
        self.positions[order.symbol] = after
        self.fills.append((order.number, order.decided, bar, units, price, commission, order.symbol))
        self.line.remove(order)
        for other in list(self.line):
            if other.number in order.links:
                self.drop(other)
            elif other.entry is order:
                other.entry, other.best = None, price
                other.whole_bar_from = bar + 1 if inside else bar
                if other.kind == "stop":
                    other.stop = max(other.stop, price) if other.buys else min(other.stop, price)
        for other in list(self.line):
            if (
                other.symbol == order.symbol
                and other.closes_only
                and not other.entry
                and after * other.units >= 0
            ):
                self.drop(other)

    def worse(self, price: float, order: Waiting, bar: int) -> float:
        terms = self.terms
        loss = terms.spread * 0.5 + terms.slippage_fixed + price * terms.slippage_rate
        if terms.slippage_random_rate:
            share = chance(terms.slippage_seed, bar, order.number)
            loss += price * (terms.slippage_random_rate * share)
        return price + loss if order.buys else max(0.0, price - loss)


def kind_of(wish: Any) -> str:
    if wish.trail or wish.trail_rate:
        return "trailing"
    names = {
        (False, False): "market",
        (True, False): "limit",
        (False, True): "stop",
        (True, True): "stop-limit",
    }
    return names[wish.limit is not None, wish.stop is not None]


def chance(seed: int, bar: int, number: int) -> float:
    """Splitmix64 of three numbers, one after the other, with Python's own integers."""
    step, value = 0x9E3779B97F4A7C15, 0
    for word in (seed * 1 + step, bar * step, number * step):
        value = (value + word) & WORD
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & WORD
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & WORD
        value ^= value >> 31
    return (value >> 11) / 2**53
