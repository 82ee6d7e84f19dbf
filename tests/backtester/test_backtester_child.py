"""A backtest in real child processes: cancelled in one, resumed in the next, equal to one that never stopped."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from milepost_backtester.market_data import SCHEMA
from milepost_backtester.parquet import write_table
from milepost_backtester.results import RESULT_FILES
from milepost_contracts.checkpoints import CheckpointPolicySpec, CheckpointReason
from milepost_contracts.failures import FailureCode
from milepost_runtime.checkpoints.spool import Spool
from milepost_runtime.digests import digest_of_file
from milepost_runtime.worker.child_process import ChildPool
from milepost_runtime.worker.messages import (
    Begun,
    Finished,
    Raised,
    RestoredCheckpoint,
    Run,
    Staged,
    Stop,
    Stopped,
)

from tests.support.bars import make_bars

pytestmark = pytest.mark.unit

BARS = 10_000
HALF = 5_000
RESULTS = tuple(RESULT_FILES)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "bars.parquet"
    bars = make_bars(BARS)
    write_table({name: getattr(bars, name) for name in SCHEMA.names}, SCHEMA, path)
    return path


def run_message(directory: Path, data: Path, *, strategy: Any = None, **fields: Any) -> Run:
    for name in ("spool", "results", "scratch"):
        (directory / name).mkdir(parents=True)
    digest = digest_of_file(data)
    values: dict[str, Any] = {
        "operation_id": "op-1",
        "spec": {
            "data": {"name": "walk", "digest": digest},
            "strategy": strategy or {"name": "sma-cross", "parameters": {"fast": 4, "slow": 9}},
        },
        "inputs": {digest: str(data)},
        "scratch_directory": str(directory / "scratch"),
        "spool_directory": str(directory / "spool"),
        "results_directory": str(directory / "results"),
        "checkpoint": None,
        "policy": CheckpointPolicySpec(),
        "pace_units_per_second": None,
        "stop": None,
        "progress_seconds": 0.01,
    }
    return Run.model_validate({**values, **fields})


async def words_of(run: Run) -> list[Any]:
    """Everything that a fresh child says about one run."""
    child = await ChildPool("backtest", start_grace_seconds=60).take()
    await child.send(run)
    words: list[Any] = []
    async with asyncio.timeout(60):
        async for message in child.messages():
            words.append(message)
            if isinstance(message, Finished | Stopped | Raised):
                break
    await child.kill()
    return words


def digests(directory: Path) -> dict[str, str]:
    return {name: digest_of_file(directory / "results" / name) for name in RESULTS}


async def test_cancelled_at_half_and_resumed_in_another_process(tmp_path: Path, data: Path) -> None:
    """10 000 bars cancelled at 5 000 and resumed in a new process leave the digests of the undisturbed run."""
    whole, first, second = (tmp_path / name for name in ("whole", "first", "second"))
    assert isinstance((await words_of(run_message(whole, data)))[-1], Finished)

    stop = Stop(reason=CheckpointReason.CANCELLATION, at_unit=HALF)
    words = await words_of(run_message(first, data, stop=stop))
    assert isinstance(words[-1], Stopped)
    (staged,) = [word for word in words if isinstance(word, Staged)]
    checkpoint = Spool(first / "spool").load(Path(staged.directory))
    restored = RestoredCheckpoint(
        unit=checkpoint.unit,
        directory=str(checkpoint.directory),
        artifacts=checkpoint.files,
        fingerprint=dict(checkpoint.fingerprint),
    )

    words = await words_of(run_message(second, data, checkpoint=restored))
    assert isinstance(words[0], Begun)
    assert (words[0].unit, words[0].total_units) == (HALF, BARS)
    assert isinstance(words[-1], Finished)
    assert digests(second) == digests(whole)


async def test_unknown_strategy_is_an_invalid_input(tmp_path: Path, data: Path) -> None:
    """A strategy that is not installed ends the operation as the user's to mend, with those that are."""
    words = await words_of(run_message(tmp_path / "run", data, strategy={"name": "astrology"}))
    raised = words[-1]
    assert isinstance(raised, Raised)
    assert raised.failure.code is FailureCode.INVALID_INPUT
    assert "sma-cross" in raised.failure.message


async def test_other_parameters_are_a_fingerprint_mismatch(tmp_path: Path, data: Path) -> None:
    """A checkpoint of other parameters is not gone on from."""
    stop = Stop(reason=CheckpointReason.CANCELLATION, at_unit=10)
    words = await words_of(run_message(tmp_path / "first", data, stop=stop))
    (staged,) = [word for word in words if isinstance(word, Staged)]
    checkpoint = Spool(tmp_path / "first" / "spool").load(Path(staged.directory))
    restored = RestoredCheckpoint(
        unit=checkpoint.unit,
        directory=str(checkpoint.directory),
        artifacts=checkpoint.files,
        fingerprint=dict(checkpoint.fingerprint),
    )
    other = {"name": "sma-cross", "parameters": {"fast": 5, "slow": 9}}
    raised = (await words_of(run_message(tmp_path / "second", data, strategy=other, checkpoint=restored)))[-1]
    assert isinstance(raised, Raised)
    assert raised.failure.code is FailureCode.FINGERPRINT_MISMATCH
    assert "parameters" in raised.failure.message
