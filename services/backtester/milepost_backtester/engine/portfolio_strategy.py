"""What a strategy of several symbols is, and how one of a single symbol is applied to each."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from milepost_backtester.engine.bars import Bar
from milepost_backtester.engine.errors import StateError
from milepost_backtester.engine.portfolio_broker import PortfolioBroker
from milepost_backtester.engine.strategy import CompiledRule, CompiledStrategy, Strategy, Tier, fastest_tier


@runtime_checkable
class PortfolioStrategy(Protocol):
    """Decides at every time at which any of its symbols has a bar.

    What a decision depends on must be in ``state_dict``, as for a strategy of one symbol.
    """

    def on_bars(self, bars: Mapping[str, Bar], broker: PortfolioBroker) -> None:
        """Look at the bars that just ended, by symbol; symbols without a bar at this time are not among them.

        Bars are the same objects each time, filled anew; their ``index`` is the place on the common timeline.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state: text keys and JSON values (finite floats, lists rather than tuples)."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put a state back."""
        ...


class EachSymbol:
    """Strategies of one symbol side by side, on one account; each sees its own symbol's bars only."""

    def __init__(self, strategies: Mapping[str, Strategy]) -> None:
        self.strategies = dict(strategies)
        """By symbol; the order in which they decide at one time."""

    @property
    def tier(self) -> Tier:
        """The fastest way to call all of them."""
        compiles = all(
            fastest_tier(strategy) == "compiled" and _rule_of(strategy) is not None
            for strategy in self.strategies.values()
        )
        return "compiled" if compiles else "python"

    def on_bars(self, bars: Mapping[str, Bar], broker: PortfolioBroker) -> None:
        """Let each strategy whose symbol has a bar decide."""
        for symbol, strategy in self.strategies.items():
            bar = bars.get(symbol)
            if bar is not None:
                strategy.on_bar(bar, broker.of(symbol))

    def state_dict(self) -> dict[str, Any]:
        """Return the states of all, in their order."""
        return {"symbols": [strategy.state_dict() for strategy in self.strategies.values()]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put them back.

        Raises:
            StateError: it is the state of other symbols.
        """
        states = state["symbols"]
        if len(states) != len(self.strategies):
            raise StateError(f"{len(states)} strategies, not {len(self.strategies)}")
        for strategy, part in zip(self.strategies.values(), states, strict=True):
            strategy.load_state_dict(part)

    def compiled_rules(self) -> dict[str, CompiledRule]:
        """Return the compiled rule of each symbol in its first state.

        Raises:
            ValueError: not all of them can be compiled.
        """
        rules = {symbol: _rule_of(strategy) for symbol, strategy in self.strategies.items()}
        compiled = {symbol: rule for symbol, rule in rules.items() if rule is not None}
        if len(compiled) < len(rules):
            others = ", ".join(rules.keys() - compiled.keys())
            raise ValueError(f"tier: the strategy of {others} offers no 'compiled' among several symbols")
        return compiled


def _rule_of(strategy: Strategy) -> CompiledRule | None:
    """Return the compiled rule; None for none, and for one that sees the account, which is of one symbol only."""
    rule = strategy.compiled_rule() if isinstance(strategy, CompiledStrategy) else None
    return rule if isinstance(rule, CompiledRule) else None
