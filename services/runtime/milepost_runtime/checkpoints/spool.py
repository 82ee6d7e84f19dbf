"""The local spool: where a checkpoint first becomes durable, as one directory that is whole or absent.

States of a staged checkpoint: absent -> being written (a hidden directory) -> complete (renamed) -> discarded
(renamed away, then removed). Authority: only the rename makes it exist; before it every file, the index, the
directory and what it lies in are fsynced, all at the same time. Failures: a
kill at any moment leaves either nothing under the name or the whole checkpoint, plus a hidden directory that
``remove_torn`` clears when the next process starts.

Layout: ``<root>/<operation id>/<checkpoint name>/`` with ``state.json``, the files, and the index
``checkpoint.json`` that lists sizes, and the digest or checksum that each file is verified with.
"""

import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal

from milepost_contracts.artifacts import ArtifactName, ArtifactReference
from milepost_contracts.checkpoints import CheckpointReason
from milepost_contracts.failures import Problem
from milepost_contracts.ids import TOKEN_PATTERN
from milepost_contracts.model import ContractModel, JsonObject, Unit
from pydantic import Field, ValidationError

from milepost_runtime.checkpoints.data import STATE_FILE, CheckpointData, FileWriter, StagedCheckpoint
from milepost_runtime.checksums import Proof, measure_both, proof_of
from milepost_runtime.clock import random_id
from milepost_runtime.digests import FileDigest, canonical_json, digest_of_bytes, measure_file
from milepost_runtime.errors import CheckpointDamagedError, CheckpointNotFoundError
from milepost_runtime.store.durable import create_directory, fsync_directory, fsync_together

INDEX_FILE = "checkpoint.json"
SYNCING_MAX = 8
_TORN = "."
"""Names of directories that are being written or removed begin so; checkpoint names cannot."""
_TOKEN = re.compile(TOKEN_PATTERN)


class _SpooledFile(ContractModel):
    name: ArtifactName
    proof: Proof
    size_bytes: Annotated[int, Field(ge=0)]
    media_type: str


class _Index(ContractModel):
    schema_version: Literal[2] = 2
    unit: Unit
    total_units: Unit
    reason: CheckpointReason
    files: tuple[_SpooledFile, ...]
    kept: tuple[ArtifactReference, ...]
    fingerprint: dict[str, str]
    summary: JsonObject


class Spool:
    """Staged checkpoints under one directory; one process writes an operation, another may read it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._durable: set[Path] = set()
        """Directories of operations whose own names are known to be durable."""
        self._syncing = ThreadPoolExecutor(SYNCING_MAX, "sync")
        """Threads that wait for the disk; none is there before the first is needed."""

    def stage(
        self,
        operation_id: str,
        checkpoint_name: str,
        data: CheckpointData,
        *,
        reason: CheckpointReason,
        total_units: int,
    ) -> Path:
        """Write a checkpoint and return its directory; when this returns it survives a kill and a power cut.

        A complete one of the same name is replaced.

        Raises:
            ValueError: a name is unusable or used twice, or the state does not fit JSON exactly.
            OSError: the disk refuses; nothing is left under the name.
        """
        parent = self._root / _token(operation_id)
        final = parent / _token(checkpoint_name)
        _check_names(data)
        above = self._create(parent)
        torn = parent / f"{_TORN}{random_id(checkpoint_name)}"
        try:
            torn.mkdir()
            self._write(torn, data, reason, total_units, above)
            self.discard(final)
            torn.rename(final)
        except BaseException:
            shutil.rmtree(torn, ignore_errors=True)
            raise
        fsync_directory(parent)
        self._durable.add(parent)
        for writer in data.files.values():
            writer.staged()
        return final

    def _write(
        self, torn: Path, data: CheckpointData, reason: CheckpointReason, total_units: int, above: set[Path]
    ) -> None:
        """Write everything and make it durable, with the names in the directories ``above``."""
        index = _Index(
            unit=data.unit,
            total_units=total_units,
            reason=reason,
            files=tuple(_write_files(torn, data)),
            kept=data.kept,
            fingerprint=dict(data.fingerprint),
            summary=data.summary,
        )
        (torn / INDEX_FILE).write_bytes(canonical_json(index.model_dump(mode="json")))
        names = (*(file.name for file in index.files), INDEX_FILE)
        fsync_together([torn / name for name in names], [torn, *above], self._syncing)

    def _create(self, parent: Path) -> set[Path]:
        """Create an operation's directory; return which directories have to be fsynced for its name."""
        if parent in self._durable and parent.is_dir():
            return set()
        # Whoever made it before may have died too early.
        return {*create_directory(parent), parent.parent}

    def load(self, directory: Path) -> StagedCheckpoint:
        """Return a staged checkpoint, every file verified and its digest computed in one pass.

        Raises:
            CheckpointNotFoundError: nothing is staged there.
            CheckpointDamagedError: the index or files are damaged; every one is named.
        """
        index = _read_index(directory)
        files: list[ArtifactReference] = []
        problems: list[Problem] = []
        for file in index.files:
            found = _verified(directory, file)
            if isinstance(found, Problem):
                problems.append(found)
            else:
                files.append(found)
        if problems:
            raise CheckpointDamagedError(problems=problems)
        return StagedCheckpoint(
            directory=directory,
            unit=index.unit,
            total_units=index.total_units,
            reason=index.reason,
            files=tuple(files),
            kept=index.kept,
            fingerprint=index.fingerprint,
            summary=index.summary,
        )

    def directory(self, operation_id: str, checkpoint_name: str) -> Path:
        """Return where the checkpoint of that name is, or would be."""
        return self._root / _token(operation_id) / _token(checkpoint_name)

    def pending(self, operation_id: str) -> tuple[Path, ...]:
        """Return the directories of the complete checkpoints of an operation, sorted by name."""
        parent = self._root / _token(operation_id)
        if not parent.is_dir():
            return ()
        return tuple(sorted(path for path in parent.iterdir() if not path.name.startswith(_TORN)))

    def discard(self, directory: Path) -> None:
        """Remove a staged checkpoint; it is no error when it is gone already."""
        doomed = directory.with_name(f"{_TORN}{random_id(directory.name)}")
        try:
            directory.rename(doomed)  # gone at once: a half removed one never has the name
        except FileNotFoundError:
            return
        shutil.rmtree(doomed, ignore_errors=True)

    def remove_torn(self) -> int:
        """Remove what killed processes left half written; return how many.

        Call it at start, before anything writes here: it cannot tell a torn directory from one in progress.
        """
        torn = list(self._root.glob(f"*/{_TORN}*"))
        for path in torn:
            shutil.rmtree(path, ignore_errors=True)
        return len(torn)


