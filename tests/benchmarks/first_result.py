"""One backtest as a worker's child builds it: ``first_result PARQUET DIGEST CACHE|none [FORKS]``.

In this process, which was just started, or in so many processes one after the other that are forked off it once it
has imported what a worker's fork server has. Prints the equity after the last bar, and the seconds since a fork.
"""

import os
import sys
import time
from importlib import import_module
from pathlib import Path

from milepost_backtester.worker import BacktestKind
from milepost_runtime.worker.fork_server import freeze
from milepost_runtime.worker.kind import JobContext, preload_of


def main() -> None:
    """Compute once, or once in each fork."""
    path, digest, cache, *forks = sys.argv[1:]
    if not forks:
        print(_last_equity(path, digest, cache), flush=True)
        return
    for module in preload_of(BacktestKind()):
        import_module(module)
    freeze()
    for _ in range(int(forks[0])):
        began = time.perf_counter()
        child = os.fork()
        if child == 0:
            equity = _last_equity(path, digest, cache)
            print(equity, time.perf_counter() - began, flush=True)
            os._exit(0)
        os.waitpid(child, 0)


def _last_equity(path: str, digest: str, cache: str) -> float:
    spec = {
        "data": {"name": "walk", "digest": digest},
        "strategy": {"name": "sma-cross", "parameters": {"fast": 10, "slow": 30}},
        "commission_rate": 0.001,
    }
    directory = None if cache == "none" else Path(cache)
    job = BacktestKind().create_job(JobContext("op-1", spec, {digest: Path(path)}, Path(), directory))
    job._engine.advance()
    return float(job._engine.logs.equity[-1])


if __name__ == "__main__":
    main()
