"""The files of a training's checkpoint: each part of the state a safetensors file; never pickle."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import torch
from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.failures import Problem
from milepost_contracts.model import JsonObject
from milepost_runtime.checkpoints.data import STATE_FILE, FileWriter, LoadedCheckpoint
from milepost_runtime.checksums import FileChecksum, RunningChecksum, proof_of
from milepost_runtime.digests import FileDigest, RunningDigest, measure_file
from milepost_runtime.errors import CheckpointDamagedError
from torch import Tensor

from milepost_trainer.captures import Capture, Captures
from milepost_trainer.engine.state import Layout, TrainerState
from milepost_trainer.kept_parts import MEDIA_TYPE, KeptParts, PartForms, lasting_content
from milepost_trainer.state_parts import PREFIXES, PartName, file_of, split, with_keys
from milepost_trainer.tensor_files.layout import Form, TensorFileError, forms_of
from milepost_trainer.tensor_files.measuring import Measured, Measuring
from milepost_trainer.tensor_files.reading import TensorFile, Wanted, read_files
from milepost_trainer.tensor_files.writing import Pace, write_blocks, write_tensors


@dataclass(frozen=True, slots=True)
class StateFiles:
    """What a checkpoint of one state is made of."""

    files: Mapping[str, FileWriter]
    kept: tuple[ArtifactReference, ...]


class _Write(Protocol):
    def __call__(self, path: Path, *, measuring: Measuring) -> Measured: ...


class _PartSource(NamedTuple):
    """Where the bytes of one part come from."""

    forms: Mapping[str, Form]
    write: _Write
    hold: Callable[[], Callable[[], None]]
    """Keeps the bytes as they are until the returned function is called."""


class PartWriter(FileWriter):
    """Writes one part; then says that it needs its memory no more, and once all is durable what it wrote."""

    media_type = MEDIA_TYPE

    def __init__(
        self,
        write: Callable[[Path], Measured],
        *,
        release: Callable[[], None],
        written: Callable[[FileDigest], None],
    ) -> None:
        self._write = write
        self._release = release
        self._written = written
        self._measured: Measured | None = None

    def write(self, path: Path) -> Measured:
        """Write the file; the same tensors give the same bytes."""
        try:
            measured = self._write(path)
        finally:
            self._release()
            self._write, self._release = _write_again, _nothing  # they hold the memory
        self._measured = measured
        return measured

    def staged(self) -> None:
        """Later checkpoints may refer to the file: it cannot vanish with a checkpoint that was not finished."""
        if isinstance(self._measured, FileDigest):
            self._written(self._measured)


def files_of_capture(capture: Capture, kept: KeptParts, pace: Pace) -> StateFiles:
    """Return writers of a capture: of its arenas, as they are, and of what nothing changes."""
    sources: dict[PartName, _PartSource] = {}
    for part, forms in capture.forms.items():
        sources[part] = _PartSource(forms, partial(_write_arena, capture, part, pace), capture.arena_set.hold)
    for part, tensors in capture.settled.items():
        sources[part] = _PartSource(forms_of(tensors), partial(_write_loose, tensors, pace), lambda: _nothing)
    # Random states become tensors only when they are written, by another thread.
    sources["rest"] = _PartSource({}, partial(_write_rest, capture, pace), lambda: _nothing)
    return _files_of(capture.values, sources, kept)


def files_of_live(state: TrainerState, captures: Captures, kept: KeptParts, pace: Pace) -> StateFiles:
    """Return writers of live memory, for a run that ends at this boundary."""
    sources: dict[PartName, _PartSource] = {
        part: _PartSource(forms_of(tensors), partial(_write_loose, tensors, pace), captures.hold_live)
        for part, tensors in split(state.tensors).items()
    }
    return _files_of(state.values, sources, kept)


def _files_of(
    values: Mapping[str, Any], sources: Mapping[PartName, _PartSource], kept: KeptParts
) -> StateFiles:
    files: dict[str, FileWriter] = {}
    references: list[ArtifactReference] = []
    all_forms: PartForms = {part: source.forms for part, source in sources.items()}
    for part, source in sources.items():
        known = kept.find(values, part, source.forms)
        if known is not None:
            references.append(known)
            continue
        # Only what later checkpoints may refer to needs its digest here; the host computes those of all files.
        lasting = lasting_content(values, all_forms, part) is not None
        files[file_of(part)] = PartWriter(
            partial(source.write, measuring=RunningDigest if lasting else RunningChecksum),
            release=source.hold(),
            written=partial(kept.remember, values, all_forms, part),
        )
    return StateFiles(files, tuple(references))


def _write_arena(
    capture: Capture, part: PartName, pace: Pace, path: Path, *, measuring: Measuring
) -> Measured:
    return write_blocks(path, capture.blocks(part), capture.size_bytes(part), pace, measuring)


def _write_rest(capture: Capture, pace: Pace, path: Path, *, measuring: Measuring) -> Measured:
    return write_tensors(path, capture.rest(), pace, measuring)


def _write_loose(tensors: Mapping[str, Tensor], pace: Pace, path: Path, *, measuring: Measuring) -> Measured:
    return write_tensors(path, tensors, pace, measuring)


def _write_again(path: Path) -> Measured:
    raise RuntimeError(f"{path.name} was written already")


def _nothing() -> None:
    """Nothing holds these tensors."""


class CheckpointTensors:
    """Implements ``TensorSource`` over the files of a loaded checkpoint, and checks every byte."""

    def __init__(self, checkpoint: LoadedCheckpoint) -> None:
        """Read the headers.

        Raises:
            CheckpointDamagedError: a file is missing or unreadable; every one is named.
        """
        self._files: dict[PartName, tuple[ArtifactReference, TensorFile]] = {}
        self._checksums = checkpoint.checksums
        problems: list[Problem] = []
        references = {reference.name: reference for reference in checkpoint.artifacts}
        for part in PREFIXES:
            reference = references.get(file_of(part))
            if reference is None:
                continue
            try:
                self._files[part] = reference, TensorFile.open(checkpoint.path(reference.name))
            except (OSError, TensorFileError) as error:
                problems.append(Problem(field=reference.name, message=str(error)))
        if problems:
            raise CheckpointDamagedError(problems=problems)

    def layout(self) -> Layout:
        """Return what there is to read."""
        found: dict[str, Form] = {}
        for part, (_, file) in self._files.items():
            found |= with_keys(part, file.layout.forms())
        return found

    def read_into(self, tensors: Mapping[str, Tensor]) -> None:
        """Fill these tensors straight from the files.

        Raises:
            CheckpointDamagedError: a file cannot be read, or its bytes are not those that were saved.
        """
        parts = split(tensors)
        wanted = [self._wanted(part, found) for part, found in parts.items()]
        problems: list[Problem] = []
        for part, read in zip(parts, read_files(wanted), strict=True):
            reference, _ = self._files[part]
            expected = self._expected(reference)
            if isinstance(read, Exception):
                problems.append(Problem(field=reference.name, message=str(read)))
            elif read != expected:
                words = f"its bytes are {proof_of(read)}, not {proof_of(expected)}"
                problems.append(Problem(field=reference.name, message=words))
        if problems:
            raise CheckpointDamagedError(problems=problems)

    def _expected(self, reference: ArtifactReference) -> Measured:
        """Return the checksum of the bytes whose digest was verified, else what the digest must be."""
        checksum = self._checksums.get(reference.name)
        if checksum is None:
            return FileDigest(reference.digest, reference.size_bytes)
        return FileChecksum(checksum, reference.size_bytes)

    def _wanted(self, part: PartName, tensors: Mapping[str, Tensor]) -> Wanted:
        """Return a file and all its tensors; those that nobody wants are read as well."""
        reference, file = self._files[part]
        others = {
            name: torch.empty(shape, dtype=dtype)
            for name, (shape, dtype) in file.layout.forms().items()
            if name not in tensors
        }
        is_digest = isinstance(self._expected(reference), FileDigest)
        return Wanted(file, {**tensors, **others}, RunningDigest if is_digest else RunningChecksum)

    def changed_files(self) -> list[Problem]:
        """Return which files are not what was saved; reads them all."""
        return [
            Problem(field=reference.name, message="its bytes are not those that were saved")
            for reference, file in self._files.values()
            if measure_file(file.path) != FileDigest(reference.digest, reference.size_bytes)
        ]

    def remember_in(self, kept: KeptParts, values: Mapping[str, Any]) -> None:
        """Tell which parts the store has already, of the state with these values."""
        forms: PartForms = {part: file.layout.forms() for part, (_, file) in self._files.items()}
        for part, (reference, _) in self._files.items():
            kept.remember(values, forms, part, FileDigest(reference.digest, reference.size_bytes))


def read_values(checkpoint: LoadedCheckpoint) -> JsonObject:
    """Return the plain values of a state.

    Raises:
        CheckpointDamagedError: they are missing, or no JSON object.
    """
    try:
        values: Any = checkpoint.state()
    except (OSError, ValueError) as error:
        raise CheckpointDamagedError(problems=[Problem(field=STATE_FILE, message=str(error))]) from error
    if not isinstance(values, dict):
        raise CheckpointDamagedError(problems=[Problem(field=STATE_FILE, message="it is no JSON object")])
    return cast("JsonObject", values)
