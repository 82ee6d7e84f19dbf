"""What a strategy may do and see."""

from milepost_backtester.engine.ledger import Ledger
from milepost_backtester.engine.records import Order

DUST = 1e-12
"""What may be missing of a target: this share of its units, and of one unit at least."""


class Broker:
    """Takes orders; they fill at the open of the next bar, in the order of submission.

    Orders decided at the last bar never fill and are reported as waiting.
    """

    __slots__ = ("_ledger",)

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @property
    def cash(self) -> float:
        """Cash after all fills so far; negative when borrowed."""
        return self._ledger.cash

    @property
    def position(self) -> float:
        """Units held; negative when short."""
        return self._ledger.position

    @property
    def equity(self) -> float:
        """Cash plus the position at the close of the current bar."""
        return self._ledger.equity

    @property
    def waiting(self) -> tuple[Order, ...]:
        """Orders that will fill at the next open."""
        return tuple(self._ledger.waiting)

    def order(self, quantity: float) -> int:
        """Buy ``quantity`` units, or sell when it is negative, at the next open; return the order's id.

        Raises:
            OrderError: the quantity is 0 or not finite, or too many orders wait.
        """
        return self._ledger.submit(quantity)

    def target(self, position: float) -> int | None:
        """Order what leads to ``position`` after all waiting orders; None when nothing is missing.

        Raises:
            OrderError: as for ``order``.
        """
        ledger = self._ledger
        expected = ledger.position
        for order in ledger.waiting:
            expected += order.quantity
        missing = position - expected
        # What rounding left of earlier fills is not worth an order: its size goes with theirs, not with this
        # position's, so a share of a unit counts too. A position of 0 is always reached exactly.
        if missing == 0 or (position != 0 and abs(missing) <= DUST * max(1.0, abs(position))):
            return None
        return ledger.submit(missing)

    def cancel(self, order_id: int) -> bool:
        """Take a waiting order back; say whether it was still waiting."""
        return self._ledger.cancel(order_id)
