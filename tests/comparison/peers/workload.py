"""What every contender is given, and how it answers. Imports numpy and pandas only; runs in either environment."""

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

FAST, SLOW, UNITS = 10, 30, 100
RUNS_MAX, RUN_SECONDS_MAX = 3, 20.0
CASH, RATE = 10_000_000.0, 0.001


@dataclass
class Answer:
    """What one contender made of the data."""

    final_equity: float
    trades: list[tuple[int, int, float, float, float, float]]
    """Of closed ones: entry bar, exit bar, units (negative: short), entry price, exit price, profit after fees."""
    equity: list[float] = field(default_factory=list)
    """At each close."""
    warnings: list[str] = field(default_factory=list)


def read_frame(path: str) -> Any:
    """Return bars as the peers like them: a DataFrame by time with Open, High, Low, Close, Volume."""
    import pandas as pd

    return pd.read_csv(path, index_col=0, parse_dates=True).rename(columns=str.capitalize)


def walk_frame(bars: int) -> Any:
    """Return minute bars of a random walk in cents."""
    import pandas as pd

    columns = walk_columns(bars)
    index = pd.DatetimeIndex(columns.pop("timestamp").astype("datetime64[ns]"))
    return pd.DataFrame({name.capitalize(): values for name, values in columns.items()}, index=index)


def walk_columns(bars: int) -> dict[str, Any]:
    """Return the same as arrays."""
    import numpy as np

    draw = np.random.default_rng(1)
    closes = np.round(100 + np.abs(np.cumsum(draw.normal(0, 0.05, bars))), 2)
    opens = np.concatenate(([closes[0]], closes[:-1]))
    return {
        "timestamp": np.arange(bars, dtype=np.int64) * 60 * 10**9 + 1_577_836_800 * 10**9,
        "open": opens,
        "high": np.maximum(opens, closes) + 0.02,
        "low": np.minimum(opens, closes) - 0.02,
        "close": closes,
        "volume": np.full(bars, 1000.0),
    }


def serve(
    run: Callable[[Any, bool], Callable[[], Answer]], *, prepare: Callable[[int], Any] = walk_frame
) -> None:
    """Do what the command line says and print one JSON document.

    ``run CSV long|both`` answers with trades and equity; ``speed BARS`` with seconds and memory, of up to three
    runs; ``first BARS`` likewise of one, for whoever measures the whole process.
    ``run`` computes trades and equity and returns what turns them into an answer, which is not measured.
    """
    action, argument, *rest = sys.argv[1:]
    if action == "run":
        print(json.dumps(_guarded(run, argument, short=rest == ["both"])))
        return
    data = prepare(int(argument))
    seconds: list[float] = []
    while True:
        started = time.perf_counter()
        tell = run(data, False)
        seconds.append(time.perf_counter() - started)
        if action == "first" or len(seconds) == RUNS_MAX or sum(seconds) > RUN_SECONDS_MAX:
            break
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    answer = tell()
    print(
        json.dumps(
            {
                "seconds": min(seconds),
                "peak_bytes": peak_bytes,
                "final_equity": answer.final_equity,
                "trades": len(answer.trades),
            }
        )
    )


def _guarded(run: Callable[[Any, bool], Callable[[], Answer]], path: str, *, short: bool) -> dict[str, Any]:
    import warnings

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            answer = run(read_frame(path), short)()
        # Whatever a peer does with bad data is the finding.
        except Exception as error:  # noqa: BLE001
            return {"refused": f"{type(error).__name__}: {error}"[:300]}
    answer.warnings = [str(item.message) for item in caught if item.category is UserWarning]
    return asdict(answer)
