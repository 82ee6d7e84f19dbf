"""One backtest in the computing child: the pure engine, its bridge, and what a checkpoint puts back."""

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from milepost_contracts.model import JsonObject
from milepost_contracts.problems import problems_of
from milepost_contracts.specs.backtest import BacktestSpec
from milepost_runtime.bridge.host import BridgeHost
from milepost_runtime.checkpoints.data import LoadedCheckpoint
from milepost_runtime.digests import canonical_json, digest_of_bytes
from milepost_runtime.fingerprints import environment_entries
from milepost_runtime.worker.kind import JobContext, JobResult
from pydantic import BaseModel, ValidationError

from milepost_backtester.bar_cache import CACHE_BYTES_MAX, BarCache
from milepost_backtester.bridge import BacktestingProgressBridge, log_lengths
from milepost_backtester.engine.backtesting_engine import (
    ENGINE_VERSION,
    STATE_SCHEMA_VERSION,
    BacktestingEngine,
)
from milepost_backtester.engine.bars import Floats
from milepost_backtester.engine.portfolio_strategy import EachSymbol
from milepost_backtester.engine.strategy import Tier
from milepost_backtester.engine.terms import Terms
from milepost_backtester.run import Run
from milepost_backtester.segments import SegmentedLogs
from milepost_backtester.strategies.inputs import FingerprintedStrategy
from milepost_backtester.strategies.registry import StrategyClass, check_parameters, find_strategy
from milepost_backtester.symbols import data_fingerprint, load_symbols, names_of, strategy_for

FILE_WRITERS = ("numpy", "pyarrow", "matplotlib", "jinja2")
"""Libraries whose version shows in the bytes of the result files."""
TITLE_SYMBOLS_MAX = 4
PIECE_BARS = 1 << 14
"""After so many a stop is looked for, also between two boundaries: half a millisecond of compiled code."""


class BacktestJob:
    """Implements ``Job`` for backtests; the unit is a bar."""

    def __init__(self, engine: BacktestingEngine, run: Run, *, fingerprint: Mapping[str, str]) -> None:
        self._engine = engine
        self._run = run
        self._segments = SegmentedLogs(engine.closes, borrows=engine.borrows)
        self.fingerprint: Mapping[str, str] = dict(fingerprint)
        """What must be equal for a resumed run to be exact."""
        self.total_units = engine.total_bars
        self.unit_name = "bar"

    def restore_from_checkpoint(self, checkpoint: LoadedCheckpoint) -> None:
        """Put cash, lots, orders, logs and the strategy's state back; the run goes on with the next bar.

        Raises:
            CheckpointDamagedError: rows of a log are missing.
        """
        state = checkpoint.state()
        logs = self._segments.restore(checkpoint, log_lengths(state))
        self._engine.load_state_dict(state, logs)

    def run(self, host: BridgeHost) -> bool:
        """Do bars until all are done; False when the bridge said stop before that."""
        engine = self._engine
        with BacktestingProgressBridge(
            host, engine, fingerprint=self.fingerprint, segments=self._segments
        ) as bridge:
            going_on = bridge.start(engine.bar_index, engine.state_dict())
            while going_on and engine.bar_index < engine.total_bars:
                self._advance(bridge)
                going_on = bridge.update_state(engine.bar_index, engine.state_dict(), self._metrics())
            return going_on

    def write_results(self, directory: Path) -> JobResult:
        """Write the result files."""
        # Figures and pictures come with the end, which most of what is started has not reached yet.
        from milepost_backtester.results import RESULT_FILES, write_results  # noqa: PLC0415

        statistics = write_results(self._engine, self._run, directory)
        return JobResult(files=dict(RESULT_FILES), summary=asdict(statistics))

    def _advance(self, bridge: BacktestingProgressBridge) -> None:
        """Do bars up to the next boundary, or to where a stop was asked for on the way there."""
        engine = self._engine
        boundary = bridge.next_boundary(engine.bar_index)
        try:
            while engine.advance(min(engine.bar_index + PIECE_BARS, boundary)) < boundary:
                if bridge.stop_due(engine.bar_index):
                    break
        except (Exception, SystemExit):  # a strategy may exit: for the job that is a failure
            self._return_to_last_good_bar(bridge)
            raise

    def _return_to_last_good_bar(self, bridge: BacktestingProgressBridge) -> None:
        """The failure checkpoint must be of the last whole bar, which lies somewhere after the last boundary."""
        engine = self._engine
        last_good = engine.bar_index
        engine.load_state_dict(bridge.state)
        if last_good == bridge.unit:
            return
        try:
            engine.advance(last_good)
        # Not repeatable, so not a strategy as it should be: the last boundary must do. The first error is raised.
        except (Exception, SystemExit):  # noqa: BLE001
            engine.load_state_dict(bridge.state)
            return
        bridge.update_state(last_good, engine.state_dict(), self._metrics())

    def _metrics(self) -> dict[str, float]:
        logs = self._engine.logs
        return {
            "equity": logs.equity.item(-1),
            **self._held(logs.position),
            "trades": float(len(logs.trades)),
        }

    def _held(self, position: Floats) -> dict[str, float]:
        """Units of the one symbol, or how many of several are held."""
        if position.ndim == 1:
            return {"position": position.item(-1)}
        return {"symbols_held": float(np.count_nonzero(position[:, -1]))}


