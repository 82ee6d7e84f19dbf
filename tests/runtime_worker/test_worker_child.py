"""The child process on its own, with the test as its host."""

import asyncio
from pathlib import Path

import psutil
import pytest
from milepost_contracts.checkpoints import CheckpointPolicySpec, CheckpointReason
from milepost_contracts.failures import FailureCode
from milepost_runtime.checkpoints.spool import Spool
from milepost_runtime.worker.child_process import ChildPool, ChildProcess, ChildStartError
from milepost_runtime.worker.forks import Forks
from milepost_runtime.worker.messages import Advanced, Begun, Finished, Raised, Run, Staged, Stop, Stopped
from milepost_test_kinds.counter import expected_value

pytestmark = pytest.mark.unit

PLUGINS = str(Path(__file__).parent.parent / "plugins")


@pytest.fixture(autouse=True)
def _plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", PLUGINS)


def run_message(directory: Path, spec: dict[str, object], **fields: object) -> Run:
    for name in ("spool", "results", "scratch"):
        (directory / name).mkdir()
    values: dict[str, object] = {
        "operation_id": "op-1",
        "spec": spec,
        "inputs": {},
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


async def words_of(run: Run) -> tuple[list[object], ChildProcess]:
    """Everything that a child says about one run, and the child, ended."""
    child = await ChildPool("counter", start_grace_seconds=60).take()
    await child.send(run)
    words: list[object] = []
    async for message in child.messages():
        words.append(message)
        if isinstance(message, Finished | Stopped | Raised):
            break
    await child.kill()
    return words, child


async def test_child_computes_to_the_end(tmp_path: Path) -> None:
    """It begins at unit 0, finishes all units and leaves its result file."""
    words, _ = await words_of(run_message(tmp_path, {"units": 500}))
    assert isinstance(words[0], Begun)
    assert (words[0].unit, words[0].total_units, words[0].unit_name) == (0, 500, "step")
    finished = words[-1]
    assert isinstance(finished, Finished)
    assert finished.summary["value"] == expected_value(500)
    assert [word.unit for word in words if isinstance(word, Advanced)][-1] == 500
    assert (tmp_path / "results" / "value.json").exists()


async def test_checkpoint_is_staged_before_the_last_word(tmp_path: Path) -> None:
    """A stop at unit 40 is announced after its checkpoint lies complete in the spool."""
    stop = Stop(reason=CheckpointReason.CANCELLATION, at_unit=40, words="enough")
    words, _ = await words_of(run_message(tmp_path, {"units": 500}, stop=stop))
    stopped = words[-1]
    assert isinstance(stopped, Stopped)
    assert (stopped.unit, stopped.reason, stopped.words) == (40, CheckpointReason.CANCELLATION, "enough")
    (staged,) = [word for word in words if isinstance(word, Staged)]
    assert Spool(tmp_path / "spool").load(Path(staged.directory)).unit == 40


async def test_exception_is_told_with_its_traceback(tmp_path: Path) -> None:
    """The job's error reaches the host as data; a failure checkpoint comes first."""
    words, _ = await words_of(run_message(tmp_path, {"units": 500, "at": 33}))
    raised = words[-1]
    assert isinstance(raised, Raised)
    assert raised.failure.code is FailureCode.ERROR
    assert raised.failure.error_type == "RuntimeError"
    assert "stumbled at unit 33" in raised.failure.message
    assert isinstance(words[-2], Staged)


async def test_a_disk_that_refuses_the_last_checkpoint_is_told_as_such(tmp_path: Path) -> None:
    """A stop whose checkpoint cannot be written ends with the disk's error, not with a dead child."""
    stop = Stop(reason=CheckpointReason.CANCELLATION, at_unit=40, words="enough")
    run = run_message(tmp_path, {"units": 500}, stop=stop)
    (tmp_path / "spool" / "op-1").write_text("where the checkpoints would go")
    words, _ = await words_of(run)
    raised = words[-1]
    assert isinstance(raised, Raised)
    assert raised.failure.error_type == "FileExistsError"


async def test_unusable_spec_is_an_invalid_input(tmp_path: Path) -> None:
    """What create_job refuses is the user's to mend, and says so."""
    words, _ = await words_of(run_message(tmp_path, {"units": "many"}))
    raised = words[-1]
    assert isinstance(raised, Raised)
    assert raised.failure.code is FailureCode.INVALID_INPUT
    assert "units" in raised.failure.message


async def test_native_crash_is_described(tmp_path: Path) -> None:
    """A child that aborts leaves its signal and the last lines of its output."""
    words, child = await words_of(run_message(tmp_path, {"units": 50, "at": 7, "does": "abort"}))
    assert not any(isinstance(word, Finished | Stopped | Raised) for word in words)
    failure = await child.death()
    assert "SIGABRT" in failure.message
    assert "_stumble" in (failure.traceback_tail or ""), "faulthandler's stack is kept"


async def test_child_goes_when_the_host_closes_the_socket() -> None:
    """A child whose host is gone ends by itself."""
    child = await ChildPool("counter", start_grace_seconds=60).take()
    process = psutil.Process(child.pid)
    async with asyncio.timeout(20):
        await child.close()
    assert not process.is_running()


async def test_unknown_kind_cannot_start() -> None:
    """The pool says why, with the child's last words."""
    with pytest.raises(ChildStartError, match="no-such-kind"):
        await ChildPool("no-such-kind", start_grace_seconds=60).take()


async def test_a_pool_closes_in_the_middle_of_the_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is told to stop does not wait for a child that nobody needs any more."""
    spawned: list[ChildProcess] = []
    happened = asyncio.Event()
    spawn = ChildProcess.spawn

    async def spawn_and_tell(kind: str, forks: Forks) -> ChildProcess:
        spawned.append(await spawn(kind, forks))
        happened.set()
        return spawned[-1]

    monkeypatch.setattr(ChildProcess, "spawn", spawn_and_tell)
    monkeypatch.setenv("MILEPOST_TEST_WARM_UP", "endless")
    pool = ChildPool("counter", start_grace_seconds=600)
    pool.warm()
    await happened.wait()
    async with asyncio.timeout(20):
        await pool.close()
    assert not spawned[0].alive
