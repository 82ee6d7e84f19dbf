"""What every artifact store must do: one suite, run against the directory store and a real S3 server."""

import asyncio
import hashlib
import itertools
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from milepost_contracts.artifacts import ArtifactReference
from milepost_runtime.errors import (
    ArtifactDamagedError,
    ArtifactMissingError,
    StoreAccessError,
    StoreStoppedError,
    StoreUnavailableError,
)
from milepost_runtime.settings import StoreSettings
from milepost_runtime.store.directory import DirectoryArtifactStore
from milepost_runtime.store.port import ArtifactStore
from milepost_runtime.store.s3 import PART_BYTES, S3ArtifactStore
from milepost_runtime.store.stopping import in_thread
from milepost_runtime.testing.clock import ManualClock

from tests.support.stack import minio_client

CONTENT = b"unit,equity\n1,100000.0\n2,100250.5\n" * 1000


def stored(store: ArtifactStore, directory: Path, content: bytes = CONTENT, name: str = "equity.csv"):
    path = directory / name
    path.write_bytes(content)
    return store.put_file(path, name=name, media_type="text/csv")


def reference_to(content: bytes, name: str = "equity.csv") -> ArtifactReference:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return ArtifactReference(name=name, digest=digest, size_bytes=len(content), media_type="text/csv")


def tamper(store: ArtifactStore, reference: ArtifactReference, content: bytes) -> None:
    """Put other bytes where an artifact lies: documents and artifacts share one name space."""
    store.put_document(reference.key, content)


