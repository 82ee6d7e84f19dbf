"""What a worker fetches before a child can compute: inputs, and the checkpoint to go on from."""

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

import structlog
from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.events import Requested

from milepost_runtime.checkpoints.data import LoadedCheckpoint
from milepost_runtime.checkpoints.service import CheckpointService
from milepost_runtime.digests import digest_of_file
from milepost_runtime.errors import CheckpointDamagedError
from milepost_runtime.store.port import ArtifactStore
from milepost_runtime.worker.run_view import RunView

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class OperationDirectories:
    """Where one attempt keeps its files; all of it may be lost."""

    root: Path

    @property
    def spool(self) -> Path:
        """Checkpoints on their way to the store."""
        return self.root / "spool"

    @property
    def restored(self) -> Path:
        """The checkpoint that the attempt goes on from."""
        return self.root / "restored"

    @property
    def results(self) -> Path:
        """Result files."""
        return self.root / "results"

    @property
    def scratch(self) -> Path:
        """The job's own."""
        return self.root / "scratch"

    def create(self) -> None:
        """Make them, empty: what an earlier attempt left here is of no use."""
        self.remove()
        for path in (self.spool, self.restored, self.results, self.scratch):
            path.mkdir(parents=True)

    def remove(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.root, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class RestorePoint:
    """A loaded checkpoint and its id."""

    checkpoint_id: str
    loaded: LoadedCheckpoint


class Preparation:
    """Fetches inputs into a cache by digest, and checkpoints into the attempt's directory."""

    def __init__(self, store: ArtifactStore, cache_directory: Path) -> None:
        self._store = store
        self._cache_directory = cache_directory

    async def inputs(self, request: Requested) -> dict[str, str]:
        """Return local paths of the operation's inputs by name and by digest, verified.

        Raises:
            ArtifactMissingError, ArtifactDamagedError: an input is not what it was when it was pinned.
            StoreUnavailableError: the store is away; safe to repeat.
        """
        paths: dict[str, str] = {}
        for reference in request.inputs:
            path = await asyncio.to_thread(self._fetch, reference)
            paths[reference.name] = paths[reference.digest] = str(path)
        return paths

    async def restore_point(
        self, view: RunView, service: CheckpointService, directory: Path
    ) -> RestorePoint | None:
        """Load the best good checkpoint; None when the operation has none and begins at unit 0 (again).

        Raises:
            CheckpointDamagedError: none is good, not even the one it was resumed from; every fault is named.
            StoreUnavailableError: the store is away; safe to repeat.
        """
        candidates = view.candidates
        if not candidates:
            return None
        found = await asyncio.to_thread(service.newest_good, candidates, directory)
        for damaged in found.skipped:
            log.warning("checkpoint skipped", reason=str(damaged))
        if found.loaded is None or found.candidate is None:
            origin = view.request.origin if view.request else None
            if origin is None:
                # Everything this operation ever saved is bad, but it began at unit 0 and can do so again.
                return None
            raise CheckpointDamagedError("; ".join(str(damaged) for damaged in found.skipped))
        return RestorePoint(found.candidate.checkpoint_id, found.loaded)

    def _fetch(self, reference: ArtifactReference) -> Path:
        path = self._cache_directory / reference.digest.removeprefix("sha256:")
        if path.exists() and digest_of_file(path) == reference.digest:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._store.get_file(reference, path)
        return path
