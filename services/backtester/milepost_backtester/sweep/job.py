"""One sweep in the computing child: combinations, engine, bridge, and what a checkpoint puts back."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milepost_contracts.model import JsonObject
from milepost_contracts.problems import problems_of
from milepost_contracts.specs.sweep import SweepSpec
from milepost_contracts.specs.sweep_combinations import Combinations, GridError, combinations_of
from milepost_runtime.bridge.host import BridgeHost
from milepost_runtime.checkpoints.data import LoadedCheckpoint
from milepost_runtime.clock import Clock, SystemClock
from milepost_runtime.digests import canonical_json, digest_of_bytes
from milepost_runtime.fingerprints import environment_entries
from milepost_runtime.worker.kind import JobContext, JobResult
from pydantic import BaseModel, ValidationError

from milepost_backtester.bar_cache import CACHE_BYTES_MAX, BarCache
from milepost_backtester.engine.bars import Bars
from milepost_backtester.engine.portfolio_bars import PortfolioBars
from milepost_backtester.engine.portfolio_strategy import EachSymbol, PortfolioStrategy
from milepost_backtester.engine.portfolio_tiers import fastest_portfolio_tier
from milepost_backtester.engine.strategy import Strategy, Tier, fastest_tier
from milepost_backtester.job import fingerprint_of, terms_of
from milepost_backtester.strategies.inputs import FingerprintedStrategy
from milepost_backtester.strategies.registry import (
    StrategyClass,
    StrategyProblemsError,
    check_parameters,
    find_strategy,
)
from milepost_backtester.sweep.bridge import SweepProgressBridge
from milepost_backtester.sweep.engine import SWEEP_VERSION, SweepEngine
from milepost_backtester.sweep.plan import UNITS_MAX, Plan, folds_of, whole
from milepost_backtester.sweep.results import Sweep, write_results
from milepost_backtester.sweep.segments import SweepSegments
from milepost_backtester.sweep.trials import StoppedWithinError, Trials
from milepost_backtester.symbols import load_symbols, names_of, strategy_for


class SweepJob:
    """Implements ``Job`` for sweeps; the unit is a combination."""

    def __init__(self, engine: SweepEngine, sweep: Sweep, *, fingerprint: Mapping[str, str]) -> None:
        self._engine = engine
        self._sweep = sweep
        self._segments = SweepSegments()
        self.fingerprint: Mapping[str, str] = dict(fingerprint)
        """What must be equal for a resumed run to be exact."""
        self.total_units = engine.total_units
        self.unit_name = "combination"

    def restore_from_checkpoint(self, checkpoint: LoadedCheckpoint) -> None:
        """Put the figures of all combinations done back; the run goes on with the next one.

        Raises:
            CheckpointDamagedError: rows of a table are missing.
        """
        self._segments.restore(checkpoint, self._engine)

    def run(self, host: BridgeHost) -> bool:
        """Do combinations until all are done; False when the bridge said stop before that."""
        engine = self._engine
        with (
            SweepProgressBridge(
                host, engine, fingerprint=self.fingerprint, segments=self._segments
            ) as bridge,
            engine,
        ):
            going_on = bridge.start(engine.unit, engine.state_dict())
            while going_on and engine.unit < engine.total_units:
                try:
                    engine.step(bridge.stop_asked)
                except StoppedWithinError:
                    bridge.stop_within()
                    return False
                going_on = bridge.update_state(engine.unit, engine.state_dict(), self._metrics())
            return going_on

    def write_results(self, directory: Path) -> JobResult:
        """Write the result files."""
        return write_results(self._engine, self._sweep, directory)

    def _metrics(self) -> dict[str, float]:
        """Return the newest combination's figure that is ranked by, where it has one."""
        value = self._engine.combinations.figure(
            self._engine.rank_by, self._engine.unit - 1, self._engine.unit
        ).item()
        return {self._engine.rank_by: value} if value == value else {}


