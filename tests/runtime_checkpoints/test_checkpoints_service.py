"""The checkpoint service on a directory store: save, record, load, fall back, delete."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.checkpoints import CheckpointReason
from milepost_runtime.checkpoints.data import CheckpointData
from milepost_runtime.checkpoints.service import CheckpointService
from milepost_runtime.checkpoints.spool import Spool
from milepost_runtime.digests import digest_of_bytes
from milepost_runtime.errors import (
    CheckpointDamagedError,
    CheckpointNotFoundError,
    StoreUnavailableError,
)
from milepost_runtime.store.directory import DirectoryArtifactStore

from tests.runtime_checkpoints.samples import PiecewiseWriter, data_at, state_at, trades_at

pytestmark = pytest.mark.unit

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    return DirectoryArtifactStore(tmp_path / "store")


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool")


@pytest.fixture
def service(store, spool):
    return CheckpointService(store, spool)


def save(service, unit, data=None, operation_id="op-1"):
    return service.save_checkpoint(
        operation_id,
        f"cp-{unit}",
        data or data_at(unit),
        kind="backtest",
        attempt=1,
        total_units=100,
        reason=CheckpointReason.PERIODIC,
        saved_at=NOON + timedelta(seconds=unit),
    )


def artifact(manifest, name) -> ArtifactReference:
    return next(reference for reference in manifest.artifacts if reference.name == name)


def test_saved_checkpoint_loads(service, spool, tmp_path):
    """State and files come back, the checkpoint is on record, and the spool is empty again."""
    manifest = save(service, 10)
    loaded = service.load_checkpoint(
        manifest.artifacts, tmp_path / "restored", unit=manifest.unit, fingerprint=manifest.fingerprint
    )
    assert loaded.state() == state_at(10)
    assert loaded.path("trades.parquet").read_bytes() == trades_at(10)
    assert (loaded.unit, loaded.artifacts, loaded.fingerprint) == (
        10,
        manifest.artifacts,
        manifest.fingerprint,
    )
    assert service.load_manifest("op-1", "cp-10") == manifest
    assert spool.pending("op-1") == ()


def test_saving_again_is_the_same(service):
    """Repeating a save after a crash gives the same manifest."""
    assert save(service, 10) == save(service, 10)
    assert len(service.list_manifests("op-1")) == 1


def test_manifests_are_listed_oldest_first(service):
    """A listing holds the operation's own checkpoints in the order of saving."""
    for unit in (20, 9, 100):
        save(service, unit)
    save(service, 5, operation_id="op-10")
    assert [manifest.unit for manifest in service.list_manifests("op-1")] == [9, 20, 100]
    assert [manifest.unit for manifest in service.list_manifests()] == [5, 9, 20, 100]


def test_every_bad_artifact_is_named(service, store, tmp_path):
    """Missing, truncated and changed artifacts are all named, and no file is left behind."""
    manifest = save(service, 10)
    store.delete_artifact(artifact(manifest, "state.json").digest)
    store.put_document(artifact(manifest, "trades.parquet").key, trades_at(10)[:-1])
    store.put_document(artifact(manifest, "equity.parquet").key, b"\x00" + trades_at(11)[1:])
    with pytest.raises(CheckpointDamagedError) as caught:
        service.load_checkpoint(manifest.artifacts, tmp_path / "restored", unit=10)
    assert {problem.field for problem in caught.value.problems} == {
        "state.json",
        "trades.parquet",
        "equity.parquet",
    }
    assert "state.json: missing in the store" in str(caught.value)
    assert list((tmp_path / "restored").iterdir()) == []


def test_damaged_checkpoint_does_not_go_on_record(service, store, spool):
    """When an artifact is gone before the manifest is written, there is no manifest."""
    gone = ArtifactReference(name="trades-000.parquet", digest=digest_of_bytes(b"gone"), size_bytes=4)
    with pytest.raises(CheckpointDamagedError, match=r"trades-000\.parquet: missing"):
        save(service, 10, CheckpointData(unit=10, state={}, kept=(gone,)))
    assert list(store.list_objects("checkpoints/")) == []
    assert len(spool.pending("op-1")) == 1


def test_spool_that_changed_is_not_uploaded_as_it_was(service, spool):
    """A staged file that changed or vanished before the upload is named, not silently taken."""
    staged = spool.load(
        spool.stage("op-1", "a", data_at(10), reason=CheckpointReason.MANUAL, total_units=100)
    )
    (staged.directory / "state.json").write_bytes(b"{}")
    (staged.directory / "trades.parquet").unlink()
    with pytest.raises(CheckpointDamagedError) as caught:
        service.upload(staged)
    assert [problem.field for problem in caught.value.problems] == ["state.json", "trades.parquet"]


