"""From a wanted position to an order; the same function for compiled rules and for ``Broker.target``."""

from milepost_backtester.engine.compiled import compiled
from milepost_backtester.engine.layouts import MARKET, ORDERS, Account
from milepost_backtester.engine.margin import submit_market

DUST = 1e-12
"""What may be missing of a target: this share of its units, and of one unit at least."""


@compiled
def missing_units(wanted: float, expected: float) -> float:
    """Return what an order must bring; 0 when nothing worth an order is missing.

    What rounding left of earlier fills is not worth an order: its size goes with theirs, not with this position's,
    so a share of a unit counts too. A position of 0 is always reached exactly.
    """
    missing = wanted - expected
    if wanted != 0 and abs(missing) <= DUST * max(1.0, abs(wanted)):
        return 0.0
    return missing


@compiled
def expected_units(account: Account, symbol: int) -> float:
    """Return the position of a symbol after all its waiting market orders."""
    expected = account.position[symbol]
    for place in range(account.counts[ORDERS]):
        order = account.orders[place]
        if order.kind == MARKET and order.symbol == symbol and order.parent == 0:
            expected += order.quantity
    return expected


@compiled
def pursue(account: Account, bar: int, symbol: int, wanted: float) -> None:
    """Order what leads to the wanted position after all waiting market orders."""
    missing = missing_units(wanted, expected_units(account, symbol))
    if missing != 0:
        submit_market(account, bar, symbol, missing)
