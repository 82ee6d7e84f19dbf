"""A log of any size, written straight into the JetStream stream: many ended operations and many that run.

Real events in their wire form, made once as templates; of each operation only ids, times and units differ.
Operations overlap as they would on ``side_by_side`` workers, so the events of neighbours stand between each other.
Appends expect nothing and carry no message id: one writer, and the server keeps no window of ids.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from milepost_contracts.events import CheckpointRecorded, Event, Progress, Requested, StateSnapshot
from milepost_contracts.messages import encode, envelop_event
from milepost_contracts.subjects import Subjects
from milepost_runtime.bus.connection import connect
from milepost_runtime.bus.topology import ensure_topology
from milepost_runtime.settings import BusSettings

from tests.orchestrator.stories import (
    EPOCH,
    claimed,
    completed,
    failed,
    recorded_checkpoint,
    requested,
    snapshot,
    started,
)
from tests.support.bulk_publisher import publish_all

ID = "op-NNNNNNNN"
TIME = EPOCH.isoformat().replace("+00:00", "Z")
UNIT = 7_777_777
CHECKPOINT = "cp-CCCCCCCC"


class GeneratedEvent(NamedTuple):
    """One message."""

    subject: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class LogPlan:
    """How large; every count is of operations unless it says otherwise."""

    finished: int
    running: int
    progress: int
    """Progress events of each operation."""
    side_by_side: int = 64

    @property
    def operations(self) -> int:
        return self.finished + self.running

    @property
    def events(self) -> int:
        return self.finished * (6 + self.progress) + self.running * (5 + self.progress)


class _Template:
    def __init__(self, event: Event, prefix: str) -> None:
        envelope = envelop_event(
            event, event_id=f"{ID}-{event.NAME}-{UNIT}", operation_id=ID, source="/worker/w-1", time=EPOCH
        )
        self._payload = encode(envelope)
        self._subject = Subjects(prefix).event(ID, type(event))
        assert TIME.encode() in self._payload

    def event(self, operation_id: str, time: str, unit: int) -> GeneratedEvent:
        payload = self._payload.replace(ID.encode(), operation_id.encode())
        payload = payload.replace(TIME.encode(), time.encode()).replace(b"%d" % UNIT, b"%d" % unit)
        return GeneratedEvent(self._subject.replace(ID, operation_id), payload)


class _Templates:
    def __init__(self, prefix: str, kind: str) -> None:
        progress = Progress(
            attempt=1, unit=UNIT, total_units=9_999_999, units_per_second=812.5, metrics={"loss": 0.125}
        )
        saved: StateSnapshot = snapshot(f"cp-{ID}", UNIT)
        asked: Requested = requested(
            ID, kind=kind, name=f"nightly {ID}", spec={"units": 100, "text": "x" * 300}
        )
        recorded: CheckpointRecorded = recorded_checkpoint(f"cp-{ID}")
        self.requested, self.claimed, self.started, self.progress, self.snapshot = (
            _Template(event, prefix) for event in (asked, claimed(), started(), progress, saved)
        )
        self.recorded = _Template(recorded, prefix)
        self.ends = [_Template(event, prefix) for event in (completed(), completed(), failed())]


def generate(plan: LogPlan, prefix: str) -> Iterator[GeneratedEvent]:
    """Yield the events in the order of the log; those that run come last and all overlap."""
    kinds = [_Templates(prefix, kind) for kind in ("backtest", "training")]
    ended = (_story(kinds[number % 2], number, plan, ended=True) for number in range(plan.finished))
    yield from _side_by_side(ended, plan.side_by_side)
    numbers = range(plan.finished, plan.operations)
    running = (_story(kinds[number % 2], number, plan, ended=False) for number in numbers)
    yield from _side_by_side(running, plan.running)


async def write_log(settings: BusSettings, plan: LogPlan) -> int:
    """Make the JetStream streams, write all events and return how many."""
    connection = await connect(settings, name="generator")
    try:
        await ensure_topology(connection, settings)
    finally:
        await connection.close()
    return await publish_all(settings.url, generate(plan, settings.prefix))


class LiveEvents:
    """What happens to operations of a generated log that run, one event at a time."""

    def __init__(self, prefix: str) -> None:
        self._templates = _Templates(prefix, "training")

    def progress(self, operation_id: str, unit: int, time: datetime) -> GeneratedEvent:
        return self._templates.progress.event(operation_id, _written(time), unit)

    def claimed(self, operation_id: str, time: datetime) -> GeneratedEvent:
        return self._templates.claimed.event(operation_id, _written(time), 0)


def _written(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def long_story(
    prefix: str, operation_id: str, events: int, *, progress_between: int
) -> Iterator[GeneratedEvent]:
    """Yield the events of one operation that runs: progress, and a checkpoint of its own name now and then."""
    templates = _Templates(prefix, "training")
    snapshots = (
        _Template(snapshot(CHECKPOINT, UNIT), prefix),
        _Template(recorded_checkpoint(CHECKPOINT), prefix),
    )
    time = EPOCH.isoformat().replace("+00:00", "Z")
    for template in (templates.requested, templates.claimed, templates.started):
        yield template.event(operation_id, time, 0)
    for number in range(events - 3):
        place = number % (progress_between + len(snapshots))
        if place < progress_between:
            yield templates.progress.event(operation_id, time, number)
            continue
        saved = snapshots[place - progress_between].event(operation_id, time, number)
        yield saved._replace(payload=saved.payload.replace(CHECKPOINT.encode(), b"cp-%d" % (number - place)))


def _story(templates: _Templates, number: int, plan: LogPlan, *, ended: bool) -> Iterator[GeneratedEvent]:
    operation_id = f"op-{number:08}"
    time = (EPOCH + timedelta(seconds=number)).isoformat().replace("+00:00", "Z")
    for template in (templates.requested, templates.claimed, templates.started):
        yield template.event(operation_id, time, 0)
    for unit in range(1, plan.progress + 1):
        yield templates.progress.event(operation_id, time, unit)
    yield templates.snapshot.event(operation_id, time, plan.progress)
    yield templates.recorded.event(operation_id, time, plan.progress)
    if ended:
        yield templates.ends[number % 3].event(operation_id, time, plan.progress)


def _side_by_side(stories: Iterator[Iterator[GeneratedEvent]], width: int) -> Iterator[GeneratedEvent]:
    """Yield one event of each of ``width`` stories in turn; one that has ended makes room for the next."""
    open_stories: list[Iterator[GeneratedEvent]] = []
    while True:
        while len(open_stories) < width and (story := next(stories, None)) is not None:
            open_stories.append(story)
        if not open_stories:
            return
        going_on: list[Iterator[GeneratedEvent]] = []
        for story in open_stories:
            event = next(story, None)
            if event is not None:
                yield event
                going_on.append(story)
        open_stories = going_on
