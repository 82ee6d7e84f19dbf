"""What in the store is needed: everything that the log, the read models or the catalogue of datasets refers to.

Authority: an object is needed when any of the three says so; the read models know operations whose events were
moved away from the log. Failures: an event or a catalogue entry that cannot be read: the whole answer is refused,
for what they refer to is unknown.
"""

from collections.abc import AsyncIterable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from milepost_contracts.artifacts import ArtifactReference, manifest_key
from milepost_contracts.checkpoints import CheckpointOrigin
from milepost_contracts.events import (
    Cancelled,
    CheckpointDeleted,
    Completed,
    Event,
    Failed,
    Requested,
    Resumed,
    StateSnapshot,
)
from milepost_runtime.event_log import LogEntry

REFERRING_EVENTS: tuple[type[Event], ...] = (
    Requested,
    Resumed,
    StateSnapshot,
    CheckpointDeleted,
    Completed,
    Cancelled,
    Failed,
)
_Digests = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Needed:
    """Objects that must stay."""

    digests: frozenset[bytes]
    """The 32 bytes of each artifact's SHA-256: there may be millions."""
    manifests: frozenset[str]
    """Keys."""
    operations: frozenset[str]
    """Every operation that is known."""


class RecordedReferences(Protocol):
    """What the read models refer to; raises ``DatabaseUnavailableError`` when they are away."""

    async def needed(self) -> Needed:
        """Return it all."""
        ...


def digest_bytes(digest: str) -> bytes:
    """Return the 32 bytes of ``sha256:<hexadecimal digits>``, or of the digits alone."""
    return bytes.fromhex(digest.rpartition(":")[2])


async def needed_by_events(entries: AsyncIterable[LogEntry]) -> Needed:
    """Return what the events refer to; they come in order, of the types ``REFERRING_EVENTS``."""
    found = _Found()
    async for entry in entries:
        found.take(entry.operation_id, entry.event)
    return found.needed()


@dataclass(slots=True)
class _Found:
    """What is referred to so far: what is deleted, or over, is taken out again."""

    always: set[bytes] = field(default_factory=set[bytes])
    """Inputs and results."""
    checkpoints: dict[tuple[str, str], _Digests] = field(default_factory=dict[tuple[str, str], _Digests])
    origins: dict[str, _Digests] = field(default_factory=dict[str, _Digests])
    """Of operations that have not ended: also a checkpoint that was deleted must not go under them."""
    operations: set[str] = field(default_factory=set[str])

    def take(self, operation_id: str, event: Event) -> None:
        self.operations.add(operation_id)
        match event:
            case Requested():
                self._begin(operation_id, event)
            case Resumed():
                if event.child_id not in self.operations:  # only announced so far
                    self._begin(event.child_id, event.child)
            case StateSnapshot():
                self.checkpoints[operation_id, event.checkpoint_id] = _digests(event.artifacts)
            case CheckpointDeleted():
                self.checkpoints.pop((operation_id, event.checkpoint_id), None)
            case Completed():
                self.always.update(_digests(event.artifacts))
                self.origins.pop(operation_id, None)
            case Cancelled() | Failed():
                self.origins.pop(operation_id, None)
            case _:
                pass

    def needed(self) -> Needed:
        held = (*self.checkpoints.values(), *self.origins.values())
        return Needed(
            digests=frozenset(self.always.union(*held)),
            manifests=frozenset(manifest_key(*place) for place in self.checkpoints),
            operations=frozenset(self.operations),
        )

    def _begin(self, operation_id: str, requested: Requested) -> None:
        self.always.update(_digests(requested.inputs))
        self.origins[operation_id] = _of_origin(requested.origin)


def _of_origin(origin: CheckpointOrigin | None) -> _Digests:
    return _digests(origin.artifacts) if origin is not None else ()


def _digests(artifacts: Iterable[ArtifactReference]) -> _Digests:
    return tuple(digest_bytes(artifact.digest) for artifact in artifacts)
