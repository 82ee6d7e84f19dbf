"""A durable, shared consumer of events: each event is handled by one orchestrator, and never forgotten.

States of an event: waiting -> delivered to one orchestrator -> acknowledged; or given back with a growing delay,
or delivered again when whoever had it said nothing for ``ACK_SECONDS``. Authority: JetStream's durable consumer,
the same for all orchestrators. Failures: a deleted consumer is made anew and delivers everything once more, which
handlers must bear; bus away: waited for; a handler that fails is logged and tried again, holding nobody else up.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog
from milepost_contracts.errors import ContractError
from milepost_contracts.events import Event
from milepost_contracts.messages import decode
from milepost_contracts.subjects import Subjects
from milepost_contracts.upcasting import decode_event
from milepost_runtime.bus.connection import BusConnection
from milepost_runtime.bus.jetstream import CONSUMER_EXISTS, CONSUMER_NAME_EXISTS, NANOSECONDS, JetStream
from milepost_runtime.bus.replies import ACK_PREFIX, NoAnswerError, NoAnswerReason, status_of
from milepost_runtime.bus.topology import Topology
from milepost_runtime.errors import BusRefusedError, BusUnavailableError, RuntimeServiceError
from milepost_runtime.event_log import LogEntry
from milepost_runtime.settings import BusSettings
from nats.aio.msg import Msg
from pydantic import ValidationError

log = structlog.get_logger()
ACK_SECONDS = 30.0
WAIT_SECONDS = 10.0
GRACE_SECONDS = 1.0
PENDING_MAX = 10_000
FIRST_DELAY_SECONDS = 0.25
DELAY_SECONDS_MAX = 30.0
UNREADABLE_DELAY_SECONDS = 300.0
"""An event that this version cannot read comes again after this long, until one is there that can."""
ACK = b"+ACK"
PROGRESS = b"+WPI"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivered event."""

    entry: LogEntry
    deliveries: int
    reply: str


