"""What a checkpoint is made of, before it is saved and after it is loaded."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.checkpoints import CheckpointReason
from milepost_contracts.model import JsonObject

from milepost_runtime.checksums import FileChecksum
from milepost_runtime.digests import FileDigest

STATE_FILE = "state.json"


@dataclass(frozen=True, slots=True)
class CheckpointData:
    """What ``build_checkpoint_data`` returns: everything needed to go on from one unit boundary.

    ``state`` becomes the artifact ``state.json``. ``files`` are written by calling each writer with the path
    to write to, in a background thread: what they hold must not change any more. ``kept`` are artifacts of
    earlier checkpoints that this one refers to again (segments of a growing log), already in the store.
    """

    unit: int
    state: JsonObject
    files: Mapping[str, "FileWriter"] = field(default_factory=dict[str, "FileWriter"])
    kept: tuple[ArtifactReference, ...] = ()
    fingerprint: Mapping[str, str] = field(default_factory=dict[str, str])
    summary: JsonObject = field(default_factory=JsonObject)

    def complete(self) -> "CheckpointData":
        """Return itself; see ``DeferredData``."""
        return self


@dataclass(frozen=True, slots=True)
class DeferredData:
    """The same, put together by the background thread: ``complete`` is called there once, before anything else.

    For a kind whose computing thread should stand still as short as possible: what ``complete`` looks at must not
    change any more. What it raises is an error of writing.
    """

    unit: int
    complete: Callable[[], CheckpointData]


SaveData: TypeAlias = CheckpointData | DeferredData


class FileWriter:
    """Writes one artifact file; ``write`` is called once, from a background thread."""

    media_type: str = "application/octet-stream"

    def write(self, path: Path) -> FileDigest | FileChecksum | None:
        """Write the bytes to ``path``; the spool makes them durable.

        Returns what was written when the writer has computed it on the way, so that nobody reads the file again:
        a checksum is enough.
        """
        raise NotImplementedError

    def staged(self) -> None:
        """The whole checkpoint is durable in the spool; before that it may still vanish, with this file."""

    def stored(self, reference: ArtifactReference) -> None:
        """The checkpoint is in the log and this file in the store: later ones may keep it. From another thread."""


@dataclass(frozen=True, slots=True)
class LoadedCheckpoint:
    """A checkpoint whose every byte was verified, as files in a local directory."""

    unit: int
    directory: Path
    artifacts: tuple[ArtifactReference, ...]
    fingerprint: Mapping[str, str]
    checksums: Mapping[str, str] = field(default_factory=dict[str, str])
    """By name, taken when the digest was verified: who reads a file later compares this, which is faster."""

    def state(self) -> JsonObject:
        """Return the content of ``state.json``."""
        return json.loads((self.directory / STATE_FILE).read_bytes())

    def path(self, name: str) -> Path:
        """Return the path of the artifact called ``name``."""
        return self.directory / name

    def references(self, prefix: str) -> tuple[ArtifactReference, ...]:
        """Return the artifacts whose name starts with ``prefix``, sorted by name."""
        return tuple(sorted((a for a in self.artifacts if a.name.startswith(prefix)), key=lambda a: a.name))


@dataclass(frozen=True, slots=True)
class StagedCheckpoint:
    """A checkpoint that lies complete and durable in the local spool, every file verified."""

    directory: Path
    unit: int
    total_units: int
    reason: CheckpointReason
    files: tuple[ArtifactReference, ...]
    """Digests and sizes of the new files in ``directory``."""
    kept: tuple[ArtifactReference, ...]
    fingerprint: Mapping[str, str]
    summary: JsonObject
