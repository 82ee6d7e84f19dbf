"""The catalogue of datasets."""

from datetime import UTC, datetime

import pytest
from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.datasets import Dataset
from milepost_runtime.digests import digest_of_bytes
from milepost_runtime.errors import ArtifactDamagedError, ArtifactMissingError
from milepost_runtime.store.datasets import DatasetCatalogue
from milepost_runtime.store.directory import DirectoryArtifactStore

pytestmark = pytest.mark.unit


@pytest.fixture
def store(tmp_path):
    return DirectoryArtifactStore(tmp_path / "store")


@pytest.fixture
def catalogue(store):
    return DatasetCatalogue(store)


def dataset(store, tmp_path, name="spy", content=b"bars") -> Dataset:
    path = tmp_path / "bars.parquet"
    path.write_bytes(content)
    return Dataset(
        name=name,
        artifact=store.put_file(path, name="bars.parquet", media_type="application/vnd.apache.parquet"),
        rows=4,
        first=datetime(2020, 1, 1, tzinfo=UTC),
        last=datetime(2026, 1, 1, 9, 30, 0, 123456, tzinfo=UTC),
        added_at=datetime(2026, 11, 1, tzinfo=UTC),
        source="größe: a file of mine",
    )


def test_entry_comes_back_by_name_and_by_digest(catalogue, store, tmp_path):
    """An entry is found under its name and under the digest of its bytes."""
    entry = dataset(store, tmp_path)
    catalogue.put(entry)
    assert catalogue.get("spy") == entry
    assert catalogue.by_digest(entry.artifact.digest) == entry


def test_unknown(catalogue):
    """What was never added is None, not an error."""
    assert catalogue.get("spy") is None
    assert catalogue.by_digest(digest_of_bytes(b"never")) is None
    assert catalogue.list() == []


def test_newer_dataset_takes_the_name(catalogue, store, tmp_path):
    """A name stands for the newest bytes; the older ones are still found by digest."""
    old, new = dataset(store, tmp_path, content=b"old"), dataset(store, tmp_path, content=b"new")
    catalogue.put(old)
    catalogue.put(new)
    assert catalogue.get("spy") == new
    assert catalogue.by_digest(old.artifact.digest) == old
    assert catalogue.list() == [new]


def test_list_is_sorted_and_has_each_name_once(catalogue, store, tmp_path):
    """The list holds the newest of each name, sorted, also one called like the index."""
    entries = [dataset(store, tmp_path, name, name.encode()) for name in ("spy", "by-digest", "btc.usd")]
    for entry in entries:
        catalogue.put(entry)
    assert [entry.name for entry in catalogue.list()] == ["btc.usd", "by-digest", "spy"]


def test_bytes_come_first(catalogue, store, tmp_path):
    """An entry whose bytes are not in the store is refused and leaves nothing."""
    entry = dataset(store, tmp_path)
    missing = ArtifactReference(name="bars.parquet", digest=digest_of_bytes(b"never"), size_bytes=5)
    with pytest.raises(ArtifactMissingError, match="spy"):
        catalogue.put(entry.model_copy(update={"artifact": missing}))
    assert catalogue.list() == []


def test_damaged_entry(catalogue, store):
    """An entry that cannot be read is damage that names its key."""
    store.put_document("datasets/spy.json", b"{")
    with pytest.raises(ArtifactDamagedError, match=r"datasets/spy\.json"):
        catalogue.get("spy")
