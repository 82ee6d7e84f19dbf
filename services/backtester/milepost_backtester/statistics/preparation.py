"""Have the sums compiled before they are needed, or loaded from the disk."""

import numpy as np

from milepost_backtester.statistics.compiled_peaks import falls, fill_peaks
from milepost_backtester.statistics.compiled_sums import proven_downside, proven_products, proven_total


def prepare_sums() -> None:
    """Compile what figures are made with, or load it."""
    values = np.ones(2)
    proven_total(values)
    proven_products(values, 1.0, values, 1.0)
    proven_downside(values)
    falls(np.arange(2), values, 1.0)
    fill_peaks(values, 1.0, np.empty(2))


if __name__ == "__main__":
    prepare_sums()