def test_checkpoint_without_state_is_damaged(service, tmp_path):
    """References that lack the state, or name one file twice, are refused as a whole."""
    manifest = save(service, 10)
    with pytest.raises(CheckpointDamagedError, match=r"state\.json: not among"):
        service.load_checkpoint(manifest.artifacts[1:], tmp_path / "restored", unit=10)
    with pytest.raises(CheckpointDamagedError, match="named twice"):
        service.load_checkpoint(manifest.artifacts * 2, tmp_path / "restored", unit=10)


def test_kept_segments_are_part_of_the_checkpoint(service, tmp_path):
    """A later checkpoint refers to an earlier segment, stores only what is new, and loads both."""
    first = save(service, 10)
    segment = artifact(first, "trades.parquet")
    second = save(
        service,
        20,
        CheckpointData(
            unit=20,
            state=state_at(20),
            files={"trades-1.parquet": PiecewiseWriter(b"new")},
            kept=(segment,),
        ),
    )
    assert second.artifacts[-1] == segment
    loaded = service.load_checkpoint(second.artifacts, tmp_path / "restored", unit=20)
    assert loaded.path("trades.parquet").read_bytes() == trades_at(10)
    assert loaded.path("trades-1.parquet").read_bytes() == b"new"
    assert [reference.name for reference in loaded.references("trades")] == [
        "trades-1.parquet",
        "trades.parquet",
    ]


def test_delete_removes_manifest_and_artifacts(service, store):
    """Nothing of a deleted checkpoint stays, and deleting it again says that it is not there."""
    save(service, 10)
    service.delete_checkpoint("op-1", "cp-10")
    assert list(store.list_objects("")) == []
    with pytest.raises(CheckpointNotFoundError, match="op-1/cp-10"):
        service.delete_checkpoint("op-1", "cp-10")
    with pytest.raises(CheckpointNotFoundError):
        service.load_manifest("op-1", "cp-10")


def test_delete_keeps_what_others_refer_to(service, tmp_path):
    """A segment that another checkpoint, even of another operation, refers to outlives the deleted one."""
    first = save(service, 10)
    segment = artifact(first, "trades.parquet")
    child = save(
        service, 20, CheckpointData(unit=20, state={"x": 1}, kept=(segment,)), operation_id="op-child"
    )
    service.delete_checkpoint("op-1", "cp-10")
    loaded = service.load_checkpoint(child.artifacts, tmp_path / "restored", unit=20)
    assert loaded.path("trades.parquet").read_bytes() == trades_at(10)


def test_unreadable_manifest_stops_a_delete(service, store):
    """When it is unknown what another checkpoint needs, nothing is removed."""
    save(service, 10)
    store.put_document("checkpoints/op-2/cp-1.json", b"{")
    before = list(store.list_objects(""))
    with pytest.raises(CheckpointDamagedError, match=r"checkpoints/op-2/cp-1\.json: unreadable"):
        service.delete_checkpoint("op-1", "cp-10")
    assert list(store.list_objects("")) == before


def test_newest_good_is_taken(service, tmp_path):
    """With nothing damaged the newest one is loaded and none is skipped."""
    manifests = [save(service, unit) for unit in (10, 20)]
    found = service.newest_good(reversed(manifests), tmp_path / "restored")
    assert (found.candidate, found.skipped) == (manifests[1], ())
    assert found.loaded is not None
    assert found.loaded.state() == state_at(20)


