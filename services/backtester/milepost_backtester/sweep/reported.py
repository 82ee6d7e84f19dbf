"""From a finished sweep to what its report tells."""

from collections.abc import Mapping
from math import fsum

import numpy as np
from milepost_contracts.specs.sweep import SweepSpec

from milepost_backtester.engine.bars import Bars, Floats
from milepost_backtester.engine.portfolio_bars import PortfolioBars
from milepost_backtester.job import listed
from milepost_backtester.report.content import FillMarks, Instrument, ReportContent, TradeMarks
from milepost_backtester.statistics import Statistics
from milepost_backtester.sweep.engine import SweepEngine
from milepost_backtester.sweep.figures import FigureTable
from milepost_backtester.sweep.report.content import FoldContent, SweepContent, WalkContent, axis_of
from milepost_backtester.symbols import names_of


def report_of(
    engine: SweepEngine,
    spec: SweepSpec,
    left_out: Mapping[str, int],
    bars: Bars | PortfolioBars,
    forward: Statistics | None,
) -> SweepContent:
    """Return what the report of a finished sweep tells; ``forward``: figures of all test windows of a walk."""
    plan, symbols = engine.plan, names_of(spec)
    last = len(plan.folds) - 1
    kind = "sweep" if forward is None else "walk-forward"
    title = f"{spec.strategy.name} on {listed(symbols)}, {kind}"
    content = spec.model_dump(mode="json")
    return SweepContent(
        title=title,
        timestamp=bars.timestamp,
        axes=tuple(axis_of(name, plan.combinations) for name in sorted(spec.grid)),
        figures=_figures(engine, last),
        rank_by=engine.rank_by,
        direction=engine.direction,
        order=engine.ranked(last),
        left_out=left_out,
        spec=content,
        walk=None
        if forward is None
        else WalkContent(
            _folds(engine, bars),
            _account(engine, bars, title, symbols[0], forward),
            averages(engine),
        ),
    )


def averages(engine: SweepEngine) -> Floats:
    """Return each combination's mean of the figure ranked by over the training windows that have one."""
    shape = (len(engine.plan.folds), len(engine.plan.combinations))
    values = engine.combinations.figure(engine.rank_by, 0, engine.unit).reshape(shape)
    return np.array([_mean(column[~np.isnan(column)]) for column in values.T])


def _mean(values: Floats) -> float:
    return fsum(values.tolist()) / len(values) if len(values) else float("nan")


def _figures(engine: SweepEngine, fold: int) -> FigureTable:
    count = len(engine.plan.combinations)
    table = FigureTable(count)
    table.extend(engine.combinations.columns(fold * count, (fold + 1) * count))
    return table


def _folds(engine: SweepEngine, bars: Bars | PortfolioBars) -> tuple[FoldContent, ...]:
    plan, forward = engine.plan, engine.forward

    def ends(start: int, stop: int) -> tuple[int, int]:
        return int(bars.timestamp[start]), int(bars.timestamp[stop - 1])

    return tuple(
        FoldContent(
            ends(fold.train_start, fold.train_stop),
            ends(fold.test_start, fold.test_stop),
            forward.bars_of(place),
            forward.chosen[place],
            engine.combinations.statistics(place * len(plan.combinations) + forward.chosen[place]),
            forward.figures.statistics(place),
        )
        for place, fold in enumerate(plan.folds)
    )


def _account(
    engine: SweepEngine, bars: Bars | PortfolioBars, title: str, symbol: str, statistics: Statistics
) -> ReportContent:
    """Return the joined account as the run it is; what was traded is marked by its bars there."""
    traded, logs = engine.forward.bars, engine.forward.logs
    fills, trades = logs.fills, logs.trades

    def joined(
        numbers: "np.ndarray[tuple[int], np.dtype[np.int64]]",
    ) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        return np.searchsorted(traded, numbers).astype(np.int64)

    instrument = Instrument(
        symbol,
        bars.close[traded],
        FillMarks(joined(fills["bar"]), fills["quantity"], fills["price"]),
        TradeMarks(
            joined(trades["entry_bar"]),
            joined(trades["exit_bar"]),
            trades["entry_price"],
            trades["exit_price"],
            trades["pnl"],
        ),
    )
    return ReportContent(title, bars.timestamp[traded], logs.equity, (instrument,), statistics, {})
