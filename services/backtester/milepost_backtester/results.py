"""The result files of a finished run; the same run writes the same bytes."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
from milepost_runtime.digests import canonical_json

from milepost_backtester.engine.backtesting_engine import BacktestingEngine, EquityCurve
from milepost_backtester.engine.bars import Floats, Integers
from milepost_backtester.engine.layouts import Table
from milepost_backtester.engine.records import Logs
from milepost_backtester.parquet import MEDIA_TYPE, write_table
from milepost_backtester.report.content import FillMarks, Instrument, ReportContent, TradeMarks
from milepost_backtester.report.writing import REPORT_FILES, write_report
from milepost_backtester.run import Run
from milepost_backtester.statistics import Statistics, compute_statistics
from milepost_backtester.statistics.symbols import SymbolStatistics, symbol_statistics
from milepost_backtester.tables import (
    FILLS_RESULT,
    TRADES_RESULT,
    equity_result,
    names_at,
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


def write_results(engine: BacktestingEngine, run: Run, directory: Path) -> Statistics:
    """Write the result files of what the engine has done so far and return the figures."""
    first, whole, logs = engine.warm_up_bars, engine.curve, engine.logs
    curve = EquityCurve(
        whole.timestamp[first:], whole.equity[first:], whole.cash[first:], whole.position[..., first:]
    )
    _write_logs(curve, logs, run.symbols, whole.timestamp, directory)
    closes = run.bars.close[..., first : len(whole.timestamp)]
    statistics = compute_statistics(
        curve,
        logs.fills,
        logs.trades,
        initial_cash=run.initial_cash,
        orders_waiting=len(engine.waiting),
        closes=closes,
        outcome=engine.outcome,
    )
    symbols = _symbol_figures(curve, logs, run.symbols, closes)
    figures = asdict(statistics)
    if symbols:
        figures["symbols"] = {name: asdict(part) for name, part in symbols.items()}
    (directory / "statistics.json").write_bytes(canonical_json(figures))
    instruments = tuple(
        _instrument(name, place, close, logs, first)
        for place, (name, close) in enumerate(zip(run.symbols, np.atleast_2d(closes), strict=True))
    )
    content = ReportContent(
        run.title, curve.timestamp, curve.equity, instruments, statistics, run.spec, symbols
    )
    write_report(content, directory)
    return statistics


def _write_logs(
    curve: EquityCurve, logs: Logs, symbols: tuple[str, ...], timestamp: Integers, directory: Path
) -> None:
    """Bars of fills and trades are counted from the first of the data, warm-up included."""
    write_table(
        {
            **record_columns(logs.trades),
            "symbol": names_at(symbols, logs.trades["symbol"]),
            "entry_time": times_at(timestamp, logs.trades["entry_bar"]),
            "exit_time": times_at(timestamp, logs.trades["exit_bar"]),
        },
        TRADES_RESULT,
        directory / "trades.parquet",
    )
    write_table(
        {
            **record_columns(logs.fills),
            "symbol": names_at(symbols, logs.fills["symbol"]),
            "time": times_at(timestamp, logs.fills["bar"]),
        },
        FILLS_RESULT,
        directory / "fills.parquet",
    )
    schema = equity_result(symbols)
    columns = (curve.timestamp, curve.equity, curve.cash, *np.atleast_2d(curve.position))
    write_table(dict(zip(schema.names, columns, strict=True)), schema, directory / "equity.parquet")


def _symbol_figures(
    curve: EquityCurve, logs: Logs, symbols: tuple[str, ...], closes: Floats
) -> dict[str, SymbolStatistics]:
    """Return the figures of each symbol; of a single one those of the run say it all."""
    if len(symbols) == 1:
        return {}
    return symbol_statistics(symbols, curve.position, logs.fills, logs.trades, closes)


def _instrument(name: str, place: int, close: Floats, logs: Logs, first: int) -> Instrument:
    fills = logs.fills[logs.fills["symbol"] == place]
    trades = logs.trades[logs.trades["symbol"] == place]
    return Instrument(name, close, _fill_marks(fills, first), _trade_marks(trades, first))


def _fill_marks(fills: Table, first: int) -> FillMarks:
    return FillMarks(fills["bar"] - first, fills["quantity"], fills["price"])


def _trade_marks(trades: Table, first: int) -> TradeMarks:
    bars = (trades["entry_bar"] - first, trades["exit_bar"] - first)
    return TradeMarks(*bars, *(trades[name] for name in ("entry_price", "exit_price", "pnl")))
