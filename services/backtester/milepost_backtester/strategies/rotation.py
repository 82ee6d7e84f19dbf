"""Rotation into the strongest of several symbols."""

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from milepost_contracts.specs.strategies import RotationParameters

if TYPE_CHECKING:
    from milepost_backtester.engine.bars import Bar
    from milepost_backtester.engine.portfolio_broker import PortfolioBroker
    from milepost_backtester.engine.strategy import ActingRule


class Rotation:
    """Every so many bars an equal share of the equity in each of the symbols that rose most, none in the others.

    A symbol's strength is its close over its own close ``lookback`` bars before (relative strength; Jegadeesh and
    Titman, Journal of Finance, 1993). Of equally strong ones the first in the spec comes first.
    """

    VERSION = "1"
    Parameters = RotationParameters

    def __init__(self, parameters: RotationParameters) -> None:
        self._parameters = parameters
        self._seen = 0
        self._closes: dict[str, deque[float]] = {}
        """Of each symbol's last bars, oldest first."""

    def on_bars(self, bars: "Mapping[str, Bar]", broker: "PortfolioBroker") -> None:
        """Take the closes in; every so many bars change what is held."""
        for symbol, bar in bars.items():
            closes = self._closes.get(symbol)
            if closes is None:
                closes = self._closes[symbol] = deque(maxlen=self._parameters.lookback + 1)
            closes.append(bar.close)
        self._seen += 1
        if self._seen % self._parameters.every == 0:
            self._rotate(broker)

    def acting_rule(self, symbols: tuple[str, ...]) -> "ActingRule":
        """Return the same decisions for the compiled tier."""
        from milepost_backtester.strategies.compiled_rotation import rotation_rule  # noqa: PLC0415 - loads arrays

        own = self._parameters
        return rotation_rule(
            own.lookback, own.hold, own.every, own.exposure, own.rising_only, symbol_count=len(symbols)
        )

    def state_dict(self) -> dict[str, Any]:
        """Return how many bars were seen and the closes of each symbol."""
        return {"seen": self._seen, "closes": {symbol: list(part) for symbol, part in self._closes.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put them back."""
        self._seen = state["seen"]
        length = self._parameters.lookback + 1
        self._closes = {symbol: deque(closes, length) for symbol, closes in state["closes"].items()}

    def _rotate(self, broker: "PortfolioBroker") -> None:
        chosen = self._strongest(broker.symbols)
        fraction = self._parameters.exposure / self._parameters.hold
        # What is sold comes first, so that its money is there for what is bought.
        for symbol in broker.symbols:
            if symbol not in chosen:
                broker.target(0.0, symbol=symbol)
        for symbol in chosen:
            broker.target(broker.units_for_fraction(fraction, symbol=symbol), symbol=symbol)

    def _strongest(self, symbols: tuple[str, ...]) -> list[str]:
        strengths: list[tuple[float, int, str]] = []
        for place, symbol in enumerate(symbols):
            closes = self._closes.get(symbol)
            if closes is not None and len(closes) == closes.maxlen:
                strength = closes[-1] / closes[0]
                if strength > 1.0 or not self._parameters.rising_only:
                    strengths.append((-strength, place, symbol))
        return [symbol for _, _, symbol in sorted(strengths)[: self._parameters.hold]]
