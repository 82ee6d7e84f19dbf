"""What was traded forward: the joined account of all test windows, and the figures of each."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from milepost_runtime.digests import canonical_json

from milepost_backtester.engine.bars import Floats, Integers
from milepost_backtester.engine.layouts import FILL, TRADE, Table
from milepost_backtester.engine.records import Logs
from milepost_backtester.sweep.figures import NAMES, FigureRow, FigureTable
from milepost_backtester.sweep.plan import Fold, Plan

RUINED = "nothing was left to trade with"


class ForwardLog:
    """Rows are only ever added, a fold at a time."""

    def __init__(self, plan: Plan) -> None:
        self._folds = plan.folds if plan.walks else ()
        lengths = [fold.test_stop - fold.test_start for fold in self._folds]
        self._ends = [0, *accumulate(lengths)]
        self._equity, self._cash, self._position = (np.empty(self._ends[-1]) for _ in range(3))
        self.fills: Table = np.empty(0, FILL)
        """Bars of fills and trades are numbered as in all bars."""
        self.trades: Table = np.empty(0, TRADE)
        self.figures = FigureTable(len(self._folds))
        """Of each fold's test window."""
        self.chosen: list[int] = []
        """The combination that traded each fold."""

    @property
    def bars(self) -> Integers:
        """The numbers of the bars traded, as in all bars."""
        done = self._folds[: len(self.chosen)]
        return np.concatenate(
            [np.empty(0, np.int64), *(np.arange(fold.test_start, fold.test_stop) for fold in done)]
        )

    @property
    def logs(self) -> Logs:
        """The joined account so far."""
        end = self._ends[len(self.chosen)]
        return Logs(self._equity[:end], self._cash[:end], self._position[:end], self.fills, self.trades)

    def bars_of(self, folds: int) -> int:
        """Return how many bars so many folds trade."""
        return self._ends[folds]

    def cash(self, initial_cash: float) -> float:
        """Return what the next fold has to trade with: each one ends without a position."""
        end = self._ends[len(self.chosen)]
        return self._equity.item(end - 1) if end else initial_cash

    def append(self, combination: int, figures: FigureRow, logs: Logs) -> None:
        """Add a fold."""
        fold = len(self.chosen)
        part = slice(self._ends[fold], self._ends[fold + 1])
        self._equity[part], self._cash[part], self._position[part] = logs.equity, logs.cash, logs.position
        self.fills = np.concatenate((self.fills, logs.fills))
        self.trades = np.concatenate((self.trades, logs.trades))
        self.figures.append(figures)
        self.chosen.append(combination)

    def append_ruined(self, combination: int, fold: Fold, cash: float) -> None:
        """Add a fold that trades nothing, because nothing is left."""
        bars = fold.test_stop - fold.test_start
        row = FigureRow(np.full(len(NAMES), np.nan), canonical_json(dict.fromkeys(NAMES, RUINED)).decode())
        still = np.full(bars, cash)
        self.append(combination, row, Logs(still, still, np.zeros(bars)))

    def lengths(self) -> dict[str, int]:
        """Return how many rows each log has."""
        return {
            "folds": len(self.chosen),
            "equity": self._ends[len(self.chosen)],
            "fills": len(self.fills),
            "trades": len(self.trades),
        }

    def fold_columns(self, start: int, stop: int) -> dict[str, Any]:
        """Return a copy of some folds by column."""
        chosen = np.array(self.chosen[start:stop], dtype=np.int64)
        return {"combination": chosen, **self.figures.columns(start, stop)}

    def restore(self, folds: Mapping[str, Any], logs: Logs) -> None:
        """Put everything back from columns such as ``fold_columns`` returns and the joined account."""
        self.chosen = [int(combination) for combination in folds["combination"]]
        self.figures.clear()
        self.figures.extend(folds)
        end = len(logs.equity)
        marks: Sequence[tuple[Floats, Floats]] = (
            (self._equity, logs.equity),
            (self._cash, logs.cash),
            (self._position, logs.position),
        )
        for mine, given in marks:
            mine[:end] = given
        self.fills, self.trades = logs.fills, logs.trades