class ArtifactStoreConformance:
    """The suite; a subclass brings the ``store`` fixture."""

    def test_reference_holds_digest_size_and_media_type(self, store, tmp_path):
        """The reference of a stored file names exactly its bytes."""
        assert stored(store, tmp_path) == reference_to(CONTENT)

    def test_bytes_come_back(self, store, tmp_path):
        """What was put is what is got."""
        reference = stored(store, tmp_path)
        store.get_file(reference, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == CONTENT

    def test_address_leads_to_the_bytes(self, store, tmp_path):
        """Anyone can read the bytes at it, under the artifact's name, or the store says that it has none."""
        reference = stored(store, tmp_path)
        url = store.address(reference, seconds=60)
        if isinstance(store, DirectoryArtifactStore):
            assert url is None
            return
        response = httpx.get(url, trust_env=False)
        assert (response.status_code, response.content) == (200, CONTENT)
        assert "equity.csv" in response.headers["content-disposition"]
        assert response.headers["content-type"].startswith("text/csv")
        assert httpx.get(url.replace("Signature=", "Signature=0"), trust_env=False).status_code == 403

    def test_empty_file(self, store, tmp_path):
        """A file of no bytes is an artifact like any other."""
        reference = stored(store, tmp_path, b"")
        store.verify(reference)
        store.get_file(reference, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == b""

    def test_bytes_that_have_lain_there_for_long_are_made_young(self, store, tmp_path):
        """What is found there after twenty minutes is sent again, so that no sweep takes it for an orphan."""
        reference = stored(store, tmp_path)
        (before,) = store.list_objects(reference.key)
        at_once = stored(store, tmp_path)
        assert (at_once, [*store.list_objects(reference.key)]) == (reference, [before])
        store._clock = ManualClock(before.modified_at + timedelta(minutes=21))
        deadline = time.monotonic() + 10
        while True:  # stores date objects to the second, or finer
            stored(store, tmp_path)
            (after,) = store.list_objects(reference.key)
            if after.modified_at > before.modified_at:
                break
            assert time.monotonic() < deadline
        store.verify(reference)

    def test_file_of_several_parts(self, store, tmp_path):
        """A file larger than one part comes back whole, its last part short."""
        content = os.urandom(1024) * (PART_BYTES * 2 // 1024) + b"the end"
        reference = stored(store, tmp_path, content)
        store.verify(reference)
        store.get_file(reference, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == content

    def test_same_bytes_under_two_names_are_one_object(self, store, tmp_path):
        """Equal content is stored once, whatever it is called."""
        stored(store, tmp_path, name="a.csv")
        stored(store, tmp_path, name="b.csv")
        assert [item.size_bytes for item in store.list_objects("artifacts/")] == [len(CONTENT)]

    @pytest.mark.parametrize(
        "damaged", [CONTENT[:-1], b"\x00" + CONTENT[1:]], ids=["truncated", "first-byte-changed"]
    )
    def test_damaged_object_is_healed_by_putting_again(self, store, tmp_path, damaged):
        """A damaged object does not count as there: putting the same bytes again makes it good."""
        reference = stored(store, tmp_path)
        tamper(store, reference, damaged)
        stored(store, tmp_path)
        store.verify(reference)

    def test_missing_artifact(self, store, tmp_path):
        """Reading an artifact that is not there is a typed error that names it, and leaves no file."""
        reference = reference_to(b"never stored", "weights.safetensors")
        assert not store.exists(reference)
        with pytest.raises(ArtifactMissingError, match=r"weights\.safetensors"):
            store.verify(reference)
        with pytest.raises(ArtifactMissingError, match=r"weights\.safetensors"):
            store.get_file(reference, tmp_path / "back")
        assert list(tmp_path.glob("*back*")) == []

    @pytest.mark.parametrize(
        "damaged",
        [
            CONTENT[:-1],
            CONTENT + b"!",
            b"",
            bytes([CONTENT[0] ^ 1]) + CONTENT[1:],
            CONTENT[:-1] + bytes([CONTENT[-1] ^ 128]),
        ],
        ids=["truncated", "longer", "empty", "first-bit-flipped", "last-bit-flipped"],
    )
    def test_damaged_artifact(self, store, tmp_path, damaged):
        """Bytes that differ are refused by a typed error that names the artifact, and leave no file."""
        reference = stored(store, tmp_path)
        tamper(store, reference, damaged)
        with pytest.raises(ArtifactDamagedError, match=r"equity\.csv"):
            store.verify(reference)
        with pytest.raises(ArtifactDamagedError, match=r"equity\.csv"):
            store.get_file(reference, tmp_path / "back")
        assert list(tmp_path.glob("*back*")) == []

    def test_failed_get_keeps_the_file_that_was_there(self, store, tmp_path):
        """A good file is not lost to a damaged download."""
        reference = stored(store, tmp_path)
        tamper(store, reference, b"other")
        (tmp_path / "back").write_bytes(b"from before")
        with pytest.raises(ArtifactDamagedError):
            store.get_file(reference, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == b"from before"

    def test_delete_artifact(self, store, tmp_path):
        """A deleted artifact is gone, and deleting it again is no error."""
        reference = stored(store, tmp_path)
        store.delete_artifact(reference.digest)
        store.delete_artifact(reference.digest)
        assert not store.exists(reference)

    def test_documents(self, store):
        """A document is replaced as a whole, None when absent, and may be deleted twice."""
        assert store.get_document("checkpoints/op-1/cp-1.json") is None
        store.put_document("checkpoints/op-1/cp-1.json", b'{"unit":10,"padding":"long"}')
        store.put_document("checkpoints/op-1/cp-1.json", b'{"unit":20}')
        assert store.get_document("checkpoints/op-1/cp-1.json") == b'{"unit":20}'
        store.delete_document("checkpoints/op-1/cp-1.json")
        store.delete_document("checkpoints/op-1/cp-1.json")
        assert store.get_document("checkpoints/op-1/cp-1.json") is None

    def test_reader_sees_a_document_whole(self, store):
        """While a document is replaced again and again, every read gives one version or the other."""
        versions = [b"a" * 60_000, b"b" * 70_000]
        store.put_document("datasets/spy.json", versions[0])
        done = threading.Event()

        def replace() -> None:
            try:
                for number in range(40):
                    store.put_document("datasets/spy.json", versions[number % 2])
            finally:
                done.set()

        writer = threading.Thread(target=replace)
        writer.start()
        seen = [store.get_document("datasets/spy.json")]
        while not done.is_set():
            seen.append(store.get_document("datasets/spy.json"))
        writer.join()
        assert set(seen) <= set(versions)

    def test_listing(self, store):
        """A listing holds every key of the prefix and no other, with size and time, sorted in its folder."""
        for key in ("c/op-2/a.json", "c/op-1/b.json", "c/op-1/a.json", "c/op-10/a.json", "d/x.json"):
            store.put_document(key, b"{}")
        keys = [item.key for item in store.list_objects("c/op-1")]
        assert sorted(keys) == ["c/op-1/a.json", "c/op-1/b.json", "c/op-10/a.json"]
        in_folder = list(store.list_objects("c/op-1/"))
        assert [item.key for item in in_folder] == ["c/op-1/a.json", "c/op-1/b.json"]
        assert [item.size_bytes for item in in_folder] == [2, 2]
        now = datetime.now(UTC)
        assert all(abs(now - item.modified_at) < timedelta(minutes=5) for item in in_folder)
        assert list(store.list_objects("nothing/")) == []

    def test_long_listing(self, store):
        """A listing of more than one page holds every key exactly once, with folders and files side by side."""
        keys = {f"m/{n:04d}/x.json" for n in range(550)} | {f"m/{n:04d}.json" for n in range(550)}
        for key in keys:
            store.put_document(key, b"{}")
        listed = [item.key for item in store.list_objects("m/")]
        assert len(listed) == len(keys)
        assert set(listed) == keys

    async def test_nothing_is_begun_for_whoever_has_gone(self, store, tmp_path):
        """A cancelled writer is through once the request under way has ended; every other one is refused."""
        loop, begun = asyncio.get_running_loop(), asyncio.Event()
        written: list[str] = []
        refused: list[str] = []

        def write_on() -> None:
            for number in itertools.count():
                store.put_document(key := f"checkpoints/{number}", CONTENT)
                written.append(key)
                loop.call_soon_threadsafe(begun.set)

        def write() -> None:
            for name, request in {
                "write on": write_on,
                "put": lambda: stored(store, tmp_path),
                "get": lambda: store.get_document(written[0]),
                "delete": lambda: store.delete_document(written[0]),
                "list": lambda: [*store.list_objects("")],
                "abandoned": lambda: store.remove_abandoned(datetime.now(UTC)),
            }.items():
                with pytest.raises(StoreStoppedError):
                    request()
                refused.append(name)

        writing = asyncio.create_task(in_thread(write))
        await begun.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert refused == ["write on", "put", "get", "delete", "list", "abandoned"]
        assert sorted(each.key for each in store.list_objects("")) == sorted(written)

    def test_many_writers_of_one_artifact(self, store, tmp_path):
        """Eight writers of the same bytes at once all succeed, and the bytes are right."""
        path = tmp_path / "shared.csv"
        path.write_bytes(CONTENT)
        references: list[ArtifactReference] = []

        def put() -> None:
            references.append(store.put_file(path, name="shared.csv", media_type="text/csv"))

        writers = [threading.Thread(target=put) for _ in range(8)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert references == [reference_to(CONTENT, "shared.csv")] * 8
        store.verify(references[0])

    @pytest.mark.parametrize("size", [10_000, PART_BYTES + 10_000], ids=["one-part", "two-parts"])
    def test_file_that_changes_while_it_is_put(self, store, tmp_path, monkeypatch, size):
        """A file that is not what was hashed any more never becomes an object."""
        from milepost_runtime.store import directory, s3

        path = tmp_path / "growing.bin"
        path.write_bytes(bytes(size))

        def measure_then_change(path: Path):
            found = measure(path)
            with path.open("r+b") as file:
                file.seek(size - 1)
                file.write(b"\x01")
            return found

        measure = s3.measure_file
        for module in (s3, directory):
            monkeypatch.setattr(module, "measure_file", measure_then_change)
        with pytest.raises(ArtifactDamagedError, match=r"growing\.bin"):
            store.put_file(path, name="growing.bin", media_type="application/octet-stream")
        assert list(store.list_objects("artifacts/")) == []

    def test_local_file_that_is_missing_is_no_fault_of_the_store(self, store, tmp_path):
        """A path that does not exist is the caller's FileNotFoundError."""
        with pytest.raises(FileNotFoundError):
            store.put_file(tmp_path / "absent", name="absent", media_type="text/csv")


@pytest.mark.unit
class TestDirectoryArtifactStore(ArtifactStoreConformance):
    """The suite on a local directory."""

    @pytest.fixture
    def store(self, tmp_path):
        return DirectoryArtifactStore(tmp_path / "store")

    def test_nothing_is_written_when_it_is_there(self, store, tmp_path):
        """Putting an artifact again leaves the very file that is stored."""
        path = tmp_path / "store" / stored(store, tmp_path).key
        before = path.stat().st_ino
        stored(store, tmp_path)
        assert path.stat().st_ino == before

    def test_key_outside_the_root_is_refused(self, store):
        """No key leads out of the directory."""
        for key in ("../x", "a/../../x", "/etc/passwd", "a//b", "", ".incoming/x"):
            with pytest.raises(ValueError, match="not a key"):
                store.put_document(key, b"")

    def test_leftovers_of_killed_writers(self, store, tmp_path):
        """A half written file is never listed and is removed once it is old."""
        leftover = tmp_path / "store" / ".incoming" / "put-1"
        leftover.parent.mkdir(parents=True)
        leftover.write_bytes(b"half")
        assert list(store.list_objects("")) == []
        now = datetime.now(UTC)
        assert store.remove_abandoned(now - timedelta(days=1)) == 0
        assert store.remove_abandoned(now + timedelta(days=1)) == 1
        assert not leftover.exists()

    def test_root_that_is_a_file(self, tmp_path):
        """A store that cannot be written says so with the store's error."""
        (tmp_path / "file").write_bytes(b"")
        store = DirectoryArtifactStore(tmp_path / "file")
        with pytest.raises(StoreUnavailableError):
            store.put_document("a.json", b"{}")


@pytest.mark.integration
class TestS3ArtifactStore(ArtifactStoreConformance):
    """The suite on a real S3 server."""

    @pytest.fixture
    def store(self, tenant):
        store = S3ArtifactStore(tenant.store)
        store.ensure_bucket()
        yield store
        store.close()

    def test_nothing_is_sent_when_it_is_there(self, store, tenant, tmp_path):
        """Putting an artifact again, as another media type, leaves the object of the first time."""
        reference = stored(store, tmp_path)
        store.put_file(tmp_path / "equity.csv", name="equity.csv", media_type="text/plain")
        kept = minio_client(tenant.store).stat_object(tenant.store.bucket, reference.key)
        assert kept.content_type == "text/csv"

    def test_leftovers_of_killed_writers(self, store, tenant, tmp_path):
        """Parts of an upload that never ended are no object; once old enough they are counted and removed."""
        client = minio_client(tenant.store)
        upload = client._create_multipart_upload(tenant.store.bucket, "artifacts/sha256/x", {})
        client._upload_part(tenant.store.bucket, "artifacts/sha256/x", b"half", None, upload, 1)
        now = datetime.now(UTC)
        assert list(store.list_objects("")) == []
        assert store.remove_abandoned(now - timedelta(days=1)) == 0
        assert store.remove_abandoned(now + timedelta(days=1), dry_run=True) == 1
        assert store.remove_abandoned(now + timedelta(days=1)) == 1
        assert store.remove_abandoned(now + timedelta(days=1)) == 0

    def test_ensure_bucket_twice(self, store):
        """A bucket that is there already is left as it is."""
        store.put_document("a.json", b"{}")
        store.ensure_bucket()
        assert store.get_document("a.json") == b"{}"

    def test_wrong_secret(self, tenant):
        """A store that refuses the credentials says so, whichever call meets it first."""
        settings = tenant.store
        store = S3ArtifactStore(
            StoreSettings(settings.endpoint, settings.access_key, "not the secret", settings.bucket)
        )
        with pytest.raises(StoreAccessError):
            store.get_document("a.json")
        with pytest.raises(StoreAccessError):
            store.put_document("a.json", b"")
        with pytest.raises(StoreAccessError):
            store.exists(reference_to(b""))
        with pytest.raises(StoreAccessError):
            list(store.list_objects(""))
        store.close()

    def test_missing_bucket(self, tenant):
        """A bucket that does not exist is a refusal that names it, not a missing artifact."""
        settings = tenant.store
        store = S3ArtifactStore(
            StoreSettings(settings.endpoint, settings.access_key, settings.secret_key, "not-made")
        )
        with pytest.raises(StoreAccessError, match="NoSuchBucket"):
            store.verify(reference_to(b""))
        with pytest.raises(StoreAccessError, match="NoSuchBucket"):
            store.put_document("a.json", b"")
        store.close()
