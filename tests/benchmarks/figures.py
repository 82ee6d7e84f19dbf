"""Figures of many measurements."""

from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """The value below or at which a share of all values is."""
    return sorted(values)[round(share * (len(values) - 1))]


def milliseconds(seconds: Sequence[float], share: float) -> float:
    """A percentile of seconds in milliseconds."""
    return percentile(seconds, share) * 1000