@pytest.mark.parametrize("damage", ["remove", "truncate", "flip"])
@pytest.mark.parametrize("name", ["state.json", "trades.parquet", "equity.parquet"])
def test_recovery_falls_back(service, store, tmp_path, damage, name):
    """A damaged newest checkpoint gives way to the good one before it, and is named as skipped."""
    older, newer = save(service, 10), save(service, 20)
    bad = artifact(newer, name)
    content = store.get_document(bad.key)
    if damage == "remove":
        store.delete_artifact(bad.digest)
    elif damage == "truncate":
        store.put_document(bad.key, content[: len(content) // 2])
    else:
        store.put_document(bad.key, content[:-1] + bytes([content[-1] ^ 4]))
    found = service.newest_good([newer, older], tmp_path / "restored")
    assert found.candidate == older
    assert found.loaded is not None
    assert found.loaded.state() == state_at(10)
    assert [problem.field for error in found.skipped for problem in error.problems] == [name]


def test_recomputing_after_damage_heals(service, store, tmp_path):
    """A run that goes on from an older checkpoint and computes the damaged one again records it as good."""
    newer = save(service, 20)
    bad = artifact(newer, "trades.parquet")
    store.put_document(bad.key, bytes(bad.size_bytes))
    assert save(service, 20) == newer
    assert service.load_checkpoint(newer.artifacts, tmp_path / "restored", unit=20).state() == state_at(20)


def test_recovery_with_nothing_good(service, store, tmp_path):
    """When every checkpoint is damaged there is none to go on from, and each says why."""
    manifests = [save(service, unit) for unit in (10, 20)]
    for manifest in manifests:
        store.delete_artifact(artifact(manifest, "state.json").digest)
    found = service.newest_good(manifests, tmp_path / "restored")
    assert (found.candidate, found.loaded, len(found.skipped)) == (None, None, 2)


def test_five_hundred_bit_flips(service, store, tmp_path):
    """Not one of 500 random single-bit flips in random artifacts is loaded."""
    drawn = random.Random(7)
    manifest = save(service, 3)
    refused = 0
    for _ in range(500):
        bad = drawn.choice(manifest.artifacts)
        good = store.get_document(bad.key)
        flipped = bytearray(good)
        bit = drawn.randrange(len(good) * 8)
        flipped[bit // 8] ^= 1 << bit % 8
        store.put_document(bad.key, bytes(flipped))
        with pytest.raises(CheckpointDamagedError) as caught:
            service.load_checkpoint(manifest.artifacts, tmp_path / "restored", unit=3)
        refused += [problem.field for problem in caught.value.problems] == [bad.name]
        store.put_document(bad.key, good)
    assert refused == 500
    assert service.load_checkpoint(manifest.artifacts, tmp_path / "restored", unit=3).state() == state_at(3)


class AwayStore(DirectoryArtifactStore):
    """A store that can go away."""

    away = False

    def get_file(self, reference, path):
        if self.away:
            raise StoreUnavailableError
        super().get_file(reference, path)


def test_outage_is_not_damage(tmp_path, spool):
    """While the store is away, recovery says so instead of passing a good checkpoint over."""
    store = AwayStore(tmp_path / "store")
    service = CheckpointService(store, spool)
    manifests = [save(service, unit) for unit in (10, 20)]
    store.away = True
    with pytest.raises(StoreUnavailableError):
        service.newest_good(manifests, tmp_path / "restored")


class FailingStore(DirectoryArtifactStore):
    """Fails at its n-th call, once."""

    def __init__(self, root, fails_at):
        super().__init__(root)
        self.calls_left = fails_at

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        if name.startswith("_") or not callable(found):
            return found

        def call(*arguments, **named):
            self.calls_left -= 1
            if self.calls_left == 0:
                raise StoreUnavailableError(name)
            return found(*arguments, **named)

        return call


def test_store_that_goes_away_at_any_call(tmp_path):
    """Whichever call of a save fails, the checkpoint before stays good, and saving again succeeds."""
    failures = 0
    while True:
        root = tmp_path / str(failures)
        good = CheckpointService(DirectoryArtifactStore(root / "store"), Spool(root / "spool"))
        first = save(good, 10)
        failing = CheckpointService(FailingStore(root / "store", failures + 1), Spool(root / "spool"))
        try:
            save(failing, 20)
        except StoreUnavailableError:
            failures += 1
        else:
            break
        assert good.newest_good([first], root / "restored").candidate == first
        assert save(failing, 20) in good.list_manifests("op-1")
    assert failures >= 7


class CountingStore(DirectoryArtifactStore):
    """Counts how often bytes are read to verify them."""

    def __init__(self, root):
        super().__init__(root)
        self.verified: list[str] = []

    def verify(self, reference):
        self.verified.append(reference.name)
        super().verify(reference)


def test_verified_digests_are_remembered_within_a_limit(tmp_path, spool):
    """With a memory, artifacts that are kept are read once; without room they are read again."""
    store = CountingStore(tmp_path / "store")
    service = CheckpointService(store, spool, verified_max=3)
    manifest = save(service, 10)
    service.register(manifest)
    assert len(store.verified) == 3
    save(service, 20)
    service.register(manifest)
    assert len(store.verified) == 9


def test_remembered_artifact_that_vanished_is_noticed(tmp_path, spool):
    """Being verified once does not excuse an artifact from being there."""
    store = CountingStore(tmp_path / "store")
    service = CheckpointService(store, spool, verified_max=10)
    manifest = save(service, 10)
    store.delete_artifact(artifact(manifest, "trades.parquet").digest)
    with pytest.raises(CheckpointDamagedError, match=r"trades\.parquet: missing"):
        service.register(manifest)


def test_register_names_key_and_digest(service, store):
    """What register returns is where the manifest is and what its bytes are."""
    key, digest = service.register(save(service, 10))
    assert key == "checkpoints/op-1/cp-10.json"
    assert digest_of_bytes(store.get_document(key)) == digest
