"""The files of a training's checkpoint: each part of the state a safetensors file; never pickle."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.failures import Problem
from milepost_contracts.model import JsonObject
from milepost_runtime.checkpoints.data import STATE_FILE, FileWriter, LoadedCheckpoint
from milepost_runtime.digests import FileDigest, measure_file
from milepost_runtime.errors import CheckpointDamagedError
from torch import Tensor

from milepost_trainer.captures import Capture, Captures
from milepost_trainer.engine.state import Layout, TrainerState
from milepost_trainer.kept_parts import MEDIA_TYPE, KeptParts, PartForms
from milepost_trainer.state_parts import PREFIXES, PartName, file_of, split, with_keys
from milepost_trainer.tensor_files.layout import Form, TensorFileError, forms_of
from milepost_trainer.tensor_files.reading import TensorFile
from milepost_trainer.tensor_files.writing import Pace, write_blocks, write_tensors

READERS_MAX = 3


@dataclass(frozen=True, slots=True)
class StateFiles:
    """What a checkpoint of one state is made of."""

    files: Mapping[str, FileWriter]
    kept: tuple[ArtifactReference, ...]


@dataclass(frozen=True, slots=True)
class _PartSource:
    """Where the bytes of one part come from."""

    forms: Mapping[str, Form]
    write: Callable[[Path], FileDigest]
    hold: Callable[[], Callable[[], None]]
    """Keeps the bytes as they are until the returned function is called."""


class PartWriter(FileWriter):
    """Writes one part; then says that it needs its memory no more, and once all is durable what it wrote."""

    media_type = MEDIA_TYPE

    def __init__(
        self,
        write: Callable[[Path], FileDigest],
        *,
        release: Callable[[], None],
        written: Callable[[FileDigest], None],
    ) -> None:
        self._write = write
        self._release = release
        self._written = written
        self._measured: FileDigest | None = None

    def write(self, path: Path) -> FileDigest:
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
        if self._measured is not None:
            self._written(self._measured)


def files_of_capture(capture: Capture, kept: KeptParts, pace: Pace) -> StateFiles:
    """Return writers of a capture: of its arenas, as they are, and of what nothing changes."""
    sources: dict[PartName, _PartSource] = {}
    for part, forms in capture.forms.items():
        write = partial(_write_arena, capture, part, pace=pace)
        sources[part] = _PartSource(forms, write, capture.arena_set.hold)
    for part, tensors in capture.loose.items():
        sources[part] = _PartSource(
            forms_of(tensors), partial(_write_loose, tensors, pace=pace), lambda: _nothing
        )
    return _files_of(capture.values, sources, kept)


def files_of_live(state: TrainerState, captures: Captures, kept: KeptParts, pace: Pace) -> StateFiles:
    """Return writers of live memory, for a run that ends at this boundary."""
    sources: dict[PartName, _PartSource] = {
        part: _PartSource(forms_of(tensors), partial(_write_loose, tensors, pace=pace), captures.hold_live)
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
        files[file_of(part)] = PartWriter(
            source.write, release=source.hold(), written=partial(kept.remember, values, all_forms, part)
        )
    return StateFiles(files, tuple(references))


def _write_arena(capture: Capture, part: PartName, path: Path, *, pace: Pace) -> FileDigest:
    capture.wait()
    arena = capture.arena_set.arenas[part]
    return write_blocks(path, arena.blocks(), arena.size_bytes, pace)


def _write_loose(tensors: Mapping[str, Tensor], path: Path, *, pace: Pace) -> FileDigest:
    return write_tensors(path, tensors, pace)


def _write_again(path: Path) -> FileDigest:
    raise RuntimeError(f"{path.name} was written already")


def _nothing() -> None:
    """Nothing holds these tensors."""


class CheckpointTensors:
    """Implements ``TensorSource`` over the files of a loaded checkpoint, and checks their digests."""

    def __init__(self, checkpoint: LoadedCheckpoint) -> None:
        """Read the headers.

        Raises:
            CheckpointDamagedError: a file is missing or unreadable; every one is named.
        """
        self._files: dict[PartName, tuple[ArtifactReference, TensorFile]] = {}
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
        # Files at the same time: computing the digests takes longer than reading.
        with ThreadPoolExecutor(max_workers=READERS_MAX, thread_name_prefix="reader") as readers:
            reading = [readers.submit(self._read_part, *item) for item in split(tensors).items()]
        for read in reading:
            read.result()

    def _read_part(self, part: PartName, wanted: Mapping[str, Tensor]) -> None:
        reference, file = self._files[part]
        # The digest is of the whole file, so what nobody wants of it is read as well.
        others = {
            name: torch.empty(shape, dtype=dtype)
            for name, (shape, dtype) in file.layout.forms().items()
            if name not in wanted
        }
        try:
            measured = file.read_into({**wanted, **others})
        except (OSError, TensorFileError) as error:
            raise _damaged(reference, str(error)) from error
        if measured != FileDigest(reference.digest, reference.size_bytes):
            raise _damaged(reference, f"its bytes are {measured.digest}, not {reference.digest}")

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


def _damaged(reference: ArtifactReference, message: str) -> CheckpointDamagedError:
    return CheckpointDamagedError(problems=[Problem(field=reference.name, message=message)])
