"""The sweep of orphans, on the real servers: what is needed stays whatever it is needed for, and nothing else."""

import asyncio
from pathlib import Path

import pytest
from milepost_contracts.artifacts import ArtifactReference, manifest_key
from milepost_contracts.commands import DeleteCheckpoint, ResumeOperation
from milepost_contracts.events import CheckpointDeleted, CheckpointRecorded
from milepost_contracts.verdicts import Accepted
from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.adapters.references import PostgresReferences
from milepost_orchestrator.application.errors import StoreSharedError
from milepost_orchestrator.application.orphans import OrphanReport, OrphanSweep
from milepost_runtime.store.s3 import S3ArtifactStore

from tests.orchestrator.running import Running, run_orchestrator
from tests.orchestrator.stories import cancelled, claimed, completed, snapshot, started

pytestmark = pytest.mark.integration


def sweeping(
    running: Running, store: S3ArtifactStore | None = None, tenant: str | None = None
) -> OrphanSweep:
    """A sweep without grace: every object is old enough."""
    orchestrator = running.orchestrator
    return OrphanSweep(
        store or running.store,
        running.event_log,
        PostgresReferences(orchestrator.engine),
        tenant=tenant or orchestrator.settings.bus.prefix,
        grace_seconds=-60.0,
    )


async def put(running: Running, content: bytes, name: str) -> ArtifactReference:
    path = running.directory / name
    path.write_bytes(content)
    return await asyncio.to_thread(
        lambda: running.store.put_file(path, name=name, media_type="application/json")
    )


async def digests(running: Running) -> set[str]:
    listed = await asyncio.to_thread(lambda: [*running.store.list_objects("artifacts/")])
    return {f"sha256:{each.key.rpartition('/')[2]}" for each in listed}


async def swept(running: Running, *, dry_run: bool = False) -> OrphanReport:
    return await sweeping(running).sweep(dry_run=dry_run)


async def test_only_what_nothing_refers_to_goes(running: Running) -> None:
    """Kept checkpoints, results, inputs and datasets stay; a deleted one's own bytes go, shared ones stay."""
    shared, only, kept = [await put(running, f"{n}".encode(), f"{n}.json") for n in range(3)]
    result, stray = await put(running, b"r", "value.json"), await put(running, b"stray", "stray.json")
    dataset = await running.add_dataset()
    await running.keep_state()
    state = snapshot().artifacts[0]
    operation_id = await running.start()
    await running.happen(
        operation_id,
        claimed(),
        started(),
        snapshot("cp-1", 10, artifacts=(state, shared, only)),
        snapshot("cp-2", 20, artifacts=(state, shared, kept)),
        completed(artifacts=(result,)),
    )
    first = await running.until(operation_id, CheckpointRecorded)
    await running.until(operation_id, CheckpointRecorded, after_sequence=first.sequence)
    verdict = await running.client.request(DeleteCheckpoint(operation_id=operation_id, checkpoint_id="cp-1"))
    assert isinstance(verdict, Accepted)
    await running.projected()

    would = await swept(running, dry_run=True)
    assert would.removed.count == 0
    assert {each.key for each in would.named} == {only.key, stray.key}
    done = await swept(running)
    assert (done.orphans, done.named) == (would.orphans, would.named)
    assert done.removed == would.orphans
    stay = {each.digest for each in (state, shared, kept, result, dataset.artifact)}
    assert await digests(running) == stay
    manifests = await asyncio.to_thread(lambda: [*running.store.list_objects("checkpoints/")])
    assert [each.key for each in manifests] == [manifest_key(operation_id, "cp-2")]
    assert (await swept(running)).orphans.count == 0


async def test_what_is_in_flight_is_young(running: Running) -> None:
    """Bytes without an event yet stay for the grace of the store's clock, and are counted."""
    upload = await put(running, b"in flight", "state.json")
    answer = await running.http.post("/storage/orphans", json={"grace_seconds": 0})
    report = answer.json()
    assert (report["orphans"]["count"], report["removed"]["count"]) == (0, 0)
    assert report["young"] == {"count": 1, "size_bytes": 9}
    assert report["grace_seconds"] == 86_400.0
    assert await digests(running) == {upload.digest}


async def test_bytes_found_there_again_are_made_young(running: Running, tenant: StackEndpoints) -> None:
    """An old orphan whose bytes are put again while the sweep reads the log stays: they are about to count."""

    class Renewing(PostgresReferences):
        async def needed(self):
            await asyncio.sleep(1.1)  # S3 dates objects to the second
            path = running.directory / "again.json"
            path.write_bytes(b"orphan")
            later = S3ArtifactStore(tenant.store, clock=_Later())
            await asyncio.to_thread(
                lambda: later.put_file(path, name="again.json", media_type="application/json")
            )
            later.close()
            return await super().needed()

    orphan = await put(running, b"orphan", "orphan.json")
    other = await put(running, b"other", "other.json")
    orchestrator = running.orchestrator
    sweep = OrphanSweep(
        running.store,
        running.event_log,
        Renewing(orchestrator.engine),
        tenant=orchestrator.settings.bus.prefix,
        grace_seconds=-60.0,
    )
    report = await sweep.sweep(dry_run=False)
    assert (report.orphans.count, report.removed.count) == (2, 1)
    assert await digests(running) == {orphan.digest}
    assert other.digest not in await digests(running)


