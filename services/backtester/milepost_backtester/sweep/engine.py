"""The sweep: one combination at a time, an ordinary object.

A unit is one combination over one training window; the last one of a fold includes trading the fold's test window
with the best of them. Nothing of a unit is kept before it is whole. Several threads may compute combinations ahead
of the one that comes next: compiled rules let go of the interpreter. Rows are added in the order of the units, and
no combination looks at another, so results do not depend on the number of threads.

States: at a boundary (``unit`` units are done) -> inside a unit -> at the next boundary, or at the same one again
when it was told to stop inside or failed.
"""

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from milepost_backtester.engine.errors import StateError
from milepost_backtester.engine.records import State
from milepost_backtester.statistics.market import Market
from milepost_backtester.sweep.figures import Direction, FigureRow, FigureTable, Places, ranking, row_of
from milepost_backtester.sweep.forward import ForwardLog
from milepost_backtester.sweep.plan import Plan
from milepost_backtester.sweep.trials import StopAsked, StoppedWithinError, Trials

SWEEP_VERSION = "1"
"""Raised with every change of what a sweep does with the figures of its runs."""
STATE_FIELDS = {"units", "fills", "trades"}
AHEAD_OF_EACH_THREAD = 2


class CombinationFailedError(Exception):
    """A combination's run raised."""


class SweepEngine:
    """Runs every combination over every training window; use it as a context, it may own threads."""

    def __init__(
        self,
        plan: Plan,
        trials: Trials,
        *,
        initial_cash: float,
        rank_by: str,
        direction: Direction,
        threads: int = 1,
    ) -> None:
        """``threads``: how many combinations are computed at once; of use for compiled rules only."""
        self.plan = plan
        self._trials = trials
        self._initial_cash = initial_cash
        self.rank_by = rank_by
        self.direction: Direction = direction
        self._threads = max(1, min(threads, plan.total_units))
        self._pool: ThreadPoolExecutor | None = None
        self._ahead: deque[Future[FigureRow]] = deque()
        self._markets: dict[int, Market] = {}
        self.combinations = FigureTable(plan.total_units)
        """Figures of each unit done."""
        self.forward = ForwardLog(plan)
        """What was traded forward, fold by fold."""

    @property
    def unit(self) -> int:
        """How many units are done."""
        return len(self.combinations)

    @property
    def total_units(self) -> int:
        """How many units there are."""
        return self.plan.total_units

    def step(self, stop_asked: StopAsked = lambda: False) -> None:
        """Do the next unit.

        Raises:
            StoppedWithinError: ``stop_asked`` said so; the unit has to be done again.
            CombinationFailedError: the strategy raised; likewise.
        """
        unit = self.unit
        row = self._next_row(unit, stop_asked)
        fold, combination = self.plan.place(unit)
        if self.plan.walks and combination == len(self.plan.combinations) - 1:
            self._trade(fold, self._best_of(fold, row), stop_asked)
        self.combinations.append(row)

    def ranked(self, fold: int) -> Places:
        """Return the combinations of a finished fold from the best to the worst."""
        count = len(self.plan.combinations)
        values = self.combinations.figure(self.rank_by, fold * count, (fold + 1) * count)
        return ranking(values, self.direction)

    def state_dict(self) -> State:
        """Return the lengths of everything that only ever grows; that is all that the next units depend on."""
        return {"units": self.unit, "fills": len(self.forward.fills), "trades": len(self.forward.trades)}

    def folds_done(self, units: int) -> int:
        """Return how many folds are done when so many units are."""
        return units // len(self.plan.combinations) if self.plan.walks else 0

    def lengths(self, state: Mapping[str, Any]) -> dict[str, int]:
        """Return how many rows each log has at a state."""
        folds = self.folds_done(state["units"])
        return {
            "combinations": state["units"],
            "folds": folds,
            "equity": self.forward.bars_of(folds),
            "fills": state["fills"],
            "trades": state["trades"],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Check that what was put back into the tables is what a state wants.

        Raises:
            StateError: fields are missing or unknown, or rows are.
        """
        if set(state) != STATE_FIELDS:
            raise StateError(f"expected {sorted(STATE_FIELDS)}, got {sorted(state)}")
        if not 0 <= state["units"] <= self.total_units:
            raise StateError(f"{state['units']} of {self.total_units} units")
        found = {"combinations": self.unit, **self.forward.lengths()}
        wanted = self.lengths(state)
        if found != wanted:
            raise StateError(f"the tables have {found} rows, the state wants {wanted}")
        self._forget_ahead()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._forget_ahead()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _next_row(self, unit: int, stop_asked: StopAsked) -> FigureRow:
        if self._threads == 1:
            return self._run(unit, self._market_of(unit), stop_asked)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="combination")
        room = min(unit + AHEAD_OF_EACH_THREAD * self._threads, self.total_units)
        for later in range(unit + len(self._ahead), room):
            self._ahead.append(self._pool.submit(self._run, later, self._market_of(later), stop_asked))
        try:
            return self._ahead.popleft().result()
        except BaseException:
            self._forget_ahead()
            raise

    def _run(self, unit: int, market: Market, stop_asked: StopAsked) -> FigureRow:
        place, combination = self.plan.place(unit)
        fold, parameters = self.plan.folds[place], self.plan.combinations[combination]
        try:
            return row_of(self._trials.run(parameters, fold.train_start, fold.train_stop, market, stop_asked))
        except (StoppedWithinError, MemoryError):
            raise
        # A strategy may raise anything, and may exit: whose parameters they were must be told.
        except (Exception, SystemExit) as error:
            words = f"combination {combination + 1} of {len(self.plan.combinations)}, {dict(parameters)}"
            raise CombinationFailedError(f"{words}: {type(error).__name__}: {error}") from error

    def _market_of(self, unit: int) -> Market:
        place = self.plan.place(unit)[0]
        if place not in self._markets:
            fold = self.plan.folds[place]
            # One fold is computed while the next begins.
            self._markets = {number: kept for number, kept in self._markets.items() if number == place - 1}
            self._markets[place] = self._trials.market(fold.train_start, fold.train_stop)
        return self._markets[place]

    def _best_of(self, fold: int, last: FigureRow) -> int:
        """Return the best combination of a fold whose last row is not in the table yet."""
        start = fold * len(self.plan.combinations)
        table = FigureTable(len(self.plan.combinations))
        table.extend(self.combinations.columns(start, self.unit))
        table.append(last)
        return int(ranking(table.figure(self.rank_by, 0, len(table)), self.direction)[0])

    def _trade(self, fold: int, best: int, stop_asked: StopAsked) -> None:
        window, cash = self.plan.folds[fold], self.forward.cash(self._initial_cash)
        if cash > 0:
            traded = self._trials.trade(self.plan.combinations[best], window, cash, stop_asked)
            self.forward.append(best, row_of(traded.statistics), traded.logs)
        else:
            self.forward.append_ruined(best, window, cash)

    def _forget_ahead(self) -> None:
        while self._ahead:
            self._ahead.pop().cancel()