class DurableConsumer:
    """Handles the events of some types, several at once."""

    def __init__(
        self,
        connection: BusConnection,
        settings: BusSettings,
        *,
        name: str,
        events: Sequence[type[Event]],
        handle: Callable[[LogEntry], Awaitable[None]],
        parallel_max: int = 4,
    ) -> None:
        self._connection = connection
        self._jetstream = JetStream(connection, timeout_seconds=settings.request_timeout_seconds)
        self._subjects = Subjects(settings.prefix)
        self._stream = Topology(settings).events
        self._name = name
        self._events = events
        self._handle = handle
        self._parallel_max = parallel_max

    async def run(self) -> None:
        """Handle events until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._parallel_max):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        delay = FIRST_DELAY_SECONDS
        await self._wait_for_consumer()
        while True:
            try:
                msg = await self._pull()
            except NoAnswerError as error:
                if error.reason is NoAnswerReason.TIMEOUT:
                    continue
                reason = str(error)
                if error.reason is NoAnswerReason.NOBODY_LISTENS:
                    await self._wait_for_consumer()
            else:
                if msg.reply.startswith(ACK_PREFIX):
                    delay = FIRST_DELAY_SECONDS
                    await self._take(msg)
                    continue
                status, reason = status_of(msg), (msg.headers or {}).get("Description", "")
                if status in ("404", "408"):
                    continue
            log.warning("no events can be fetched", consumer=self._name, reason=reason)
            await asyncio.sleep(delay)  # a consumer that fails at once must not become a hot loop
            delay = min(delay * 2, DELAY_SECONDS_MAX)

    async def _pull(self) -> Msg:
        request = {"batch": 1, "expires": int(WAIT_SECONDS * NANOSECONDS)}
        return await self._connection.replies.pull_one(
            f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._name}",
            json.dumps(request).encode(),
            timeout_seconds=WAIT_SECONDS + GRACE_SECONDS,
        )

    async def _take(self, msg: Msg) -> None:
        parts = msg.reply.split(".")
        offset = 0 if len(parts) == 9 else 2
        deliveries, sequence = int(parts[4 + offset]), int(parts[5 + offset])
        try:
            envelope = decode(msg.data).model_copy(update={"sequence": str(sequence)})
            entry = LogEntry(
                sequence,
                self._subjects.parse_event(msg.subject).operation_id,
                envelope,
                decode_event(envelope),
            )
        except (ValidationError, ContractError):
            # Trying again soon would end the same; a newer version, or a fix, comes to it later.
            log.exception("event cannot be read", consumer=self._name, sequence=sequence)
            await self._say(msg.reply, _put_off(UNREADABLE_DELAY_SECONDS))
            return
        if envelope.importedfrom is not None:
            await self._say(msg.reply, ACK)  # it happened elsewhere: nothing follows from it here
            return
        await self._handle_and_answer(Delivery(entry, deliveries, msg.reply))

    async def _handle_and_answer(self, delivery: Delivery) -> None:
        entry = delivery.entry
        where = {"consumer": self._name, "sequence": entry.sequence, "operation_id": entry.operation_id}
        still_working = asyncio.create_task(self._keep(delivery.reply))
        try:
            await self._handle(entry)
        except RuntimeServiceError as error:
            log.warning("event given back", **where, deliveries=delivery.deliveries, reason=str(error))
            await self._give_back(delivery)
        except Exception:
            # A bug, or an event nobody foresaw: it must not hold up the others.
            log.exception("handler failed", **where, deliveries=delivery.deliveries)
            await self._give_back(delivery)
        else:
            await self._say(delivery.reply, ACK)
        finally:
            still_working.cancel()

    async def _keep(self, reply: str) -> None:
        while True:
            await asyncio.sleep(ACK_SECONDS / 3)
            await self._say(reply, PROGRESS)

    async def _give_back(self, delivery: Delivery) -> None:
        seconds = min(FIRST_DELAY_SECONDS * 2.0 ** min(delivery.deliveries, 10), DELAY_SECONDS_MAX)
        await self._say(delivery.reply, _put_off(seconds))

    async def _say(self, reply: str, word: bytes) -> None:
        try:
            await self._jetstream.request(reply, word)
        except (BusUnavailableError, BusRefusedError) as error:
            # Delivered again after ACK_SECONDS, and then handled without effect.
            log.warning("not acknowledged", consumer=self._name, reason=str(error))

    async def _wait_for_consumer(self) -> None:
        """Make the consumer, or bring it to how it should be; wait while the bus is away."""
        delay = FIRST_DELAY_SECONDS
        while True:
            try:
                await self._ensure_consumer()
            except BusUnavailableError as error:
                log.warning("waiting for the bus", consumer=self._name, reason=str(error))
            else:
                return
            await asyncio.sleep(delay)  # an outage has no event to await
            delay = min(delay * 2, DELAY_SECONDS_MAX)

    async def _ensure_consumer(self) -> None:
        config = {
            "name": self._name,
            "durable_name": self._name,
            "filter_subjects": [self._subjects.events_of_type(event) for event in self._events],
            "ack_policy": "explicit",
            "deliver_policy": "all",
            "ack_wait": int(ACK_SECONDS * NANOSECONDS),
            "max_deliver": -1,
            "max_ack_pending": PENDING_MAX,
        }
        try:
            await self._jetstream.call(
                f"CONSUMER.CREATE.{self._stream}.{self._name}",
                {"stream_name": self._stream, "config": config, "action": ""},
            )
        except BusRefusedError as error:
            if error.error_code not in (CONSUMER_EXISTS, CONSUMER_NAME_EXISTS):
                raise


def _put_off(seconds: float) -> bytes:
    """Give the event back, to be delivered again after a while."""
    return f"-NAK {json.dumps({'delay': int(seconds * NANOSECONDS)})}".encode()
