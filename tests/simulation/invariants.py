"""The invariants I1 to I13 of Milepost, checked on what the simulated servers hold.

``Watcher.look`` takes in what is new in the log and checks what must hold at any moment; ``Watcher.at_rest`` what
must hold once all faults have healed. Each check is named by its number.
"""

from dataclasses import dataclass, field

from milepost_contracts.events import (
    AttemptLost,
    Cancelled,
    CancelRequested,
    CheckpointDeleted,
    Claimed,
    Completed,
    Event,
    Failed,
    Progress,
    Released,
    Requested,
    Resumed,
    Side,
    Started,
    StateSnapshot,
)
from milepost_contracts.failures import FailureCode
from milepost_contracts.lineage import Relation
from milepost_contracts.verdicts import Accepted
from milepost_orchestrator.application.batch_projection import BatchProjection
from milepost_runtime.digests import digest_of_bytes
from milepost_runtime.event_log import LogEntry

from tests.simulation.counting import content, undisturbed
from tests.simulation.servers import Servers
from tests.simulation.stored import StoreWatcher
from tests.support.memory_rows import Rows

ENDS = (Cancelled, Completed, Failed)


@dataclass
class _Told:
    """One operation as its events have told it so far."""

    requested: Requested
    attempt: int = 0
    owner: str | None = None
    unit: int = 0
    """Of the newest progress of this attempt."""
    ends: list[Event] = field(default_factory=list[Event])
    cancel_requested: bool = False


