"""Trainings whose task gets into trouble: the reason reaches the user, and the worker takes the next work."""

from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from milepost_contracts.checkpoints import CheckpointReason
from milepost_contracts.events import AttemptLost, Completed, Failed, Started, StateSnapshot
from milepost_contracts.failures import Failure, FailureCode
from milepost_contracts.model import JsonObject
from milepost_infra.endpoints import StackEndpoints
from milepost_test_kinds.troubled import LINES_PRINTED

from tests.support.harness import Harness, open_harness, snapshots
from tests.support.stack import fresh_tenant

pytestmark = pytest.mark.integration

EVERY_EPOCH = {"every_units": 1, "min_seconds": 0.0}
EPOCHS = 8
WHOLE_EPOCHS = 4
"""Done when the trouble comes, which is in the middle of the fifth."""


@pytest.fixture(scope="module")
async def harness(stack: StackEndpoints, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Harness]:
    """One worker for all of this module: each test finds it after the troubles of the tests before."""
    directory = tmp_path_factory.mktemp("troubles")
    async with fresh_tenant(stack) as tenant, open_harness(tenant, directory) as opened:
        await opened.services.orchestrator()
        await opened.services.worker("w-1", "training")
        await opened.announced("training")
        yield opened


def spec(does: str = "none", **parameters: object) -> JsonObject:
    task = {"name": "troubled", "parameters": {"does": does, **parameters}}
    return {"task": task, "epochs": EPOCHS, "batch_size": 16, "device": "cpu"}


async def completed(harness: Harness, content: JsonObject, **options: object) -> tuple[str, dict[str, str]]:
    """Id and digests of a training that gets to its end."""
    operation_id = await harness.start("training", content, **options)
    event = await harness.end(operation_id)
    assert isinstance(event, Completed), event
    # The spec is part of the card, and the specs differ in the trouble.
    return operation_id, {each.name: each.digest for each in event.artifacts if each.name != "model.json"}


@pytest.fixture(scope="module")
async def undisturbed(harness: Harness) -> dict[str, str]:
    """Digests of a training without trouble."""
    return (await completed(harness, spec()))[1]


async def failed(harness: Harness, content: JsonObject, **options: object) -> tuple[str, Failed]:
    operation_id = await harness.start("training", content, **options)
    event = await harness.end(operation_id)
    assert isinstance(event, Failed), event
    return operation_id, event


@pytest.mark.parametrize(
    ("does", "code", "error_type", "words"),
    [
        ("raise", FailureCode.ERROR, "UnspeakableError", "UnspeakableError"),
        ("memory", FailureCode.OUT_OF_MEMORY, "MemoryError", "MemoryError"),
        ("torch-memory", FailureCode.OUT_OF_MEMORY, "RuntimeError", "can't allocate memory"),
        ("exit", FailureCode.ERROR, "SystemExit", "the job called sys.exit('enough for today')"),
    ],
)
async def test_what_a_task_raises_is_told_with_its_traceback(
    harness: Harness, does: str, code: FailureCode, error_type: str, words: str
) -> None:
    """Code, class, words and last lines; the last whole epoch is saved."""
    operation_id, event = await failed(harness, spec(does))
    failure = event.failure
    assert (failure.code, failure.error_type) == (code, error_type)
    assert words in failure.message
    assert "troubled.py" in (failure.traceback_tail or "")
    assert ("memory" in (failure.fix or "")) == (code is FailureCode.OUT_OF_MEMORY)
    saved = snapshots(await harness.events(operation_id, StateSnapshot))
    assert (saved[-1].unit, saved[-1].reason) == (WHOLE_EPOCHS, CheckpointReason.FAILURE)
    assert (event.unit, event.checkpoint_id) == (WHOLE_EPOCHS, saved[-1].checkpoint_id)
    assert await harness.events(operation_id, AttemptLost) == []


@pytest.mark.parametrize(
    ("does", "words", "fix", "last_words"),
    [
        ("crash", "ended by SIGSEGV", "native library", "Fatal Python error: Segmentation fault"),
        ("killed", "ended by SIGKILL, not by this worker", "out of memory", None),
    ],
)
async def test_a_process_that_dies_is_replaced_and_then_given_up_with_its_last_words(
    harness: Harness, does: str, words: str, fix: str, last_words: str | None
) -> None:
    """Each lost attempt says how it ended; after the last one the operation fails with that."""
    operation_id, event = await failed(harness, spec(does), max_attempts=2)
    failures = [lost.failure for lost in await harness.events(operation_id, AttemptLost)]
    assert [failure.code for failure in failures] == [FailureCode.CHILD_DIED] * 2
    assert event.failure.code is FailureCode.ATTEMPTS_EXHAUSTED
    for failure in (*failures, event.failure):
        assert_says(failure, words, fix, last_words)
    assert event.failure.message.startswith("2 attempts were lost")


def assert_says(failure: Failure, words: str, fix: str, last_words: str | None) -> None:
    tail = failure.traceback_tail or ""
    assert words in failure.message
    assert fix in (failure.fix or "")
    if last_words is not None:
        assert tail.startswith(last_words)
        assert "troubled.py" in tail


async def test_a_process_that_dies_once_costs_only_time(
    harness: Harness, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    """The second attempt goes on from a checkpoint and ends as an undisturbed training."""
    # A pace lets the first epochs' checkpoints get into the log before the crash.
    once = str(tmp_path / "crashed")
    operation_id, found = await completed(
        harness, spec("crash", once=once), checkpoint=EVERY_EPOCH, pace_units_per_second=2.0
    )
    assert found == undisturbed
    units = [started.unit for started in await harness.events(operation_id, Started)]
    assert units[0] == 0
    assert 0 < units[1] <= WHOLE_EPOCHS


async def test_a_task_that_prints_much_fills_no_log(harness: Harness, undisturbed: dict[str, str]) -> None:
    """It trains to the same end; the worker's log holds some lines and how many were left out."""
    _, found = await completed(harness, spec("print"))
    # When the next one has run, the worker is done with the one before, and with its words.
    await completed(harness, spec())
    assert found == undisturbed
    lines = harness.services.running[-1].log_lines()
    passed_on = [line for line in lines if line["event"] == "child output" and "line " in line["line"]]
    left_out = sum(line["lines"] for line in lines if line["event"] == "child output left out")
    assert 0 < len(passed_on) < LINES_PRINTED / 10
    assert left_out > LINES_PRINTED / 2


async def test_threads_and_processes_left_behind_hold_nothing_up(
    harness: Harness, undisturbed: dict[str, str]
) -> None:
    """The operations complete, the worker goes on, and what the task started is gone with it."""
    before = left_behind()
    for does in ("threads", "processes", "none"):
        _, found = await completed(harness, spec(does))
        assert found == undisturbed
    assert left_behind() <= before


def left_behind() -> set[int]:
    """Processes that the task started."""
    found = psutil.process_iter(["cmdline"])
    return {each.pid for each in found if any("left behind" in part for part in each.info["cmdline"] or [])}
