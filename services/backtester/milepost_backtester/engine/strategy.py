"""What a strategy is: the protocols that a team implements."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, cast, runtime_checkable

from milepost_backtester.engine.bars import Bar, Floats
from milepost_backtester.engine.broker import Broker
from milepost_backtester.engine.waking import WakeWhen

Tier: TypeAlias = Literal["compiled", "wake", "python"]
Signals: TypeAlias = Callable[..., None]
"""``(start, stop, timestamp, open, high, low, close, volume, parameters, memory, wanted)``."""


@runtime_checkable
class Strategy(Protocol):
    """Decides at the close of each bar.

    Everything that a decision depends on, other than the parameters, must be in ``state_dict``: indicator values
    as they are, never what would be needed to warm them up again. No clock, no randomness, no files.
    """

    def on_bar(self, bar: Bar, broker: Broker) -> None:
        """Look at the bar that just ended and give orders for the next one."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state: text keys and JSON values (finite floats, lists rather than tuples)."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put a state back."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class CompiledRule:
    """The same decisions as wanted positions, made by a compiled function for many bars at once."""

    signals: Signals
    """Fills ``wanted[symbol, bar - start]`` for bars from ``start`` to before ``stop``.

    That is the position wanted at the bar's close, not a number for no wish. Prices and volume are (symbols, bars)
    of the whole run; bars after the one that is decided on must not be looked at. Where calls begin and end must
    change nothing.
    """
    parameters: Floats
    memory: Floats
    """Everything else that the decisions depend on; changed in place, part of the state. Finite numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class ActingRule:
    """An ``on_bar`` as a compiled function that sees the account and gives orders itself."""

    on_bar: Callable[..., None]
    """``(desk, parameters, memory)``, compiled: what it may do with a ``Desk`` is in ``engine.desk``."""
    parameters: Floats
    memory: Floats
    """Everything else that the decisions depend on; changed in place, part of the state. Finite numbers."""


@runtime_checkable
class CompiledStrategy(Protocol):
    """A strategy that can be compiled as well; ``on_bar`` must decide the same."""

    def compiled_rule(self) -> CompiledRule | ActingRule:
        """Return the rule in its first state; one whose positions depend on the account is an ``on_bar``."""
        ...


@runtime_checkable
class ActingStrategy(Protocol):
    """A strategy whose ``on_bar`` is there as a compiled function too, which must decide the same."""

    def acting_rule(self) -> ActingRule:
        """Return it in its first state."""
        ...


@runtime_checkable
class WakingStrategy(Protocol):
    """A strategy that need not see every bar; at those it does not ask for, ``on_bar`` would do nothing."""

    def wake_when(self) -> WakeWhen:
        """Say when to call ``on_bar`` next; asked before the first bar and after each call.

        Must follow from the strategy's state.
        """
        ...


def fastest_tier(strategy: object) -> Tier:
    """Return the fastest way that a strategy offers and that stands for its ``on_bar``.

    What a class inherits does not count when it has an ``on_bar`` of its own.
    """
    for tier, kind, method in (
        ("compiled", CompiledStrategy, "compiled_rule"),
        ("compiled", ActingStrategy, "acting_rule"),
        ("wake", WakingStrategy, "wake_when"),
    ):
        if isinstance(strategy, kind) and owner(strategy, method) <= owner(strategy, "on_bar"):
            return cast("Tier", tier)
    return "python"


def owner(strategy: object, method: str) -> int:
    """Return how far up the strategy's classes a method is defined."""
    classes = type(strategy).__mro__
    return next((place for place, part in enumerate(classes) if method in vars(part)), len(classes))