class Watcher:
    """Looks at the log as it grows."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._stored = StoreWatcher(servers.base.store)
        self._operations: dict[str, _Told] = {}
        self._children: dict[str, list[Resumed]] = {}
        self._causes: dict[tuple[str, str], str] = {}
        self._seen = 0
        self.requests: dict[str, Requested] = {}
        """Also of children that are only announced."""

    def look(self) -> None:
        """Check everything that must hold at any moment."""
        for entry in self._servers.entries[self._seen :]:
            self._seen = entry.sequence
            self._stored.take(entry)
            self._take(entry)
        self._no_acknowledged_event_is_lost()
        self._lineage_has_no_cycle()
        self._stored.all_is_there()

    def all_ended(self) -> bool:
        """Whether every operation in the log has ended."""
        self.look()
        return all(told.ends for told in self._operations.values())

    async def at_rest(self) -> None:
        """Check what must hold once everything has healed and nobody does anything any more."""
        self.look()
        for operation_id, told in self._operations.items():
            assert told.ends, f"I12: {operation_id} was never claimed, or never ended"
            if told.cancel_requested:
                assert len(told.ends) == 1, f"I6: the cancel of {operation_id} ended {told.ends}"
        for children in self._children.values():
            for each in children:
                assert each.child_id in self._operations, f"I7: {each.child_id} was accepted and never made"
        await self._live_projection_is_the_rebuilt_one()
        self._stored.nothing_else_is_there()

    # --- while the log grows ---------------------------------------------------------------------

    def _take(self, entry: LogEntry) -> None:
        event, operation_id = entry.event, entry.operation_id
        told = self._operations.get(operation_id)
        if isinstance(event, Requested):
            assert told is None, f"I2: {operation_id} was requested twice"
            self._operations[operation_id] = _Told(event)
            self.requests[operation_id] = event
            return
        assert told is not None, f"I2: {event.NAME} of {operation_id}, which nobody has requested"
        if event.SIDE is Side.RUN:
            assert not told.ends, f"I5: {event.NAME} of {operation_id} after {told.ends[-1].NAME}"
            self._run_event(entry, told)
        elif isinstance(event, CancelRequested):
            told.cancel_requested = True
        elif isinstance(event, Resumed):
            self._resumed(entry, event)
        elif isinstance(event, CheckpointDeleted):
            self._nobody_needs(operation_id, event.checkpoint_id)

    def _run_event(self, entry: LogEntry, told: _Told) -> None:
        event, where = entry.event, f"{entry.operation_id} at {entry.sequence}"
        if isinstance(event, Claimed):
            assert event.attempt == told.attempt + 1, (
                f"I3: {where}: attempt {event.attempt} of {told.attempt}"
            )
            told.attempt, told.owner, told.unit = event.attempt, entry.envelope.source, 0
        elif isinstance(event, AttemptLost):
            assert event.attempt == told.attempt, f"I3: {where}: lost {event.attempt} of {told.attempt}"
            told.owner = None
        elif self._is_of_nobody(entry, told):
            told.ends.append(event)
        else:
            self._owners_event(entry, told)

    @staticmethod
    def _is_of_nobody(entry: LogEntry, told: _Told) -> bool:
        """An end that is not the owner's: by an orchestrator, or by a worker that found too many lost."""
        event = entry.event
        if isinstance(event, Cancelled):
            return entry.envelope.source.startswith("/orchestrator/")
        exhausted = isinstance(event, Failed) and event.failure.code is FailureCode.ATTEMPTS_EXHAUSTED
        return exhausted and entry.envelope.source != told.owner

    def _owners_event(self, entry: LogEntry, told: _Told) -> None:
        event, where = entry.event, f"{entry.operation_id} at {entry.sequence}"
        assert entry.envelope.source == told.owner, f"I3: {where}: {event.NAME} is not of {told.owner}"
        assert getattr(event, "attempt", None) == told.attempt, (
            f"I3: {where}: {event.NAME} of a replaced owner"
        )
        match event:
            case Started() | Progress():
                assert event.unit >= told.unit, f"I11: {where}: {event.unit} after {told.unit}"
                told.unit = event.unit
            case StateSnapshot():
                (artifact,) = event.artifacts
                self._is_undisturbed(entry.operation_id, event.unit, artifact.digest)
            case Released():
                told.owner = None
            case Completed():
                told.ends.append(event)
                (artifact,) = event.artifacts
                self._is_undisturbed(entry.operation_id, event.unit, artifact.digest)
            case Cancelled() | Failed():
                told.ends.append(event)
            case _:
                raise AssertionError(f"I2: {where}: {event.NAME}")

    def _is_undisturbed(self, operation_id: str, unit: int, digest: str) -> None:
        state = undisturbed(self.requests.__getitem__, operation_id, unit)
        assert digest == digest_of_bytes(content(unit, state)), f"I9: {operation_id} differs at {unit}"

    def _resumed(self, entry: LogEntry, event: Resumed) -> None:
        cause = (entry.operation_id, entry.envelope.causationid or "")
        assert cause not in self._causes, f"I7: {cause} made {event.child_id} and {self._causes[cause]}"
        self._causes[cause] = event.child_id
        known = self._children.setdefault(entry.operation_id, [])
        if event.relation is not Relation.FORK:
            for each in known:
                child = self._operations.get(each.child_id)
                ended = child is not None and child.ends
                assert each.relation is Relation.FORK or ended, (
                    f"I7: {entry.operation_id} has two live children"
                )
        known.append(event)
        self.requests.setdefault(event.child_id, event.child)

    def _nobody_needs(self, operation_id: str, checkpoint_id: str) -> None:
        what = f"I13: {checkpoint_id} was deleted under"
        assert self._operations[operation_id].ends, f"{what} {operation_id}, which has not ended"
        for each in self._children.get(operation_id, ()):
            child = self._operations.get(each.child_id)
            ended = child is not None and child.ends
            assert ended, f"{what} {each.child_id}, which goes on from it"

    # --- what there is -----------------------------------------------------------------------------

    def _no_acknowledged_event_is_lost(self) -> None:
        entries = self._servers.entries
        for event_id, sequence in self._servers.network.acknowledged.items():
            assert entries[sequence - 1].envelope.id == event_id, f"I1: {event_id} is not at {sequence}"
        causes = {each.envelope.causationid for each in entries}
        causes |= {each.envelope.causationid for each in self._servers.base.records.records}
        for command_id, verdicts in self._servers.verdicts.by_command.items():
            if any(isinstance(each, Accepted) for each in verdicts):
                assert command_id in causes, f"I1: {command_id} was accepted and left no event"

    def _lineage_has_no_cycle(self) -> None:
        for operation_id, told in self._operations.items():
            seen, at = {operation_id}, told.requested.parent_id
            while at is not None:
                assert at not in seen, f"I8: {operation_id} comes from itself"
                seen.add(at)
                parent = self._operations[at]
                assert parent.requested.root_id == told.requested.root_id, f"I8: {at} has another root"
                at = parent.requested.parent_id

    async def _live_projection_is_the_rebuilt_one(self) -> None:
        if not self._servers.entries:
            return
        rebuilt = Rows()
        rebuilt.take(await BatchProjection(self._servers.base.event_log, rebuilt).fold(self._servers.entries))
        live = self._servers.rows
        assert live.cursor_sequence == rebuilt.cursor_sequence, "I10: the projection stopped"
        for table in {*live.tables, *rebuilt.tables}:
            one, other = live.tables.get(table, {}), rebuilt.tables.get(table, {})
            assert one == other, f"I10: {table} differs when it is built anew"