def create_sweep_job(
    context: JobContext, *, threads: int, clock: Clock | None = None, cache_bytes_max: int = CACHE_BYTES_MAX
) -> SweepJob:
    """Build the job of a spec; ``threads`` compute combinations of compiled rules.

    ``cache_bytes_max``: what the worker's cached bars may take.

    Raises:
        ValueError: the spec, the strategy, the grid or the bars are unusable; every problem is named.
    """
    spec = _spec_of(context.spec)
    strategy_class = find_strategy(spec.strategy.name)
    combinations = _combinations_of(spec, strategy_class)
    bars = load_symbols(spec, context.inputs, strategy_class, BarCache.of(context, bytes_max=cache_bytes_max))
    if spec.walk_forward is not None and not isinstance(bars, Bars):
        raise ValueError("spec.walk_forward: a walk takes a strategy of one symbol: it must have on_bar")
    checked = [check_parameters(strategy_class, dict(given)) for given in combinations.parameters]
    plan = _plan_of(spec, [parameters.model_dump(mode="json") for parameters in checked], bars)
    make = _Maker(strategy_class, names_of(spec), context.inputs)
    first = make(plan.combinations[0], bars)
    tier = _fastest(first) if spec.tier == "auto" else spec.tier
    trials = Trials(
        bars,
        make,
        initial_cash=spec.initial_cash,
        terms=terms_of(spec),
        tier=tier,
        clock=clock or SystemClock(),
    )
    fingerprint = _fingerprint_of(spec, strategy_class, checked[0], plan, tier)
    for part in first.strategies.values() if isinstance(first, EachSymbol) else (first,):
        if isinstance(part, FingerprintedStrategy):
            # Such as a model, which has threads of its own.
            threads = 1
            fingerprint |= {**part.fingerprint, **environment_entries(part.environment)}
    engine = SweepEngine(
        plan,
        trials,
        initial_cash=spec.initial_cash,
        rank_by=spec.rank_by,
        direction=spec.direction,
        threads=threads if tier == "compiled" else 1,
    )
    return SweepJob(engine, Sweep(spec, plan, combinations.left_out, bars), fingerprint=fingerprint)


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes the strategy of a combination."""

    strategy_class: StrategyClass
    symbols: tuple[str, ...]
    files: Mapping[str, Path]

    def __call__(
        self, parameters: Mapping[str, Any], window: Bars | PortfolioBars
    ) -> Strategy | PortfolioStrategy:
        checked = self.strategy_class.Parameters.model_validate(parameters)
        return strategy_for(window, self.symbols, self.strategy_class, checked, self.files)


def _fastest(strategy: Strategy | PortfolioStrategy) -> Tier:
    return fastest_tier(strategy) if isinstance(strategy, Strategy) else fastest_portfolio_tier(strategy)


def _combinations_of(spec: SweepSpec, strategy_class: StrategyClass) -> Combinations:
    def problems(parameters: JsonObject) -> Any:
        try:
            check_parameters(strategy_class, parameters)
        except StrategyProblemsError as error:
            return tuple(
                problem.model_copy(
                    update={"field": problem.field.removeprefix("strategy.parameters").lstrip(".")}
                )
                for problem in error.problems
            )
        return ()

    try:
        return combinations_of(spec, problems)
    except GridError as error:
        raise ValueError(
            "; ".join(f"spec.{found.field}: {found.message}" for found in error.problems)
        ) from error


def _plan_of(spec: SweepSpec, combinations: list[JsonObject], bars: Bars | PortfolioBars) -> Plan:
    walk = spec.walk_forward
    folds = whole(len(bars)) if walk is None else folds_of(walk, len(bars))
    plan = Plan(combinations, folds, walk is not None)
    if plan.total_units > UNITS_MAX:
        raise ValueError(
            f"spec.walk_forward: {len(folds):,} folds of {len(combinations):,} combinations are more than"
            f" {UNITS_MAX:,}: make the step or the grid coarser"
        )
    return plan


def _fingerprint_of(
    spec: SweepSpec,
    strategy_class: StrategyClass,
    first: BaseModel,
    plan: Plan,
    tier: Tier,
) -> dict[str, str]:
    """Return what must be equal for a resumed run to be exact."""
    return {
        **fingerprint_of(spec, strategy_class, first, tier=tier),
        "sweep": SWEEP_VERSION,
        "parameters": digest_of_bytes(canonical_json([dict(given) for given in plan.combinations])),
        "rank_by": f"{spec.direction} {spec.rank_by}",
        "walk_forward": repr(None if spec.walk_forward is None else plan.folds),
    }


def _spec_of(content: JsonObject) -> SweepSpec:
    try:
        return SweepSpec.model_validate(content)
    except ValidationError as error:
        faults = problems_of(error, "spec", content)
        raise ValueError("; ".join(f"{fault.field}: {fault.message}" for fault in faults)) from error
