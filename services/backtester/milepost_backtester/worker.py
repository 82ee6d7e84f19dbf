"""The kind ``backtest``, as workers find it by entry point; cheap to import, the arrays come with the job."""

import os
from importlib import import_module

from milepost_contracts.checkpoints import CheckpointPolicySpec
from milepost_contracts.kinds import KindDescription
from milepost_contracts.specs.backtest import CHANGEABLE, BacktestSpec, SmaCrossParameters
from milepost_runtime.worker.kind import Job, JobContext

from milepost_backtester.strategies.registry import parameter_schemas


class BacktestKind:
    """Implements ``WorkerKind``; the unit is a bar."""

    name = "backtest"
    default_checkpoint_policy = CheckpointPolicySpec(every_seconds=5.0, min_seconds=1.0)
    """By time: at a million bars a second a policy by bars would do nothing but save."""
    preload = (
        "milepost_backtester.job",
        "milepost_backtester.results",
        "milepost_backtester.strategies.preparation",
        "milepost_backtester.statistics.preparation",
    )

    def describe(self) -> KindDescription:
        """Return the schema of specs and of every installed strategy's parameters."""
        return KindDescription(
            kind=self.name,
            unit_name="bar",
            spec_schema=BacktestSpec.model_json_schema(),
            parts={"strategy": parameter_schemas()},
            dataset_fields=("data",),
            changeable=CHANGEABLE,
            example={
                "data": {"name": "aapl"},
                "strategy": {
                    "name": "sma-cross",
                    "parameters": SmaCrossParameters().model_dump(mode="json"),
                },
                "initial_cash": 100_000.0,
                "commission_rate": 0.001,
            },
        )

    def warm_up(self) -> None:
        """Import arrays, files and strategies and have the rules compiled ahead of the first operation."""
        import_module("milepost_backtester.job")
        import_module("milepost_backtester.results")
        import_module("milepost_backtester.strategies.preparation").prepare_rules()
        import_module("milepost_backtester.statistics.preparation").prepare_sums()
        parameter_schemas()

    def create_job(self, context: JobContext) -> Job:
        """Build the job; a ValueError names everything that is unusable."""
        # The host must not load them.
        from milepost_backtester.bar_cache import cache_bytes_of  # noqa: PLC0415
        from milepost_backtester.job import create_backtest_job  # noqa: PLC0415

        return create_backtest_job(context, cache_bytes_max=cache_bytes_of(os.environ))
