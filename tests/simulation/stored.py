"""I4 and I13: what the log refers to is in the store, whole, and after a while nothing else is."""

from milepost_contracts.artifacts import ArtifactReference, manifest_key
from milepost_contracts.events import (
    Cancelled,
    CheckpointDeleted,
    CheckpointRecorded,
    Completed,
    Failed,
    Requested,
    StateSnapshot,
)
from milepost_runtime.event_log import LogEntry
from milepost_runtime.store.directory import DirectoryArtifactStore

ARTIFACTS, MANIFESTS = "artifacts/sha256/", "checkpoints/"
Artifacts = tuple[ArtifactReference, ...]


class StoreWatcher:
    """Knows what the log refers to; a checkpoint, a result, or the origin of what has not ended."""

    def __init__(self, store: DirectoryArtifactStore) -> None:
        self._store = store
        self._kept: dict[tuple[str, str], Artifacts] = {}
        self._results: dict[str, Artifacts] = {}
        self._origins: dict[str, Artifacts] = {}
        self._recorded: set[tuple[str, str]] = set()
        self._deleted: set[tuple[str, str]] = set()
        self._read: set[str] = set()
        """Digests of what was read whole once: nothing writes over it, so later it only has to be there."""

    def take(self, entry: LogEntry) -> None:
        """Take in the next event of the log."""
        operation_id = entry.operation_id
        match entry.event:
            case Requested(origin=origin) if origin is not None:
                self._origins[operation_id] = origin.artifacts
            case StateSnapshot() as event:
                self._kept[operation_id, event.checkpoint_id] = event.artifacts
            case CheckpointRecorded() as event:
                self._recorded.add((operation_id, event.checkpoint_id))
            case CheckpointDeleted() as event:
                place = (operation_id, event.checkpoint_id)
                self._kept.pop(place, None)
                self._recorded.discard(place)
                self._deleted.add(place)
            case Completed(artifacts=artifacts):
                self._results[operation_id] = artifacts
                self._origins.pop(operation_id, None)
            case Cancelled() | Failed():
                self._origins.pop(operation_id, None)
            case _:
                pass

    def all_is_there(self) -> None:
        """Check what must hold at any moment."""
        for needed in (self._kept, self._results, self._origins):
            for what, artifacts in needed.items():
                for artifact in artifacts:
                    self._is_there(artifact, f"{artifact.name} of {what}")
        for place in self._recorded - self._deleted:
            assert self._store.get_document(manifest_key(*place)), f"I4: no manifest of {place}"

    def nothing_else_is_there(self) -> None:
        """Check what must hold once everything has ended and the orphans were swept."""
        needed = (*self._kept.values(), *self._results.values(), *self._origins.values())
        digits = {each.digest.rpartition(":")[2] for artifacts in needed for each in artifacts}
        there = {each.key.removeprefix(ARTIFACTS) for each in self._store.list_objects(ARTIFACTS)}
        assert there <= digits, f"I13: {there - digits} stay, which nothing refers to"
        manifests = {each.key for each in self._store.list_objects(MANIFESTS)}
        orphans = manifests - {manifest_key(*place) for place in self._kept}
        assert not orphans, f"I13: the manifests {orphans} stay, whose checkpoints are gone"

    def _is_there(self, artifact: ArtifactReference, what: str) -> None:
        assert self._store.exists(artifact), f"I4, I13: {what} is gone"
        if artifact.digest not in self._read:
            self._store.verify(artifact)
            self._read.add(artifact.digest)