def create_backtest_job(context: JobContext, *, cache_bytes_max: int = CACHE_BYTES_MAX) -> BacktestJob:
    """Build the job of a spec; ``cache_bytes_max``: what the worker's cached bars may take.

    Raises:
        ValueError: the spec, the strategy or the bars are unusable; every problem is named.
    """
    spec = _spec_of(context.spec)
    strategy_class = find_strategy(spec.strategy.name)
    parameters = check_parameters(strategy_class, spec.strategy.parameters)
    bars = load_symbols(spec, context.inputs, strategy_class, BarCache.of(context, bytes_max=cache_bytes_max))
    if spec.warm_up_bars >= len(bars):
        raise ValueError(
            f"spec.warm_up_bars: {spec.warm_up_bars} of {len(bars)} bars leave none to trade: give fewer"
        )
    symbols = names_of(spec)
    strategy = strategy_for(bars, symbols, strategy_class, parameters, context.inputs)
    engine = BacktestingEngine(
        bars,
        strategy,
        initial_cash=spec.initial_cash,
        terms=terms_of(spec),
        tier=spec.tier,
        warm_up_bars=spec.warm_up_bars,
    )
    fingerprint = fingerprint_of(spec, strategy_class, parameters, tier=engine.tier)
    for part in strategy.strategies.values() if isinstance(strategy, EachSymbol) else (strategy,):
        if isinstance(part, FingerprintedStrategy):
            fingerprint |= {**part.fingerprint, **environment_entries(part.environment)}
    run = Run(
        title=f"{spec.strategy.name} on {listed(symbols)}",
        symbols=symbols,
        bars=bars,
        spec=spec.model_dump(mode="json"),
        initial_cash=spec.initial_cash,
    )
    return BacktestJob(engine, run, fingerprint=fingerprint)


def terms_of(spec: BacktestSpec) -> Terms:
    """Return the engine's terms of a spec."""
    values: dict[str, Any] = spec.terms.model_dump()
    if spec.terms.leverage_max is None:
        values["leverage_max"] = inf
    return Terms(commission_rate=spec.commission_rate, **values)


def fingerprint_of(
    spec: BacktestSpec, strategy: StrategyClass, parameters: BaseModel, *, tier: Tier
) -> dict[str, str]:
    """Return what must be equal for a resumed run to be exact.

    Decisions and accounts rest on single correctly rounded operations and on exact integers, which no version of
    Python or numpy changes. The result *files* are another matter: numpy, pyarrow, matplotlib and
    Jinja write them, each in its own way of that version, so all are named.
    """
    return {
        "engine": ENGINE_VERSION,
        "state_schema": STATE_SCHEMA_VERSION,
        "strategy": spec.strategy.name,
        "strategy_version": strategy.VERSION,
        "parameters": digest_of_bytes(canonical_json(parameters.model_dump(mode="json"))),
        **data_fingerprint(spec),
        "initial_cash": repr(spec.initial_cash),
        **{name: repr(value) for name, value in asdict(terms_of(spec)).items()},
        "tier": tier,
        # Only where there is one: checkpoints of before know none.
        **({"warm_up_bars": str(spec.warm_up_bars)} if spec.warm_up_bars else {}),
        **environment_entries({name: version(name) for name in FILE_WRITERS}),
    }


def listed(symbols: tuple[str, ...]) -> str:
    """Return names for a title: all of a few, otherwise how many more there are."""
    if len(symbols) <= TITLE_SYMBOLS_MAX:
        return ", ".join(symbols)
    shown = ", ".join(symbols[: TITLE_SYMBOLS_MAX - 1])
    return f"{shown} and {len(symbols) - TITLE_SYMBOLS_MAX + 1} more"


def _spec_of(content: JsonObject) -> BacktestSpec:
    try:
        return BacktestSpec.model_validate(content)
    except ValidationError as error:
        faults = problems_of(error, "spec")
        raise ValueError("; ".join(f"{fault.field}: {fault.message}" for fault in faults)) from error
