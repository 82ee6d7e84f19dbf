"""The result files of a finished sweep; the same sweep writes the same bytes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import fsum
from pathlib import Path
from typing import Any

import numpy as np
from milepost_contracts.model import JsonObject
from milepost_contracts.specs.backtest import BacktestSpec
from milepost_contracts.specs.sweep import SweepSpec
from milepost_runtime.digests import canonical_json
from milepost_runtime.worker.kind import JobResult

from milepost_backtester.engine.account import Outcome
from milepost_backtester.engine.backtesting_engine import EquityCurve
from milepost_backtester.engine.bars import Bars
from milepost_backtester.engine.portfolio_bars import PortfolioBars
from milepost_backtester.parquet import MEDIA_TYPE, write_table
from milepost_backtester.statistics import Statistics, compute_statistics
from milepost_backtester.sweep.engine import SweepEngine
from milepost_backtester.sweep.figures import FigureTable
from milepost_backtester.sweep.plan import Plan
from milepost_backtester.sweep.report.writing import (
    SWEEP_REPORT_FILES,
    WALK_PICTURES,
    write_sweep_report,
)
from milepost_backtester.sweep.reported import report_of
from milepost_backtester.sweep.tables import combination_table, fold_table
from milepost_backtester.symbols import names_of
from milepost_backtester.tables import (
    FILLS_RESULT,
    TRADES_RESULT,
    equity_result,
    names_at,
    record_columns,
    times_at,
)

JSON = "application/json"
SWEEP_FILES = {
    "combinations.parquet": MEDIA_TYPE,
    "best.json": JSON,
    "best-spec.json": JSON,
    **SWEEP_REPORT_FILES,
}
"""Every combination with its figures; the best one; the same as the spec of a backtest; the sweep for people.
Media types by name."""
FORWARD_FILES = {
    "folds.parquet": MEDIA_TYPE,
    "equity.parquet": MEDIA_TYPE,
    "fills.parquet": MEDIA_TYPE,
    "trades.parquet": MEDIA_TYPE,
    "statistics.json": JSON,
    **WALK_PICTURES,
}
"""Of a walk beside those: its folds, and what was traded out of sample as the files of a backtest."""


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """What was asked for, as far as the engine does not know it."""

    spec: SweepSpec
    plan: Plan
    left_out: Mapping[str, int]
    """How many combinations were impossible, by the reason."""
    bars: Bars | PortfolioBars


def write_results(engine: SweepEngine, sweep: Sweep, directory: Path) -> JobResult:
    """Write the result files of a finished sweep."""
    names = sorted(sweep.spec.grid)
    columns, schema = combination_table(engine, names)
    write_table(columns, schema, directory / "combinations.parquet")
    best = best_of(engine, sweep)
    (directory / "best.json").write_bytes(canonical_json(best))
    (directory / "best-spec.json").write_bytes(canonical_json(best["spec"]))
    files, summary = dict(SWEEP_FILES), _summary(engine, sweep, best)
    statistics = None
    if engine.plan.walks:
        statistics = _write_forward(engine, sweep, names, directory)
        files |= FORWARD_FILES
        summary |= {
            f"out_of_sample_{name}": getattr(statistics, name)
            for name in dict.fromkeys((engine.rank_by, "total_return", "max_drawdown"))
        }
    write_sweep_report(report_of(engine, sweep.spec, sweep.left_out, sweep.bars, statistics), directory)
    return JobResult(files=files, summary=summary)


def best_of(engine: SweepEngine, sweep: Sweep) -> dict[str, Any]:
    """Return the best combination, of a walk that of its last fold, with its figures and as a backtest's spec."""
    fold = len(engine.plan.folds) - 1
    best = int(engine.ranked(fold)[0])
    parameters = dict(engine.plan.combinations[best])
    content = sweep.spec.model_dump(mode="json")
    spec: JsonObject = {name: content[name] for name in BacktestSpec.model_fields}
    spec["strategy"] = {"name": sweep.spec.strategy.name, "parameters": parameters}
    return {
        "combination": best + 1,
        "fold": fold + 1 if engine.plan.walks else None,
        "rank_by": engine.rank_by,
        "direction": engine.direction,
        "parameters": parameters,
        "statistics": engine.combinations.statistics(fold * len(engine.plan.combinations) + best),
        "spec": spec,
    }


def _summary(engine: SweepEngine, sweep: Sweep, best: Mapping[str, Any]) -> JsonObject:
    found: JsonObject = {
        "combinations": len(engine.plan.combinations),
        "left_out": sum(sweep.left_out.values()),
        "best_combination": best["combination"],
        **{f"best_{name}": best["parameters"][name] for name in sorted(sweep.spec.grid)},
        f"best_{engine.rank_by}": best["statistics"][engine.rank_by],
    }
    if engine.plan.walks:
        found["folds"] = len(engine.plan.folds)
    return found


def forward_curve(engine: SweepEngine, sweep: Sweep) -> EquityCurve:
    """Return the joined account of all test windows."""
    logs = engine.forward.logs
    return EquityCurve(sweep.bars.timestamp[engine.forward.bars], logs.equity, logs.cash, logs.position)


def forward_statistics(engine: SweepEngine, sweep: Sweep) -> Statistics:
    """Return the figures of all test windows together."""
    logs = engine.forward.logs
    return compute_statistics(
        forward_curve(engine, sweep),
        logs.fills,
        logs.trades,
        initial_cash=sweep.spec.initial_cash,
        closes=sweep.bars.close[engine.forward.bars],
        outcome=_forward_outcome(engine.forward.figures),
    )


def _forward_outcome(folds: FigureTable) -> Outcome:
    """Return what happened beside fills in all test windows; a window without an account had nothing."""

    def total(name: str) -> float:
        values = folds.figure(name, 0, len(folds))
        return fsum(values[~np.isnan(values)].tolist())

    return Outcome(
        orders_refused=int(total("orders_refused")),
        orders_expired=int(total("orders_expired")),
        margin_calls=int(total("margin_calls")),
        borrow_cost=total("borrow_cost"),
    )


def _write_forward(engine: SweepEngine, sweep: Sweep, names: list[str], directory: Path) -> Statistics:
    timestamp, logs = sweep.bars.timestamp, engine.forward.logs
    columns, schema = fold_table(engine, names, timestamp)
    write_table(columns, schema, directory / "folds.parquet")
    curve = forward_curve(engine, sweep)
    symbols = names_of(sweep.spec)
    schema = equity_result(symbols)
    marks = (curve.timestamp, curve.equity, curve.cash, curve.position)
    write_table(dict(zip(schema.names, marks, strict=True)), schema, directory / "equity.parquet")
    fills, trades = record_columns(logs.fills), record_columns(logs.trades)
    fills |= {"symbol": names_at(symbols, fills["symbol"]), "time": times_at(timestamp, fills["bar"])}
    write_table(fills, FILLS_RESULT, directory / "fills.parquet")
    trades |= {
        "symbol": names_at(symbols, trades["symbol"]),
        "entry_time": times_at(timestamp, trades["entry_bar"]),
        "exit_time": times_at(timestamp, trades["exit_bar"]),
    }
    write_table(trades, TRADES_RESULT, directory / "trades.parquet")
    statistics = forward_statistics(engine, sweep)
    (directory / "statistics.json").write_bytes(canonical_json(asdict(statistics)))
    return statistics
