"""The order of the work queue: what was never given out waits by priority, then by age.

JetStream gives messages out in the order in which they were stored, so whatever must come later is taken out and
put in again behind. Authority: the messages themselves, each holds its priority; those that were given out once
keep their place, which is before all others. Failures: a message that a worker is given in that very moment comes
a second time, and whoever gets it finds its owner or its end in the log and gives it back or removes it; one that
was taken out and not put in again is put in by the sweeper. The cost grows with what waits before it, a few
milliseconds each.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass

from milepost_contracts.subjects import Subjects

from milepost_runtime.bus.connection import BusConnection
from milepost_runtime.bus.jetstream import (
    CONSUMER_NOT_FOUND,
    MESSAGE_NOT_FOUND,
    STORE_FAILED,
    SUBJECT_IS_FULL,
    JetStream,
    JsonMap,
)
from milepost_runtime.bus.topology import Topology
from milepost_runtime.errors import BusRefusedError
from milepost_runtime.settings import BusSettings


@dataclass(frozen=True, slots=True)
class _Waiting:
    sequence: int
    subject: str
    priority: int
    """Wanted."""
    priority_stored: int


class WorkOrder:
    """Restores the order of one kind's waiting work."""

    def __init__(self, connection: BusConnection, settings: BusSettings) -> None:
        self._jetstream = JetStream(connection, timeout_seconds=settings.request_timeout_seconds)
        self._topology = Topology(settings)
        self._subjects = Subjects(settings.prefix)

    async def restore(self, kind: str, changes: Mapping[str, int] | None = None) -> None:
        """Bring what waits into order; ``changes`` are new priorities by the work's subject."""
        waiting = await self._waiting(kind, changes or {})
        wanted = sorted(waiting, key=lambda work: (-work.priority, work.sequence))
        kept = 0
        while kept < len(wanted) and wanted[kept] == waiting[kept] and not _changed(wanted[kept]):
            kept += 1
        for work in wanted[kept:]:
            await self._jetstream.call(f"STREAM.PURGE.{self._topology.work}", {"filter": work.subject})
            await put_work(self._jetstream, self._topology.work, work.subject, work.priority)

    async def _waiting(self, kind: str, changes: Mapping[str, int]) -> list[_Waiting]:
        """Return what was never given out, in the order in which it would be."""
        sequence = await self._given_out_to(kind)
        found: list[_Waiting] = []
        while (message := await self._message_after(sequence, kind)) is not None:
            sequence, subject = int(message["seq"]), str(message["subject"])
            stored = int(json.loads(base64.b64decode(message["data"])).get("priority", 0))
            found.append(_Waiting(sequence, subject, changes.get(subject, stored), stored))
        return found

    async def _given_out_to(self, kind: str) -> int:
        """Return the newest sequence that a worker was ever given, 0 for none."""
        name = self._topology.work_consumer(kind)
        try:
            answer = await self._jetstream.call(f"CONSUMER.INFO.{self._topology.work}.{name}")
        except BusRefusedError as error:
            if error.error_code == CONSUMER_NOT_FOUND:
                return 0
            raise
        return int(answer["delivered"]["stream_seq"])

    async def _message_after(self, sequence: int, kind: str) -> JsonMap | None:
        wanted = {"seq": sequence + 1, "next_by_subj": self._subjects.works(kind)}
        try:
            answer = await self._jetstream.call(f"STREAM.MSG.GET.{self._topology.work}", wanted)
        except BusRefusedError as error:
            if error.error_code == MESSAGE_NOT_FOUND:
                return None
            raise
        return answer["message"]


async def put_work(jetstream: JetStream, stream: str, subject: str, priority: int) -> bool:
    """Put a work message in; False when it is there already."""
    kind, queue, operation_id = subject.split(".")[-3:]
    body = {"kind": kind, "queue": queue, "operation_id": operation_id, "priority": priority}
    try:
        await jetstream.publish(subject, json.dumps(body).encode(), headers={"Nats-Expected-Stream": stream})
    except BusRefusedError as error:
        if error.error_code == STORE_FAILED and SUBJECT_IS_FULL in error.detail:
            return False
        raise
    return True


def _changed(work: _Waiting) -> bool:
    return work.priority != work.priority_stored
