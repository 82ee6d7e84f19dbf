"""The result files of a finished run; the same run writes the same bytes."""

from dataclasses import asdict
from pathlib import Path

from milepost_runtime.digests import canonical_json

from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.parquet import MEDIA_TYPE, write_table
from milepost_backtester.statistics import Statistics, compute_statistics
from milepost_backtester.tables import (
    EQUITY_RESULT,
    FILLS_RESULT,
    TRADES_RESULT,
    record_columns,
    times_at,
)

RESULT_FILES = {
    "trades.parquet": MEDIA_TYPE,
    "fills.parquet": MEDIA_TYPE,
    "equity.parquet": MEDIA_TYPE,
    "statistics.json": "application/json",
}
"""Round trips, fills, the account at every bar, and the figures; media types by name."""


def write_results(engine: BacktestingEngine, directory: Path, *, initial_cash: float) -> Statistics:
    """Write the result files of what the engine has done so far and return the figures."""
    curve, logs = engine.curve, engine.logs
    timestamp = curve.timestamp
    write_table(
        {
            **record_columns(logs.trades),
            "entry_time": times_at(timestamp, logs.trades["entry_bar"]),
            "exit_time": times_at(timestamp, logs.trades["exit_bar"]),
        },
        TRADES_RESULT,
        directory / "trades.parquet",
    )
    write_table(
        {**record_columns(logs.fills), "time": times_at(timestamp, logs.fills["bar"])},
        FILLS_RESULT,
        directory / "fills.parquet",
    )
    write_table(
        {name: getattr(curve, name) for name in EQUITY_RESULT.names},
        EQUITY_RESULT,
        directory / "equity.parquet",
    )
    statistics = compute_statistics(
        curve, logs.fills, logs.trades, initial_cash=initial_cash, orders_waiting=len(engine.waiting)
    )
    (directory / "statistics.json").write_bytes(canonical_json(asdict(statistics)))
    return statistics