class _Later:
    """A writer an hour later: what it finds has lain there for long."""

    def now(self):
        from datetime import UTC, datetime, timedelta

        return datetime.now(UTC) + timedelta(hours=1)

    def monotonic_seconds(self) -> float:
        return 0.0


async def test_a_live_child_keeps_the_bytes_of_a_checkpoint_that_is_gone(running: Running) -> None:
    """Also where the record of the checkpoint was lost under it: what it began from stays until it has ended."""
    await running.keep_state()
    operation_id = await running.start()
    await running.happen(operation_id, claimed(), started(), snapshot(), cancelled())
    await running.until(operation_id, CheckpointRecorded)
    verdict = await running.client.request(ResumeOperation(operation_id=operation_id))
    assert isinstance(verdict, Accepted)
    await running.happen(operation_id, CheckpointDeleted(checkpoint_id="cp-1"))
    await running.projected()
    state = snapshot().artifacts[0]
    await swept(running)
    assert await digests(running) == {state.digest}
    await running.happen(verdict.operation_id, claimed(), cancelled())
    await swept(running)
    assert await digests(running) == set()


async def test_a_store_that_is_shared_is_not_touched(
    running: Running, tenant: StackEndpoints, tmp_path: Path
) -> None:
    """Another stack in the same bucket, or checkpoints that nobody knows: refused by name, nothing removed."""
    stray = await put(running, b"stray", "stray.json")
    key = manifest_key("op-unknown", "cp-1")
    await asyncio.to_thread(running.store.put_document, key, b"{}")
    with pytest.raises(StoreSharedError, match="op-unknown"):
        await swept(running)
    await asyncio.to_thread(running.store.delete_document, key)
    await sweeping(running, tenant="another").register()
    with pytest.raises(StoreSharedError, match="another"):
        await swept(running)
    answer = await running.http.post("/storage/orphans", json={"dry_run": True})
    assert (answer.status_code, answer.json()["code"]) == (409, "store-shared")
    assert await digests(running) == {stray.digest}


async def test_a_sweep_that_is_stopped_removes_nothing_more(running: Running, tenant: StackEndpoints) -> None:
    """What it removes ends with the object under way; once it has stopped the store stays as it is."""
    loop, begun = asyncio.get_running_loop(), asyncio.Event()
    removed: set[str] = set()

    class Watched(S3ArtifactStore):
        def delete_document(self, key: str) -> None:
            super().delete_document(key)
            removed.add(f"sha256:{key.rpartition('/')[2]}")
            loop.call_soon_threadsafe(begun.set)

    orphans = {(await put(running, f"{n}".encode(), f"{n}.json")).digest for n in range(10)}
    store = Watched(tenant.store)
    task = asyncio.create_task(sweeping(running, store).sweep(dry_run=False))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    before = set(removed)
    assert await digests(running) == orphans - before
    assert removed == before
    store.close()


async def test_sums_are_told_by_kind_status_and_age(running: Running) -> None:
    """What is kept and what was deleted, in counts and bytes."""
    await running.keep_state()
    operation_id = await running.start()
    snapshots = (snapshot("cp-1", 10), snapshot("cp-2", 20))
    await running.happen(operation_id, claimed(), started(), *snapshots, cancelled())
    first = await running.until(operation_id, CheckpointRecorded)
    await running.until(operation_id, CheckpointRecorded, after_sequence=first.sequence)
    await running.http.delete("/checkpoints/cp-1", params={"operation_id": operation_id})
    await running.projected()
    document = (await running.http.get("/storage")).json()
    size = snapshot().artifacts[0].size_bytes
    (kept,), (deleted,) = document["checkpoints"].pop("by"), document["deleted"].pop("by")
    assert document["checkpoints"] == {"count": 1, "size_bytes": size, "unique_bytes": size, "pinned": 0}
    assert {key: kept[key] for key in ("kind", "status", "count", "size_bytes")} == {
        "kind": "counter",
        "status": "cancelled",
        "count": 1,
        "size_bytes": size,
    }
    assert (deleted["kind"], deleted["requested_by"], deleted["count"]) == ("counter", "/http", 1)
    assert document["deleted"] == {"count": 1, "size_bytes": size}


async def test_the_policy_is_kept_without_being_asked(tenant: StackEndpoints, tmp_path: Path) -> None:
    """With a retention of the newest one, two of three go by themselves, as events of the retention policy."""
    async with run_orchestrator(tenant, tmp_path, retention_seconds=0.5) as running:
        await running.keep_state()
        operation_id = await running.start()
        snapshots = (snapshot(f"cp-{number}", number) for number in range(1, 4))
        await running.happen(operation_id, claimed(), started(), *snapshots, cancelled())
        first = await running.until(operation_id, CheckpointDeleted)
        second = await running.until(operation_id, CheckpointDeleted, after_sequence=first.sequence)
    assert [entry.event.checkpoint_id for entry in (first, second)] == ["cp-1", "cp-2"]
    assert first.event.requested_by == "/orchestrator/retention"
    assert first.event.reason == "retention policy: not the newest"
