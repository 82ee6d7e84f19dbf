"""The work queue on JetStream: see ``milepost_runtime.work_queue`` for its states, authority and failures.

A fetch asks the kind's durable consumer for exactly one message, so nothing waits in a buffer while its lease runs
out. The wait is the server's (``expires``); a lost connection ends it at once and it is asked again. Work that
comes after its fetch was cancelled is given back the moment it comes (``bus.replies``).
"""

import asyncio
import json
from dataclasses import dataclass

import structlog
from milepost_contracts.subjects import Subjects
from nats.aio.msg import Msg

from milepost_runtime.bus.connection import BusConnection
from milepost_runtime.bus.jetstream import (
    MESSAGE_NOT_FOUND,
    NANOSECONDS,
    PATIENCE_SECONDS,
    JetStream,
    JsonMap,
)
from milepost_runtime.bus.replies import ACK_PREFIX, NAK, NoAnswerError, NoAnswerReason, status_of
from milepost_runtime.bus.topology import Topology
from milepost_runtime.bus.work_consumer import ensure_work_consumer, work_lease
from milepost_runtime.bus.work_order import WorkOrder, put_work
from milepost_runtime.errors import BusRefusedError, BusUnavailableError
from milepost_runtime.settings import BusSettings
from milepost_runtime.work_queue import WorkKey

log = structlog.get_logger()
LEASE_SECONDS = 10.0
GRACE_SECONDS = 1.0
"""How much longer than the server a fetch waits for the server's word that there was nothing."""
FIRST_PAUSE_SECONDS = 0.1
PAUSE_SECONDS_MAX = 2.0
ACK = b"+ACK"
PROGRESS = b"+WPI"


@dataclass(frozen=True, slots=True)
class JetStreamWorkItem:
    """Implements ``WorkItem``."""

    key: WorkKey
    deliveries: int
    reply: str
    """JetStream's acknowledgement subject of this delivery."""
    jetstream: JetStream

    async def renew(self) -> None:
        """Start the lease anew; see the port."""
        await self._say(PROGRESS)

    async def done(self) -> None:
        """Remove the work for good; see the port."""
        await self._say(ACK)

    async def give_back(self, *, delay_seconds: float = 0.0) -> None:
        """End the lease; see the port."""
        if delay_seconds <= 0:
            await self._say(NAK)
            return
        await self._say(NAK + b" " + json.dumps({"delay": int(delay_seconds * NANOSECONDS)}).encode())

    async def _say(self, word: bytes) -> None:
        """Acknowledge, and wait for the server's word that it heard: all of these may be repeated."""
        await self.jetstream.request(self.reply, word, patience_seconds=PATIENCE_SECONDS)


class JetStreamWorkQueue:
    """Implements ``WorkQueue``."""

    def __init__(
        self, connection: BusConnection, settings: BusSettings, *, lease_seconds: float = LEASE_SECONDS
    ) -> None:
        """``lease_seconds`` is for a consumer that has to be made anew because someone deleted it."""
        self._connection = connection
        self._settings = settings
        self._jetstream = JetStream(connection, timeout_seconds=settings.request_timeout_seconds)
        self._subjects = Subjects(settings.prefix)
        self._topology = Topology(settings)
        self._lease_seconds = lease_seconds
        self._leases: dict[str, float] = {}
        self._order = WorkOrder(connection, settings)

    async def dispatch(self, key: WorkKey, *, priority: int = 0) -> bool:
        """Put work in, unless it is there; see the port."""
        put_in = await put_work(self._jetstream, self._topology.work, self._subject(key), priority)
        if put_in and priority > 0:
            await self._order.restore(key.kind)
        return put_in

    async def prioritize(self, key: WorkKey, priority: int) -> None:
        """Give work another place among what waits; see the port."""
        await self._order.restore(key.kind, {self._subject(key): priority})

    async def contains(self, key: WorkKey) -> bool:
        """Say whether the work is waiting or leased; see the port."""
        try:
            await self._jetstream.call(
                f"STREAM.MSG.GET.{self._topology.work}", {"last_by_subj": self._subject(key)}
            )
        except BusRefusedError as error:
            if error.error_code == MESSAGE_NOT_FOUND:
                return False
            raise
        return True

    async def remove(self, key: WorkKey) -> None:
        """Remove the work of an operation that ended without an owner; see the port."""
        await self._jetstream.call(f"STREAM.PURGE.{self._topology.work}", {"filter": self._subject(key)})

    async def fetch(self, kind: str, *, timeout_seconds: float) -> JetStreamWorkItem | None:
        """Return exactly one piece of work; see the port.

        Raises:
            BusUnavailableError: the bus was away until the end of the time.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        pause = FIRST_PAUSE_SECONDS
        while True:
            remaining = max(deadline - loop.time(), 0.0)
            try:
                msg = await self._ask(kind, remaining)
            except NoAnswerError as error:
                if error.reason is NoAnswerReason.TIMEOUT and self._connection.is_connected:
                    return None
                if loop.time() + pause >= deadline or error.reason is NoAnswerReason.CLOSED:
                    raise BusUnavailableError(f"{self._connection.shown_url}: {error}") from error
                if error.reason is NoAnswerReason.CONNECTION_LOST:
                    continue
                if error.reason is NoAnswerReason.NOBODY_LISTENS:
                    await self._make_consumer(kind)
                reason = str(error)
            else:
                if msg.reply.startswith(ACK_PREFIX):
                    return self._item(msg)
                status, reason = status_of(msg), (msg.headers or {}).get("Description", "")
                if status in ("404", "408") or loop.time() + pause >= deadline:
                    return None
            log.warning("no work can be fetched", kind=kind, reason=reason)
            await asyncio.sleep(pause)  # a consumer that fails at once must not become a hot loop
            pause = min(pause * 2, PAUSE_SECONDS_MAX)

    async def _ask(self, kind: str, wait_seconds: float) -> Msg:
        if kind not in self._leases:
            await self._make_consumer(kind)
        request: JsonMap = {"batch": 1}
        if wait_seconds > 0:
            request |= {"expires": max(int(wait_seconds * NANOSECONDS), 1_000_000)}
        else:
            request |= {"no_wait": True}
        consumer = self._topology.work_consumer(kind)
        return await self._connection.replies.pull_one(
            f"$JS.API.CONSUMER.MSG.NEXT.{self._topology.work}.{consumer}",
            json.dumps(request).encode(),
            timeout_seconds=wait_seconds + GRACE_SECONDS,
        )

    async def _make_consumer(self, kind: str) -> None:
        """Make the kind's consumer unless it is there, with the lease that it had if that is known."""
        lease = await work_lease(self._connection, self._settings, kind)
        if lease is None:
            lease = await ensure_work_consumer(
                self._connection,
                self._settings,
                kind,
                lease_seconds=self._leases.get(kind, self._lease_seconds),
            )
        self._leases[kind] = lease

    def _item(self, msg: Msg) -> JetStreamWorkItem:
        _, _, kind, queue, operation_id = msg.subject.split(".")
        parts = msg.reply.split(".")
        deliveries = int(parts[4 if len(parts) == 9 else 6])
        return JetStreamWorkItem(WorkKey(kind, queue, operation_id), deliveries, msg.reply, self._jetstream)

    def _subject(self, key: WorkKey) -> str:
        return self._subjects.work(key.kind, key.queue, key.operation_id)
