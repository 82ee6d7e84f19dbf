"""What a strategy of several symbols is, and how one of a single symbol is applied to each."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from milepost_backtester.engine.bars import Bar
from milepost_backtester.engine.errors import StateError
from milepost_backtester.engine.portfolio_broker import PortfolioBroker
from milepost_backtester.engine.strategy import (
    ActingRule,
    ActingStrategy,
    CompiledRule,
    CompiledStrategy,
    Strategy,
    Tier,
    fastest_tier,
)

RuleT = TypeVar("RuleT")


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


@runtime_checkable
class ActingPortfolioStrategy(Protocol):
    """A strategy of several symbols whose ``on_bars`` is there as a compiled function too, deciding the same."""

    def acting_rule(self, symbols: tuple[str, ...]) -> ActingRule:
        """Return it in its first state; ``symbols``: the names, each at its place in all tables."""
        ...


class EachSymbol:
    """Strategies of one symbol side by side, on one account; each sees its own symbol's bars only."""

    def __init__(self, strategies: Mapping[str, Strategy]) -> None:
        self.strategies = dict(strategies)
        """By symbol; the order in which they decide at one time."""

    @property
    def tier(self) -> Tier:
        """The fastest way to call all of them."""
        if any(fastest_tier(strategy) != "compiled" for strategy in self.strategies.values()):
            return "python"
        rules = self._rules()
        return "compiled" if _all_of(CompiledRule, rules) or _acts_alike(rules) else "python"

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

    def compiled_rules(self) -> dict[str, CompiledRule] | dict[str, ActingRule]:
        """Return the compiled rule of each symbol in its first state.

        All of them want positions, or all are the same ``on_bar``.

        Raises:
            ValueError: not all of them can be compiled, or not together.
        """
        rules = self._rules()
        without = [symbol for symbol, rule in rules.items() if rule is None]
        if without:
            raise ValueError(
                f"tier: the strategy of {', '.join(without)} offers no 'compiled' among several symbols"
            )
        wanting = _all_of(CompiledRule, rules)
        if wanting is not None:
            return wanting
        acting = _all_of(ActingRule, rules)
        if acting is not None and _acts_alike(rules):
            return acting
        raise ValueError(
            "tier: 'compiled' for several symbols needs wanted positions of all, or the same on_bar for all"
        )

    def _rules(self) -> dict[str, CompiledRule | ActingRule | None]:
        return {symbol: _rule_of(strategy) for symbol, strategy in self.strategies.items()}


def _rule_of(strategy: Strategy) -> CompiledRule | ActingRule | None:
    if isinstance(strategy, CompiledStrategy):
        return strategy.compiled_rule()
    return strategy.acting_rule() if isinstance(strategy, ActingStrategy) else None


def _all_of(kind: type[RuleT], rules: Mapping[str, object]) -> dict[str, RuleT] | None:
    """Return the rules when all are of a kind."""
    found = {symbol: rule for symbol, rule in rules.items() if isinstance(rule, kind)}
    return found if len(found) == len(rules) else None


def _acts_alike(rules: Mapping[str, object]) -> bool:
    """Say whether all are the same compiled ``on_bar``."""
    acting = _all_of(ActingRule, rules)
    return acting is not None and len({id(rule.on_bar) for rule in acting.values()}) == 1