def _write_files(torn: Path, data: CheckpointData) -> Iterator[_SpooledFile]:
    files: dict[str, FileWriter] = {STATE_FILE: _StateWriter(data.state), **data.files}
    for name, writer in files.items():
        measured = writer.write(torn / name) or measure_file(torn / name)
        yield _SpooledFile(
            name=name,
            proof=proof_of(measured),
            size_bytes=measured.size_bytes,
            media_type=writer.media_type,
        )


class _StateWriter(FileWriter):
    media_type = "application/json"

    def __init__(self, state: JsonObject) -> None:
        self._state = state

    def write(self, path: Path) -> FileDigest:
        content = canonical_json(self._state)
        path.write_bytes(content)
        return FileDigest(digest_of_bytes(content), len(content))


def _read_index(directory: Path) -> _Index:
    try:
        return _Index.model_validate_json((directory / INDEX_FILE).read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointNotFoundError(directory.name) from error
    except ValidationError as error:
        damage = Problem(field=INDEX_FILE, message="the index of the staged checkpoint is damaged")
        raise CheckpointDamagedError(problems=[damage]) from error


def _verified(directory: Path, file: _SpooledFile) -> ArtifactReference | Problem:
    """Return the reference of a spooled file, or what is wrong with it."""
    try:
        digest, checksum = measure_both(directory / file.name)
    except FileNotFoundError:
        return Problem(field=file.name, message="missing in the spool")
    if digest.size_bytes != file.size_bytes:
        return Problem(field=file.name, message=f"{digest.size_bytes} bytes instead of {file.size_bytes}")
    found = {digest.digest, checksum.checksum}
    if file.proof not in found:
        return Problem(
            field=file.name, message=f"the bytes are {' and '.join(sorted(found))}, not {file.proof}"
        )
    return ArtifactReference(
        name=file.name, digest=digest.digest, size_bytes=digest.size_bytes, media_type=file.media_type
    )


def _check_names(data: CheckpointData) -> None:
    names = [STATE_FILE, INDEX_FILE, *data.files, *(reference.name for reference in data.kept)]
    for name in names:
        if not name or name.startswith(".") or "/" in name or "\\" in name:
            raise ValueError(f"not a file name for an artifact: {name!r}")
        if names.count(name) > 1:
            raise ValueError(f"two artifacts of one checkpoint are called {name!r}")


def _token(value: str) -> str:
    if not _TOKEN.match(value):
        raise ValueError(f"not an id of letters, digits, '-' and '_': {value!r}")
    return value
