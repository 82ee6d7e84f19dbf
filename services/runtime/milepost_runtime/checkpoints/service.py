"""The checkpoint service: bytes into the store, the reference last, and back with every byte verified.

States of a checkpoint: staged in the spool -> artifacts in the store -> on record (its manifest is there) -> gone.
Authority: the manifest; artifacts without one are orphans for the sweep. Failures: a kill between any two
steps leaves what was on record before untouched, and repeating the step is safe, for artifacts are named by
their digests. Blocking: call it from a thread where an event loop runs.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from milepost_contracts.artifacts import ArtifactReference, manifest_key
from milepost_contracts.checkpoints import CheckpointReason, Manifest
from milepost_contracts.failures import Problem
from pydantic import ValidationError

from milepost_runtime.checkpoints.data import (
    STATE_FILE,
    CheckpointData,
    LoadedCheckpoint,
    StagedCheckpoint,
)
from milepost_runtime.checkpoints.spool import Spool
from milepost_runtime.digests import canonical_json, digest_of_bytes
from milepost_runtime.errors import (
    ArtifactDamagedError,
    ArtifactMissingError,
    CheckpointDamagedError,
    CheckpointNotFoundError,
)
from milepost_runtime.store.port import ArtifactStore

MANIFESTS = "checkpoints/"


class CheckpointCandidate(Protocol):
    """Anything that names a checkpoint's content: an event, a manifest, an origin."""

    @property
    def unit(self) -> int: ...  # noqa: D102 - as in Manifest

    @property
    def artifacts(self) -> tuple[ArtifactReference, ...]: ...  # noqa: D102 - as in Manifest

    @property
    def fingerprint(self) -> Mapping[str, str]: ...  # noqa: D102 - as in Manifest


CandidateT = TypeVar("CandidateT", bound=CheckpointCandidate)


@dataclass(frozen=True, slots=True)
class NewestGood(Generic[CandidateT]):
    """What automatic recovery found."""

    candidate: CandidateT | None
    """The newest one whose every byte is right; None when none is."""
    loaded: LoadedCheckpoint | None
    skipped: tuple[CheckpointDamagedError, ...]
    """Why each newer one was passed over, newest first."""


