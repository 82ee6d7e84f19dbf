"""What the tests of the job share: a dataset, jobs over it, and where their checkpoints go."""

from pathlib import Path
from typing import Any

from milepost_backtester.market_data import SCHEMA
from milepost_backtester.parquet import write_table
from milepost_backtester.report.writing import REPORT_FILES
from milepost_backtester.results import RESULT_FILES
from milepost_backtester.worker import BacktestKind
from milepost_contracts.checkpoints import CheckpointPolicySpec, CheckpointReason
from milepost_runtime.bridge.cancellation import CancellationToken, StopRequest
from milepost_runtime.digests import digest_of_file
from milepost_runtime.worker.kind import JobContext

from tests.support.bars import make_bars
from tests.support.bridge import SpoolSink, host_of

BARS = 15_000
FAST_PARAMETERS = {"fast": 3, "slow": 8, "allow_short": True}
EVERY_TEN_THOUSAND = CheckpointPolicySpec(every_units=10_000, min_seconds=0)
RESULTS = tuple(RESULT_FILES)
DATA_FILES = tuple(name for name in RESULTS if name not in REPORT_FILES)


class Workplace:
    """Makes jobs over one dataset."""

    def __init__(self, directory: Path, bars: int = BARS, seed: int = 1) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.data = directory / "bars.parquet"
        columns = make_bars(bars, seed)
        write_table({name: getattr(columns, name) for name in SCHEMA.names}, SCHEMA, self.data)
        self.digest = digest_of_file(self.data)
        self.bars = bars
        self._sinks = 0
        self._shared: list[SpoolSink] = []

    def job(self, strategy: str = "sma-cross", parameters: dict[str, Any] | None = None, **spec: Any) -> Any:
        content = {
            "data": {"name": "test", "digest": self.digest},
            "strategy": {"name": strategy, "parameters": parameters or FAST_PARAMETERS},
            **spec,
        }
        return BacktestKind().create_job(JobContext("op-1", content, self.inputs(), self.directory))

    def inputs(self) -> dict[str, Path]:
        return {self.digest: self.data}

    def sink(self, **options: bool) -> SpoolSink:
        self._sinks += 1
        sink = SpoolSink(self.directory / f"sink-{self._sinks}", **options)
        for earlier in self._shared:
            sink.take_artifacts(earlier)
        return sink

    def share(self, sink: SpoolSink) -> None:
        """Later sinks have the artifacts of this one, as workers have one store."""
        self._shared.append(sink)

    def digests(self, job: Any) -> dict[str, str]:
        self._sinks += 1
        directory = self.directory / f"results-{self._sinks}"
        directory.mkdir()
        result = job.write_results(directory)
        assert set(result.files) == set(RESULTS)
        return {name: digest_of_file(directory / name) for name in RESULTS}

    def undisturbed(self) -> dict[str, str]:
        job = self.job()
        assert job.run(host_of(self.sink(), self.bars)) is True
        return self.digests(job)


def cancel_after(unit: int) -> CancellationToken:
    """A token that is set exactly for ``unit``."""
    token = CancellationToken()
    token.request(StopRequest(CheckpointReason.CANCELLATION, at_unit=unit))
    return token
