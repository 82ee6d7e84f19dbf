"""Memory that one combination leaves is what the next one needs."""

import numpy as np

KEPT_BYTES = 16 * 1024**2


def keep_freed_memory() -> None:
    """Have the C library keep the arrays of a run when they are freed, rather than give their pages back.

    Given back, each combination would begin with new pages, which the system clears one by one: a fifth of its
    time.
    glibc keeps what is smaller than the largest array freed so far (mallopt(3), M_MMAP_THRESHOLD, up to 32 MiB);
    elsewhere this does nothing. The array is never touched, so it takes no memory itself.
    """
    np.empty(KEPT_BYTES, dtype=np.uint8)
