"""The terms of trading: what fills cost and how much may be borrowed."""

from dataclasses import asdict, dataclass
from math import inf, isfinite

import numpy as np

from milepost_backtester.engine.layouts import RULES, Table


@dataclass(frozen=True, slots=True)
class Terms:
    """Costs in money unless a name says rate, which is a share. The default trades for nothing, without limit.

    Raises:
        ValueError: a term is impossible; every one is named.
    """

    commission_fixed: float = 0.0
    """For each fill."""
    commission_per_unit: float = 0.0
    commission_rate: float = 0.0
    """Share of the traded value."""
    commission_minimum: float = 0.0
    """Least commission of a fill."""
    slippage_fixed: float = 0.0
    """How much worse than the market an order fills that takes it."""
    slippage_rate: float = 0.0
    slippage_random_rate: float = 0.0
    """The most of a random slippage: from 0 to this share of the price, by seed, bar and order id alone."""
    slippage_seed: int = 0
    spread: float = 0.0
    """Between bid and ask; an order that takes the market pays half of it."""
    leverage_max: float = inf
    """Most exposure, in equities; an order that would exceed it is refused when it comes to fill."""
    maintenance_margin: float = 0.0
    """Least equity as a share of the exposure; below it everything is closed at the next open. 0: never."""
    borrow_rate: float = 0.0
    """What shorts cost: a share of their value, for each year of 365.25 days."""

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be at least 0 and finite, not {value!r}"
            for name, value in asdict(self).items()
            if name != "leverage_max" and not (isfinite(value) and value >= 0)
        ]
        problems += [
            f"{name} must be less than 1, not {getattr(self, name)!r}"
            for name in ("commission_rate", "slippage_rate", "slippage_random_rate", "maintenance_margin")
            if getattr(self, name) >= 1
        ]
        if not self.leverage_max > 0:
            problems.append(f"leverage_max must be more than 0, not {self.leverage_max!r}")
        elif self.maintenance_margin * self.leverage_max > 1 and isfinite(self.leverage_max):
            problems.append(
                f"maintenance_margin must be at most 1 / leverage_max, not {self.maintenance_margin!r}"
            )
        if problems:
            raise ValueError("; ".join(problems))

    def as_record(self, *, orders_from: int = 0) -> Table:
        """Return what the rules read: one record. ``orders_from``: the first bar at which orders are accepted."""
        values = {**asdict(self), "orders_from": orders_from}
        return np.array([tuple(values[name] for name in RULES.names or ())], dtype=RULES)
