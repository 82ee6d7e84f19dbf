"""The kind ``sweep``, as workers find it by entry point; cheap to import, the arrays come with the job."""

import os
from collections.abc import Mapping
from importlib import import_module

from milepost_contracts.checkpoints import CheckpointPolicySpec
from milepost_contracts.kinds import KindDescription
from milepost_contracts.specs.sweep import SweepSpec
from milepost_runtime.worker.kind import Job, JobContext

from milepost_backtester.strategies.registry import parameter_schemas
from milepost_backtester.worker import BacktestKind

THREADS_VARIABLE = "MILEPOST_SWEEP_THREADS"


class SweepKind:
    """Implements ``WorkerKind``; the unit is a combination."""

    name = "sweep"
    default_checkpoint_policy = CheckpointPolicySpec(every_seconds=5.0, min_seconds=1.0)
    """By time: a combination may take a millisecond or an hour."""
    preload = (*BacktestKind.preload, "milepost_backtester.sweep.job")

    def describe(self) -> KindDescription:
        """Return the schema of specs and of every installed strategy's parameters."""
        return KindDescription(
            kind=self.name,
            unit_name="combination",
            spec_schema=SweepSpec.model_json_schema(),
            parts={"strategy": parameter_schemas()},
            dataset_fields=("data",),
            example={
                "data": {"name": "aapl"},
                "strategy": {"name": "sma-cross", "parameters": {"quantity": 100.0}},
                "initial_cash": 100_000.0,
                "commission_rate": 0.001,
                "grid": {
                    "fast": {"from": 5, "to": 50, "step": 5},
                    "slow": {"from": 20, "to": 200, "step": 20},
                },
                "constraints": ["fast < slow"],
                "rank_by": "sharpe",
                "walk_forward": None,
            },
        )

    def warm_up(self) -> None:
        """Do what a backtest's child does, and import the sweep."""
        BacktestKind().warm_up()
        import_module("milepost_backtester.sweep.job")

    def create_job(self, context: JobContext) -> Job:
        """Build the job; a ValueError names everything that is unusable."""
        # The host must not load them.
        from milepost_backtester.bar_cache import cache_bytes_of  # noqa: PLC0415
        from milepost_backtester.sweep.job import create_sweep_job  # noqa: PLC0415

        return create_sweep_job(
            context, threads=threads_of(os.environ), cache_bytes_max=cache_bytes_of(os.environ)
        )


def threads_of(environment: Mapping[str, str]) -> int:
    """Return how many combinations of compiled rules are computed at once: one for each processor by default.

    Raises:
        ValueError: the setting is no number from 1.
    """
    text = environment.get(THREADS_VARIABLE, "")
    if not text:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{THREADS_VARIABLE} must be a whole number from 1, not {text!r}")
    return int(text)
