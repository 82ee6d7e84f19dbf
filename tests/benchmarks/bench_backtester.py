"""Bars a second of the engine alone, and what the parts around it cost.

Run it alone: ``python -m tests.benchmarks.bench_backtester``. Figures are the best of a few runs.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from milepost_backtester.bar_cache import BarCache
from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.bars import Bars
from milepost_backtester.market_data import SCHEMA, load_bars
from milepost_backtester.parquet import write_table
from milepost_backtester.results import write_results
from milepost_backtester.run import Run
from milepost_backtester.segments import SegmentedLogs
from milepost_backtester.strategies.sma_cross import SmaCross
from milepost_contracts.specs.backtest import SmaCrossParameters
from milepost_runtime.digests import digest_of_file

from tests.backtester.acting_doubles import Risk

Row = tuple[str, float, str]

SIZES = (10_000, 100_000, 1_000_000)
REPEATS = 3
TIERS = ("compiled", "python")
CASH, COMMISSION = 10_000_000.0, 0.001


def measure() -> list[Row]:
    """Return what was measured."""
    rows: list[Row] = []
    for size in SIZES:
        bars = random_walk(size)
        for tier in TIERS:
            rows.append((f"{tier} tier, SMA 10/30, {size:,} bars", _rate(bars, _sma, tier), "bars/s"))
    bars = random_walk(SIZES[-1])
    for tier in TIERS:
        name = f"{tier} on_bar, a bracket by the equity when flat, {len(bars):,} bars"
        rows.append((name, _rate(bars, Risk, tier), "bars/s"))
    rows.append((f"engine without a decision, {len(bars):,} bars", _rate(bars, Idle, "python"), "bars/s"))
    rows.append(
        (
            f"one read of a list and a sum, {len(bars):,} bars",
            len(bars) / _best(lambda: _floor(bars)),
            "bars/s",
        )
    )
    rows.extend(_around(bars))
    return rows


class Idle:
    """Does nothing: what is left is the engine."""

    def on_bar(self, bar: object, broker: object) -> None:
        """Look away."""

    def state_dict(self) -> dict[str, object]:
        return {}

    def load_state_dict(self, state: object) -> None:
        """There is none."""


def _sma() -> SmaCross:
    return SmaCross(SmaCrossParameters(fast=10, slow=30))


def _engine(bars: Bars, make_strategy: Callable[[], object], tier: str = "auto") -> BacktestingEngine:
    return BacktestingEngine(bars, make_strategy(), initial_cash=CASH, commission_rate=COMMISSION, tier=tier)


def _rate(bars: Bars, make_strategy: Callable[[], object], tier: str) -> float:
    return len(bars) / _best(lambda: _engine(bars, make_strategy, tier).advance())


def _floor(bars: Bars) -> float:
    """What plain Python cannot do without: one pass over the closes."""
    total = 0.0
    for close in bars.close.tolist():
        total += close
    return total


def _around(bars: Bars) -> list[Row]:
    engine = _engine(bars, _sma)
    engine.advance()
    lengths = {"account": len(bars), "fills": len(engine.fills), "trades": len(engine.trades)}
    with tempfile.TemporaryDirectory(prefix="milepost-bench-") as name:
        directory = Path(name)
        data = directory / "bars.parquet"
        write_table({column: getattr(bars, column) for column in SCHEMA.names}, SCHEMA, data)
        load = len(bars) / _best(lambda: load_bars(data))
        rows = _cached(bars, data, directory / "cache")
        run = Run("sma-cross on walk", ("walk",), bars, {}, CASH)
        results = _best(lambda: write_results(engine, run, directory))

    state = _best(lambda: [engine.state_dict() for _ in range(1000)]) / 1000
    segment = _best(lambda: _write_segment(engine, lengths))
    return [
        ("load and check canonical Parquet", load, "bars/s"),
        *rows,
        ("copy of the state at a boundary", state * 1e6, "us"),
        (f"segment of all {len(bars):,} bars' logs, gathered and written without fsync", segment * 1e3, "ms"),
        (f"write the result files of {len(bars):,} bars", results * 1e3, "ms"),
    ]


def _write_segment(engine: BacktestingEngine, lengths: dict[str, int]) -> None:
    with tempfile.TemporaryDirectory(prefix="milepost-bench-") as name:
        plan = SegmentedLogs(engine.closes, borrows=engine.borrows).plan(engine.logs, lengths)
        for file, writer in plan.files.items():
            writer.write(Path(name) / file)


def _cached(bars: Bars, data: Path, directory: Path) -> list[Row]:
    """Bars from the cache, each time mapped anew and compared with their checksum."""
    cache, digest = BarCache(directory), digest_of_file(data)
    began = time.perf_counter()
    cache.load(data, digest)
    first = time.perf_counter() - began
    again = _best(lambda: cache.load(data, digest))
    name = f"{len(bars):,} bars"
    rows: list[Row] = [
        ("map bars from the cache, checksum compared", len(bars) / again, "bars/s"),
        (f"first load of {name}, written to the cache too", first * 1e3, "ms"),
        (f"load of {name} from the cache", again * 1e3, "ms"),
    ]
    for words, place in (("without a cache", "none"), ("with a cache", str(directory))):
        taken = [_first_result_seconds(data, digest, place) for _ in range(REPEATS)]
        rows.append((f"process start to the result of {name}, {words}", min(taken) * 1e3, "ms"))
    forked = _first_result(data, digest, str(directory), str(REPEATS)).split()[1::2]
    seconds = min(float(taken) for taken in forked)
    rows.append((f"fork, as in a worker, to the result of {name}, with a cache", seconds * 1e3, "ms"))
    return rows


def _first_result_seconds(data: Path, digest: str, cache: str) -> float:
    """From the start of a process to the last bar of a compiled backtest in it; its code is compiled already."""
    began = time.perf_counter()
    words = [sys.executable, "-m", "tests.benchmarks.first_result", str(data), digest, cache]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        taken = time.perf_counter() - began
    float(line)  # else it has said nothing
    return taken


def _first_result(*words: str) -> str:
    command = [sys.executable, "-m", "tests.benchmarks.first_result", *words]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def _best(work: Callable[[], object]) -> float:
    taken: list[float] = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)


def random_walk(count: int) -> Bars:
    """A random walk in cents."""
    generator = np.random.default_rng(1)
    closes = np.round(100 + np.abs(np.cumsum(generator.normal(0, 0.05, count))), 2)
    opens = np.concatenate(([closes[0]], closes[:-1]))
    return Bars(
        np.arange(count, dtype=np.int64) * 60 * 10**9,
        opens,
        np.maximum(opens, closes) + 0.02,
        np.minimum(opens, closes) - 0.02,
        closes,
        np.full(count, 1000.0),
    )


def main() -> None:
    """Print the figures."""
    for name, value, unit in measure():
        print(f"{name:55} {value:14,.1f} {unit}")


if __name__ == "__main__":
    main()
