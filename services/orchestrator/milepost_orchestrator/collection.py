"""How often Python looks for cyclic garbage in a process that folds the log.

A batch makes tens of thousands of objects that all live until its rows are written and none of which is part of a
cycle; at Python's own pace looking at them again and again takes a fifth of the time.
"""

import gc

YOUNG_OBJECTS = 20_000
YOUNG_ROUNDS = 20
OLD_ROUNDS = 20


def collect_rarely() -> None:
    """Set it for the whole process, which is why only what composes one calls this."""
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_ROUNDS, OLD_ROUNDS)
