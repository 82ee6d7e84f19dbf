"""What both sweeps are given: every pair of a fast and a slow average over the same bars, with commission."""

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

FASTS = tuple(range(5, 55, 5))
SLOWS = tuple(range(60, 260, 20))
PAIRS = tuple(product(FASTS, SLOWS))
"""One hundred, all of them possible."""
RUNS_MAX, RUN_SECONDS_MAX = 3, 30.0
LOADED_AFTER_BARS = 1_000
"""A sweep over so few bars needs all the code that others need, and next to no memory."""


@dataclass
class Swept:
    """What came out, in the order of ``PAIRS``."""

    final_equity: Sequence[float]
    sharpe: Sequence[float]
    max_drawdown: Sequence[float]


def serve_sweep(run: Callable[[Any], Callable[[], Swept]], prepare: Callable[[int], Any]) -> None:
    """Run a sweep over as many bars as the command line says and print one JSON document.

    ``seconds``: the best of up to three runs; ``first_seconds``: the first one of the process;
    ``processor_seconds``: of all threads, likewise the best: what a loaded machine disturbs least. ``run``
    computes every figure of ``Swept`` and returns what gathers them, which is not measured. ``peak_bytes``:
    the highest memory up to the end of the first run; ``ready_bytes``: up to its beginning, with everything
    imported and the bars made. With ``loaded`` after the bars a small sweep comes before all that, so that
    compiled code is loaded too.
    """
    data = prepare(int(sys.argv[1]))
    if sys.argv[2:] == ["loaded"]:
        run(prepare(LOADED_AFTER_BARS))
    ready_bytes = _peak_bytes()
    seconds: list[float] = []
    processor: list[float] = []
    peak_bytes = 0
    while len(seconds) < RUNS_MAX and sum(seconds) < RUN_SECONDS_MAX:
        started, begun = time.perf_counter(), time.process_time()
        tell = run(data)
        processor.append(time.process_time() - begun)
        seconds.append(time.perf_counter() - started)
        peak_bytes = peak_bytes or _peak_bytes()
    swept = tell()
    print(
        json.dumps(
            {
                "seconds": min(seconds),
                "first_seconds": seconds[0],
                "processor_seconds": min(processor),
                "peak_bytes": peak_bytes,
                "ready_bytes": ready_bytes,
                "final_equity": list(swept.final_equity),
                "sharpe": list(swept.sharpe),
                "max_drawdown": list(swept.max_drawdown),
            }
        )
    )


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
