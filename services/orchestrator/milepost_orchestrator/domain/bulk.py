"""Whether a command about many may begin: how many there are is known, and is what was expected."""

from milepost_contracts.failures import RejectionCode

from milepost_orchestrator.domain.rejections import Rejection

TARGETS_MAX = 2000
"""At most this many at a time: with a narrower filter the rest comes next."""


def decide_bulk(count: int, expected_count: int | None, *, any_count: bool) -> Rejection | None:
    """Return why nothing is done; None when each target is to be decided for itself."""
    if count > TARGETS_MAX:
        return Rejection(
            RejectionCode.TOO_MANY,
            f"more than {TARGETS_MAX} fit the filter",
            "narrow the filter, by age, kind or name, and do it in several steps",
        )
    if expected_count is None and not any_count:
        return Rejection(
            RejectionCode.COUNT_NEEDED,
            f"{count} fit the filter, and it was not said how many are meant",
            f"say it with expected_count {count} (--expect {count}), or any_count (--yes)",
        )
    if expected_count is not None and expected_count != count:
        return Rejection(
            RejectionCode.COUNT_DIFFERS,
            f"{count} fit the filter, not {expected_count}",
            "look at them with a dry run, then say the new count",
        )
    return None
