"""The result files of a finished run; the same run writes the same bytes."""

from dataclasses import asdict, dataclass
from pathlib import Path

from milepost_contracts.model import JsonObject
from milepost_runtime.digests import canonical_json

from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.bars import Bars
from milepost_backtester.engine.layouts import Table
from milepost_backtester.parquet import MEDIA_TYPE, write_table
from milepost_backtester.report.content import FillMarks, Instrument, ReportContent, TradeMarks
from milepost_backtester.report.writing import REPORT_FILES, write_report
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
    **REPORT_FILES,
}
"""Round trips, fills, the account at every bar, the figures, and all of it for people; media types by name."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What was run, as far as the engine does not know it."""

    title: str
    instrument: str
    bars: Bars
    spec: JsonObject
    initial_cash: float


def write_results(engine: BacktestingEngine, run: Run, directory: Path) -> Statistics:
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
    closes = run.bars.close[: len(timestamp)]
    statistics = compute_statistics(
        curve,
        logs.fills,
        logs.trades,
        initial_cash=run.initial_cash,
        orders_waiting=len(engine.waiting),
        closes=closes,
        outcome=engine.outcome,
    )
    (directory / "statistics.json").write_bytes(canonical_json(asdict(statistics)))
    instrument = Instrument(run.instrument, closes, _fill_marks(logs.fills), _trade_marks(logs.trades))
    content = ReportContent(run.title, timestamp, curve.equity, (instrument,), statistics, run.spec)
    write_report(content, directory)
    return statistics


def _fill_marks(fills: Table) -> FillMarks:
    return FillMarks(fills["bar"], fills["quantity"], fills["price"])


def _trade_marks(trades: Table) -> TradeMarks:
    names = ("entry_bar", "exit_bar", "entry_price", "exit_price", "pnl")
    return TradeMarks(*(trades[name] for name in names))
