"""What a strategy of several symbols may do and see: one account, orders that name their symbol."""

from collections.abc import Mapping

from milepost_backtester.engine.bars import Bar
from milepost_backtester.engine.book import Book
from milepost_backtester.engine.broker import Broker
from milepost_backtester.engine.errors import OrderError
from milepost_backtester.engine.orders import Conditions
from milepost_backtester.engine.portfolio_bars import PortfolioBars
from milepost_backtester.engine.records import Order


class SymbolBroker(Broker):
    """The broker of a whole portfolio, turned to one of its symbols: position, close and orders are that one's."""

    __slots__ = ("_closes",)

    def __init__(self, book: Book, moment: Bar, bars: PortfolioBars) -> None:
        self._closes = bars.close
        super().__init__(book, moment)

    @property
    def equity(self) -> float:
        """Cash plus all positions at their last closes."""
        equity, place = self.cash, self._bar.index
        # In the order of the kernel's own sum, so that the bits are the same.
        for symbol, position in enumerate(self._book.now.position.tolist()):
            equity += position * self._closes.item(symbol, place)
        return equity

    def turn_to(self, symbol: int) -> None:
        """Turn to a symbol, by its place."""
        self._symbol = symbol
        self.position = self._book.now.position.item(symbol)
        self._bar.close = self._closes.item(symbol, self._bar.index)

    def order(self, quantity: float, conditions: Conditions | None = None, *, instead_of: int = 0) -> int:
        """As of one symbol; one that had no bar yet cannot be ordered.

        Raises:
            OrderError: the order is impossible, or too many orders wait.
        """
        if self._bar.close == 0:
            raise OrderError(f"the symbol has no bar up to bar {self._bar.index}")
        return super().order(quantity, conditions, instead_of=instead_of)


class PortfolioBroker:
    """Takes orders for the symbols of a portfolio.

    All share cash, margin and the line of orders: those of one bar act in the order of submission, whatever
    their symbol. An order of a symbol that has no bar next waits for the first one that it has.
    """

    __slots__ = ("_bars", "_moment", "_places", "desk")

    def __init__(self, book: Book, moment: Bar, bars: PortfolioBars) -> None:
        self._bars = bars
        self._moment = moment
        self._places: Mapping[str, int] = {name: place for place, name in enumerate(bars.symbols)}
        self.desk = SymbolBroker(book, moment, bars)
        """For the engine; a strategy asks ``of``."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names of all symbols, in the order of ``Order.symbol``."""
        return self._bars.symbols

    @property
    def cash(self) -> float:
        """Cash after all fills so far; negative when borrowed."""
        return self.desk.cash

    @property
    def equity(self) -> float:
        """Cash plus all positions at their last closes."""
        return self.desk.equity

    @property
    def waiting(self) -> tuple[Order, ...]:
        """Orders of all symbols that have not filled yet."""
        return self.desk.waiting

    def position(self, symbol: str) -> float:
        """Return the units held; negative when short."""
        return self.of(symbol).position

    def close(self, symbol: str) -> float:
        """Return the last close of a symbol; 0 before its first bar."""
        return self._bars.close.item(self._place(symbol), self._moment.index)

    def order(
        self, quantity: float, conditions: Conditions | None = None, *, symbol: str, instead_of: int = 0
    ) -> int:
        """Order as ``Broker.order`` does.

        Raises:
            OrderError: the order is impossible, the symbol unknown or without a bar yet, or too many orders wait.
        """
        return self.of(symbol).order(quantity, conditions, instead_of=instead_of)

    def target(self, position: float, *, symbol: str) -> int | None:
        """Order what leads to ``position`` after the symbol's waiting market orders; None when nothing is missing.

        Raises:
            OrderError: as for ``order``.
        """
        return self.of(symbol).target(position)

    def units_for_cash(self, cash: float, *, symbol: str) -> float:
        """Return how many units this much money buys at the last close."""
        return self.of(symbol).units_for_cash(cash)

    def units_for_fraction(self, fraction: float, *, symbol: str) -> float:
        """Return how many units at the last close are worth this fraction of the whole equity."""
        return self.of(symbol).units_for_fraction(fraction)

    def units_for_risk(self, fraction: float, distance: float) -> float:
        """Return how many units lose this fraction of the whole equity when the price moves by ``distance``."""
        return self.desk.units_for_risk(fraction, distance)

    def cancel(self, order_id: int) -> bool:
        """Take a waiting order back, with those that wait for it; say whether it was still waiting."""
        return self.desk.cancel(order_id)

    def of(self, symbol: str) -> Broker:
        """Return the broker of one symbol, as a strategy of a single one has it; valid until the next call.

        Raises:
            OrderError: there is no such symbol.
        """
        self.desk.turn_to(self._place(symbol))
        return self.desk

    def _place(self, symbol: str) -> int:
        try:
            return self._places[symbol]
        except KeyError:
            known = ", ".join(self.symbols)
            raise OrderError(f"no symbol is called {symbol!r}; there are: {known}") from None