class CheckpointService:
    """Saves, loads and deletes checkpoints: state and artifacts together."""

    def __init__(self, store: ArtifactStore, spool: Spool, *, verified_max: int = 0) -> None:
        """``verified_max`` digests that ``register`` has read are not read again, only looked for."""
        self._store = store
        self._spool = spool
        self._verified: OrderedDict[str, None] = OrderedDict()
        self._verified_max = verified_max

    def save_checkpoint(
        self,
        operation_id: str,
        checkpoint_id: str,
        data: CheckpointData,
        *,
        kind: str,
        attempt: int,
        total_units: int,
        reason: CheckpointReason,
        saved_at: datetime,
    ) -> Manifest:
        """Save and put on record, without an orchestrator: for notebooks and tests. Safe to repeat.

        Raises:
            ValueError: the data cannot be saved exactly.
            CheckpointDamagedError: a kept artifact is not in the store any more.
            StoreUnavailableError, StoreAccessError: the store's refusal.
        """
        staged = self._spool.load(
            self._spool.stage(operation_id, checkpoint_id, data, reason=reason, total_units=total_units)
        )
        manifest = Manifest(
            operation_id=operation_id,
            checkpoint_id=checkpoint_id,
            kind=kind,
            attempt=attempt,
            unit=staged.unit,
            total_units=total_units,
            reason=reason,
            saved_at=saved_at,
            artifacts=self.upload(staged),
            fingerprint=dict(staged.fingerprint),
            summary=staged.summary,
        )
        self.register(manifest)
        self._spool.discard(staged.directory)
        return manifest

    def upload(self, staged: StagedCheckpoint) -> tuple[ArtifactReference, ...]:
        """Store the new files; return all artifacts of the checkpoint, the kept ones last. Safe to repeat.

        Raises:
            CheckpointDamagedError: files in the spool are missing or have changed; every one is named.
            StoreUnavailableError, StoreAccessError: the store's refusal.
        """
        problems: list[Problem] = []
        for expected in staged.files:
            try:
                stored = self._store.put_file(
                    staged.directory / expected.name, name=expected.name, media_type=expected.media_type
                )
            except FileNotFoundError:
                problems.append(Problem(field=expected.name, message="missing in the spool"))
                continue
            except ArtifactDamagedError as error:
                problems.append(Problem(field=expected.name, message=error.detail))
                continue
            if stored != expected:
                problems.append(Problem(field=expected.name, message="changed in the spool"))
        if problems:
            raise CheckpointDamagedError(problems=problems)
        return staged.files + staged.kept

    def register(self, manifest: Manifest) -> tuple[str, str]:
        """Verify every artifact, then write the manifest; return its key and digest. Safe to repeat.

        Raises:
            CheckpointDamagedError: artifacts are missing or damaged; every one is named, nothing is written.
            StoreUnavailableError, StoreAccessError: the store's refusal.
        """
        problems = _problems_of_names(manifest.artifacts)
        for reference in manifest.artifacts:
            problems.extend(self._problems_in_store(reference))
        if problems:
            raise CheckpointDamagedError(problems=problems)
        key = manifest_key(manifest.operation_id, manifest.checkpoint_id)
        content = canonical_json(manifest.model_dump(mode="json"))
        self._store.put_document(key, content)
        return key, digest_of_bytes(content)

    def load_checkpoint(
        self,
        artifacts: Sequence[ArtifactReference],
        directory: Path,
        *,
        unit: int,
        fingerprint: Mapping[str, str] | None = None,
    ) -> LoadedCheckpoint:
        """Write all artifacts under their names to ``directory``, each verified; all of them or none.

        Raises:
            CheckpointDamagedError: artifacts are missing or damaged; every one is named.
            StoreUnavailableError, StoreAccessError: the store's refusal.
        """
        directory.mkdir(parents=True, exist_ok=True)
        problems = _problems_of_names(artifacts)
        checksums: dict[str, str] = {}
        for reference in artifacts:
            try:
                received = self._store.get_file(reference, directory / reference.name)
                checksums[reference.name] = received.checksum
            except (ArtifactMissingError, ArtifactDamagedError) as error:
                problems.append(_problem(reference, error))
        if problems:
            for reference in artifacts:
                (directory / reference.name).unlink(missing_ok=True)
            raise CheckpointDamagedError(problems=problems)
        return LoadedCheckpoint(unit, directory, tuple(artifacts), dict(fingerprint or {}), checksums)

    def newest_good(self, candidates: Iterable[CandidateT], directory: Path) -> NewestGood[CandidateT]:
        """Load the first good one of ``candidates``, newest first; a damaged one gives way to the one before.

        Raises:
            StoreUnavailableError, StoreAccessError: the store's refusal, which says nothing about checkpoints.
        """
        skipped: list[CheckpointDamagedError] = []
        for candidate in candidates:
            try:
                loaded = self.load_checkpoint(
                    candidate.artifacts, directory, unit=candidate.unit, fingerprint=candidate.fingerprint
                )
            except CheckpointDamagedError as error:
                skipped.append(error)
                continue
            return NewestGood(candidate, loaded, tuple(skipped))
        return NewestGood(None, None, tuple(skipped))

    def load_manifest(self, operation_id: str, checkpoint_id: str) -> Manifest:
        """Return the manifest of a checkpoint on record.

        Raises:
            CheckpointNotFoundError: there is none.
            CheckpointDamagedError: it cannot be read.
        """
        key = manifest_key(operation_id, checkpoint_id)
        manifest = self._manifest_at(key)
        if manifest is None:
            raise CheckpointNotFoundError(f"{operation_id}/{checkpoint_id}")
        return manifest

    def list_manifests(self, operation_id: str | None = None) -> list[Manifest]:
        """Return the manifests of an operation, or of all, oldest first.

        Raises:
            CheckpointDamagedError: one cannot be read.
        """
        prefix = MANIFESTS if operation_id is None else f"{MANIFESTS}{operation_id}/"
        found = (self._manifest_at(stored.key) for stored in self._store.list_objects(prefix))
        return sorted(
            (manifest for manifest in found if manifest is not None),
            key=lambda manifest: (manifest.saved_at, manifest.unit, manifest.checkpoint_id),
        )

    def delete_checkpoint(self, operation_id: str, checkpoint_id: str) -> None:
        """Remove a checkpoint's manifest, then the artifacts that no other manifest refers to.

        For notebooks and tests: it cannot see checkpoints that are being saved at the same moment. A live system
        deletes through the orchestrator's janitor, which is in one line with the log.

        Raises:
            CheckpointNotFoundError: there is no such checkpoint.
            CheckpointDamagedError: a manifest cannot be read, so what it refers to is unknown; nothing is removed.
        """
        doomed = self.load_manifest(operation_id, checkpoint_id)
        key = manifest_key(operation_id, checkpoint_id)
        still_needed = {
            reference.digest
            for manifest in self.list_manifests()
            if manifest_key(manifest.operation_id, manifest.checkpoint_id) != key
            for reference in manifest.artifacts
        }
        self._store.delete_document(key)
        for digest in {reference.digest for reference in doomed.artifacts} - still_needed:
            self._store.delete_artifact(digest)

    def _manifest_at(self, key: str) -> Manifest | None:
        content = self._store.get_document(key)
        if content is None:
            return None
        try:
            return Manifest.model_validate_json(content)
        except ValidationError as error:
            raise CheckpointDamagedError(problems=[Problem(field=key, message="unreadable")]) from error

    def _problems_in_store(self, reference: ArtifactReference) -> list[Problem]:
        try:
            if reference.digest in self._verified and self._store.exists(reference):
                self._verified.move_to_end(reference.digest)
                return []
            self._store.verify(reference)
        except (ArtifactMissingError, ArtifactDamagedError) as error:
            self._verified.pop(reference.digest, None)
            return [_problem(reference, error)]
        self._verified[reference.digest] = None
        while len(self._verified) > self._verified_max:
            self._verified.popitem(last=False)
        return []


def _problems_of_names(artifacts: Sequence[ArtifactReference]) -> list[Problem]:
    names = [reference.name for reference in artifacts]
    problems = [Problem(field=name, message="named twice") for name in set(names) if names.count(name) > 1]
    if STATE_FILE not in names:
        problems.append(Problem(field=STATE_FILE, message="not among the artifacts"))
    return problems


def _problem(reference: ArtifactReference, error: ArtifactMissingError | ArtifactDamagedError) -> Problem:
    words = "missing in the store" if isinstance(error, ArtifactMissingError) else error.detail
    return Problem(field=reference.name, message=words)
