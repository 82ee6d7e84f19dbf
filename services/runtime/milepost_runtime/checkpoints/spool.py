"""The local spool: where a checkpoint first becomes durable, as one directory that is whole or absent.

States of a staged checkpoint: absent -> being written (a hidden directory) -> complete (renamed) -> discarded
(renamed away, then removed). Authority: only the rename makes it exist; before it every file, the index and the
directory are fsynced. Failures: a kill at any moment leaves either nothing under the name or the whole checkpoint,
plus a hidden directory that ``remove_torn`` clears when the next process starts.

Layout: ``<root>/<operation id>/<checkpoint name>/`` with ``state.json``, the files, and the index
``checkpoint.json`` that lists digests and sizes.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.checkpoints import CheckpointReason
from milepost_contracts.failures import Problem
from milepost_contracts.ids import TOKEN_PATTERN
from milepost_contracts.model import ContractModel, JsonObject, Unit
from pydantic import ValidationError

from milepost_runtime.checkpoints.data import STATE_FILE, CheckpointData, FileWriter, StagedCheckpoint
from milepost_runtime.clock import random_id
from milepost_runtime.digests import canonical_json, measure_file
from milepost_runtime.errors import ArtifactDamagedError, CheckpointDamagedError, CheckpointNotFoundError
from milepost_runtime.store import transfer
from milepost_runtime.store.durable import fsync_directory, fsync_file, make_directory, write_durably

INDEX_FILE = "checkpoint.json"
_TORN = "."
"""Names of directories that are being written or removed begin so; checkpoint names cannot."""
_TOKEN = re.compile(TOKEN_PATTERN)


class _Index(ContractModel):
    schema_version: Literal[1] = 1
    unit: Unit
    total_units: Unit
    reason: CheckpointReason
    files: tuple[ArtifactReference, ...]
    kept: tuple[ArtifactReference, ...]
    fingerprint: dict[str, str]
    summary: JsonObject


class Spool:
    """Staged checkpoints under one directory; one process writes an operation, another may read it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def stage(
        self,
        operation_id: str,
        checkpoint_name: str,
        data: CheckpointData,
        *,
        reason: CheckpointReason,
        total_units: int,
    ) -> StagedCheckpoint:
        """Write a checkpoint; when this returns it survives a kill and a power cut.

        A complete one of the same name is replaced.

        Raises:
            ValueError: a name is unusable or used twice, or the state does not fit JSON exactly.
            OSError: the disk refuses; nothing is left under the name.
        """
        parent = self._root / _token(operation_id)
        final = parent / _token(checkpoint_name)
        _check_names(data)
        make_directory(parent)
        torn = parent / f"{_TORN}{random_id(checkpoint_name)}"
        try:
            torn.mkdir()
            staged = _write(torn, final, data, reason, total_units)
            self.discard(final)
            torn.rename(final)
        except BaseException:
            shutil.rmtree(torn, ignore_errors=True)
            raise
        fsync_directory(parent)
        for writer in data.files.values():
            writer.staged()
        return staged

    def load(self, directory: Path) -> StagedCheckpoint:
        """Return a staged checkpoint, every file verified.

        Raises:
            CheckpointNotFoundError: nothing is staged there.
            CheckpointDamagedError: the index or files are damaged; every one is named.
        """
        index = _read_index(directory)
        problems = [problem for file in index.files for problem in _problems_of(directory, file)]
        if problems:
            raise CheckpointDamagedError(problems=problems)
        return _staged(directory, index)

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


def _write(
    torn: Path, final: Path, data: CheckpointData, reason: CheckpointReason, total_units: int
) -> StagedCheckpoint:
    index = _Index(
        unit=data.unit,
        total_units=total_units,
        reason=reason,
        files=tuple(_write_files(torn, data)),
        kept=data.kept,
        fingerprint=dict(data.fingerprint),
        summary=data.summary,
    )
    # fsyncs the directory as well, and with it the names of the files.
    write_durably(torn / INDEX_FILE, canonical_json(index.model_dump(mode="json")))
    return _staged(final, index)


def _write_files(torn: Path, data: CheckpointData) -> Iterator[ArtifactReference]:
    files: dict[str, FileWriter] = {STATE_FILE: _StateWriter(data.state), **data.files}
    for name, writer in files.items():
        path = torn / name
        measured = writer.write(path)
        fsync_file(path)
        if measured is None:
            measured = measure_file(path)
        yield ArtifactReference(
            name=name,
            digest=measured.digest,
            size_bytes=measured.size_bytes,
            media_type=writer.media_type,
        )


class _StateWriter(FileWriter):
    media_type = "application/json"

    def __init__(self, state: JsonObject) -> None:
        self._state = state

    def write(self, path: Path) -> None:
        path.write_bytes(canonical_json(self._state))


def _read_index(directory: Path) -> _Index:
    try:
        return _Index.model_validate_json((directory / INDEX_FILE).read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointNotFoundError(directory.name) from error
    except ValidationError as error:
        damage = Problem(field=INDEX_FILE, message="the index of the staged checkpoint is damaged")
        raise CheckpointDamagedError(problems=[damage]) from error


def _problems_of(directory: Path, file: ArtifactReference) -> Iterator[Problem]:
    try:
        transfer.compare(measure_file(directory / file.name), file)
    except FileNotFoundError:
        yield Problem(field=file.name, message="missing in the spool")
    except ArtifactDamagedError as error:
        yield Problem(field=file.name, message=error.detail)


def _staged(directory: Path, index: _Index) -> StagedCheckpoint:
    return StagedCheckpoint(
        directory=directory,
        unit=index.unit,
        total_units=index.total_units,
        reason=index.reason,
        files=index.files,
        kept=index.kept,
        fingerprint=index.fingerprint,
        summary=index.summary,
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
