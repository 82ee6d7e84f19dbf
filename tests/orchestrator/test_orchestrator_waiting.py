"""Every operation that has not ended moves, or says why it does not."""

from datetime import timedelta
from pathlib import Path

import pytest
from milepost_contracts.capabilities import Capabilities, Needs
from milepost_contracts.commands import LimitKind, RunOptions, StartOperation
from milepost_contracts.dispatch import Drain
from milepost_contracts.events import Claimed, Completed
from milepost_contracts.fleet import WorkerHeartbeat
from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.application.sightings import Sightings
from milepost_orchestrator.application.waiting import Quiet, waiting_document
from milepost_orchestrator.stall_settings import stall_settings
from milepost_runtime.errors import SettingsError
from milepost_runtime.testing.fleet import MemoryFleet
from milepost_test_kinds.counter import expected_value

from tests.orchestrator.stories import EPOCH
from tests.support.harness import accepted, open_harness

GPU_AND_LABEL = {"needs": {"gpus": 1, "memory_bytes": 0, "labels": ["eu"]}}


def beat(worker_id: str = "w-1", operations: tuple[str, ...] = (), **has: object) -> WorkerHeartbeat:
    return WorkerHeartbeat(
        worker_id=worker_id,
        kind="counter",
        host="h",
        pid=1,
        slots=1,
        device="cpu",
        version="1",
        operations=operations,
        started_at=EPOCH,
        seen_at=EPOCH,
        capabilities=Capabilities.model_validate(has),
    )


def waiting(
    status: str,
    *workers: WorkerHeartbeat,
    options: dict | None = None,
    worker_id: str | None = None,
    seen_seconds: float | None = None,
    moved_seconds: float | None = None,
) -> tuple[str, str] | None:
    operation = {"status": status, "kind": "counter", "worker_id": worker_id, "options": options or {}}
    quiet = Quiet(
        now=EPOCH,
        owner_seen_at=None if seen_seconds is None else EPOCH - timedelta(seconds=seen_seconds),
        moved_at=None if moved_seconds is None else EPOCH - timedelta(seconds=moved_seconds),
        stall_seconds=60.0,
    )
    found = waiting_document(operation, workers, quiet)
    return None if found is None else (found["code"], found["message"])


@pytest.mark.unit
def test_what_is_needed_is_named_when_no_worker_has_it() -> None:
    """None with a GPU and the label; then one that has both and is free, then one that is busy."""
    assert waiting("queued", beat(gpus=1), beat("w-2", labels=("eu",)), options=GPU_AND_LABEL) == (
        "no-capable-worker",
        "waiting for a worker with a GPU and the label eu: 2 of kind counter are alive, none with a GPU and the"
        " label eu",
    )
    able = beat(gpus=2, labels=("eu", "big"))
    assert waiting("queued", able, options=GPU_AND_LABEL)[0] == "unclaimed"
    busy = able.model_copy(update={"operations": ("op-1",)})
    assert waiting("queued", busy, beat("w-2"), options=GPU_AND_LABEL) == (
        "workers-busy",
        "all 1 slots of kind counter with a GPU and the label eu are taken",
    )
    assert waiting("queued", beat(), options={"needs": {"memory_bytes": 32_000_000_000}}) == (
        "no-capable-worker",
        "waiting for a worker with 32 GB of memory: 1 of kind counter is alive, none with 32 GB of memory",
    )
    assert waiting("queued", options=GPU_AND_LABEL)[0] == "no-worker"
    drain = Drain(requested_by="/cli", since=EPOCH)
    assert waiting("queued", beat().model_copy(update={"drain": drain})) == (
        "workers-drained",
        "every worker of kind counter is drained: w-1",
    )


@pytest.mark.unit
def test_a_lost_worker_is_told_with_since_when() -> None:
    """Another one that may have it goes on; without one it is said what is missing."""
    assert waiting("running", beat("w-2"), worker_id="w-1", seen_seconds=20) == (
        "worker-silent",
        "worker w-1 was lost 20 s ago; another one goes on when its lease has ended",
    )
    code, words = waiting("running", beat("w-2"), worker_id="w-1", seen_seconds=7300, options=GPU_AND_LABEL)
    assert code == "worker-silent"
    assert words.startswith("worker w-1 was lost 2 h ago, and waiting for a worker with a GPU")
    assert waiting("cancelling", beat("w-2"), worker_id="w-1")[1].startswith("worker w-1 is not heard of")
    assert waiting("cancelling", beat())[0] == "unowned"


@pytest.mark.unit
def test_a_worker_that_is_alive_and_does_not_progress_is_stalled() -> None:
    """Only after the time that the kind has; the words say since when."""
    assert waiting("running", beat(), worker_id="w-1", moved_seconds=59) is None
    code, words = waiting("running", beat(), worker_id="w-1", moved_seconds=180)
    assert code == "stalled"
    assert "the last progress was 3 min ago" in words


@pytest.mark.unit
async def test_sightings_outlive_the_fleet() -> None:
    """A worker that has left is remembered; one of more than a day before the newest is not."""
    sightings = Sightings(MemoryFleet())
    sightings.note([beat("w-1"), beat("w-2")])
    later = beat("w-2").model_copy(update={"seen_at": EPOCH + timedelta(hours=25)})
    assert sightings.last_seen("w-1") == EPOCH
    sightings.note([later])
    assert (sightings.last_seen("w-1"), sightings.last_seen("w-2")) == (None, later.seen_at)


@pytest.mark.unit
def test_the_patience_of_kinds_is_read_and_refused_when_it_makes_no_sense() -> None:
    """By kind, with a word for all others."""
    assert stall_settings({"MILEPOST_STALL_SECONDS": "backtest=60, *=600"}) == {"backtest": 60.0, "*": 600.0}
    assert stall_settings({}) == {}
    for wrong in ("backtest", "backtest=soon", "=5", "backtest=0"):
        with pytest.raises(SettingsError, match="not such as"):
            stall_settings({"MILEPOST_STALL_SECONDS": wrong})


@pytest.mark.integration
async def test_only_a_worker_that_has_what_is_needed_claims(tenant: StackEndpoints, tmp_path: Path) -> None:
    """A worker without the label does what is behind, one at a time as it may; one that has it takes them all."""
    async with open_harness(tenant, tmp_path) as harness:
        await harness.services.orchestrator()
        await harness.services.worker("w-plain")
        await harness.announced("counter")
        await harness.client.request(LimitKind(kind="counter", limit=1))
        options = RunOptions(needs=Needs(labels=("big",)))
        start = StartOperation(kind="counter", spec={"units": 20}, options=options)
        specials = [accepted(await harness.client.request(start)) for _ in range(3)]
        for _ in range(2):
            await harness.end(await harness.start("counter", {"units": 20}))
        assert [await harness.events(special, Claimed) for special in specials] == [[], [], []]
        await harness.services.worker("w-big", MILEPOST_WORKER_LABELS="big,eu")
        for special in specials:
            ended = await harness.end(special)
            assert isinstance(ended, Completed), ended
            assert (ended.attempt, ended.summary["value"]) == (1, expected_value(20))
            assert [each.worker_id for each in await harness.events(special, Claimed)] == ["w-big"]
