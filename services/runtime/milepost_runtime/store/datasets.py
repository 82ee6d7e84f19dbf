"""The catalogue of datasets: small documents in the artifact store, by name and by digest."""

from milepost_contracts.artifacts import dataset_key
from milepost_contracts.datasets import Dataset
from pydantic import ValidationError

from milepost_runtime.digests import canonical_json
from milepost_runtime.errors import ArtifactDamagedError, ArtifactMissingError
from milepost_runtime.store.port import ArtifactStore

DATASETS = "datasets/"
BY_DIGEST = "datasets/by-digest/"


class DatasetCatalogue:
    """Datasets whose bytes are artifacts. Blocking, like the store."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store

    def put(self, dataset: Dataset) -> None:
        """Enter a dataset; its name then stands for it, and its digest always will.

        Raises:
            ArtifactMissingError: its bytes are not in the store; they come first.
        """
        if not self._store.exists(dataset.artifact):
            raise ArtifactMissingError(f"{dataset.name}: {dataset.artifact.digest}")
        content = canonical_json(dataset.model_dump(mode="json"))
        self._store.put_document(_digest_key(dataset.artifact.digest), content)
        self._store.put_document(dataset_key(dataset.name), content)

    def get(self, name: str) -> Dataset | None:
        """Return the newest dataset of that name, None when there is none."""
        return self._read(dataset_key(name))

    def by_digest(self, digest: str) -> Dataset | None:
        """Return the dataset with these bytes, also when its name stands for newer ones by now."""
        return self._read(_digest_key(digest))

    def list(self) -> list[Dataset]:
        """Return the newest dataset of each name, sorted by name."""
        keys = [stored.key for stored in self._store.list_objects(DATASETS)]
        found = (self._read(key) for key in keys if not key.startswith(BY_DIGEST))
        return sorted((dataset for dataset in found if dataset is not None), key=lambda entry: entry.name)

    def digests(self) -> set[str]:
        """Return the digests of every dataset that was ever entered and is still known, by name or by digest.

        Raises:
            ArtifactDamagedError: an entry cannot be read.
        """
        found = (self._read(stored.key) for stored in self._store.list_objects(DATASETS))
        return {dataset.artifact.digest for dataset in found if dataset is not None}

    def _read(self, key: str) -> Dataset | None:
        content = self._store.get_document(key)
        if content is None:
            return None
        try:
            return Dataset.model_validate_json(content)
        except ValidationError as error:
            raise ArtifactDamagedError(f"{key} is not a catalogue entry") from error


def _digest_key(digest: str) -> str:
    return f"{BY_DIGEST}{digest.rpartition(':')[2]}.json"
