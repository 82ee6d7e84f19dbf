"""One backtest in a fresh process, as a worker's child builds it: ``first_result PARQUET DIGEST CACHE|none``."""

import sys
from pathlib import Path

from milepost_backtester.worker import BacktestKind
from milepost_runtime.worker.kind import JobContext


def main() -> None:
    """Print the equity after the last bar."""
    path, digest, cache = sys.argv[1:]
    spec = {
        "data": {"name": "walk", "digest": digest},
        "strategy": {"name": "sma-cross", "parameters": {"fast": 10, "slow": 30}},
        "commission_rate": 0.001,
    }
    directory = None if cache == "none" else Path(cache)
    job = BacktestKind().create_job(JobContext("op-1", spec, {digest: Path(path)}, Path(), directory))
    job._engine.advance()
    print(job._engine.logs.equity[-1], flush=True)


if __name__ == "__main__":
    main()
