"""Read a JetStream stream in order, over one inbox subscription; several times as fast as nats-py's ``fetch``.

States: closed -> open (a consumer exists, messages are asked for) -> broken -> open again, with a new
consumer that starts after the last message received. Authority: the consumer sequence in each message's reply
subject; it goes up by one, and anything else is a gap. Failures: a reconnect, a missed heartbeat, a gap, or
the server's word that the consumer is gone break the consumer, never the reader. While the bus is away a
reader that reads for ever waits; one that reads to the end raises. What is buffered is bounded: messages are
asked for only as far as there is room for them.
"""

import asyncio
import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from milepost_runtime.bus.connection import BusConnection, parse_headers
from milepost_runtime.bus.jetstream import NANOSECONDS, PATIENCE_SECONDS, JetStream, JsonMap
from milepost_runtime.bus.replies import NoAnswerError, status_of
from milepost_runtime.clock import random_id
from milepost_runtime.errors import BusUnavailableError

log = structlog.get_logger()
BUFFER_MESSAGES = 1000
EXPIRES_SECONDS = 30
HEARTBEAT_SECONDS = 2
SILENCE_SECONDS = 2.5 * HEARTBEAT_SECONDS
"""Without a message or heartbeat for this long the consumer counts as lost."""
INACTIVE_SECONDS = 60
"""The server removes the consumer of a reader that has died after this long."""
FIRST_PAUSE_SECONDS = 0.05
PAUSE_SECONDS_MAX = 2.0


class StreamMessage(NamedTuple):
    """One stored message."""

    sequence: int
    """Position in the JetStream stream."""
    subject: str
    data: bytes
    header_block: bytes | None
    """As it came; see ``headers``."""
    pending: int
    """How many more there were for this reader when it was sent."""

    @property
    def headers(self) -> dict[str, str]:
        """The parsed header; most readers never look at it."""
        return parse_headers(self.header_block) if self.header_block else {}


@dataclass(slots=True, eq=False)
class _Consumer:
    name: str
    subscription: Subscription | None = None
    delivered: int = 0
    """Consumer sequence of the last message received."""
    asked: int = 0
    """Messages asked for that have not come yet."""
    broken: str | None = None


class StreamReader:
    """Reads one JetStream stream in order; ``close`` it when done."""

    def __init__(
        self,
        connection: BusConnection,
        stream: str,
        *,
        timeout_seconds: float,
        filters: Sequence[str] = (),
        after_sequence: int = 0,
        last_per_subject: bool = False,
        buffer_messages: int = BUFFER_MESSAGES,
    ) -> None:
        self._connection = connection
        self._jetstream = JetStream(connection, timeout_seconds=timeout_seconds)
        self._stream = stream
        self._filters = list(filters)
        self._last_per_subject = last_per_subject
        self._capacity = buffer_messages
        self._buffer: deque[StreamMessage] = deque()
        self._received = after_sequence
        self._remaining = 0
        self._consumer: _Consumer | None = None
        self._pause_seconds = 0.0
        self._wake = asyncio.Event()
        self._forget = connection.on_reconnected(self._on_reconnected)

    async def next_batch(self, messages_max: int) -> list[StreamMessage]:
        """Return what is there, at least one message; wait for it for ever.

        Raises:
            BusRefusedError, BusPermissionError: the stream cannot be read at all.
        """
        while not self._buffer:
            try:
                await self._open()
            except BusUnavailableError as error:
                log.warning("reader waits for the bus", stream=self._stream, reason=str(error))
                if self._connection.is_closed:
                    raise
                continue
            await self._wait()
        return await self._take(messages_max)

    async def next_batch_to_end(self, messages_max: int) -> list[StreamMessage]:
        """Return what is there; empty at the end as it was when the reading began.

        Raises:
            BusUnavailableError: the bus is away.
            BusRefusedError, BusPermissionError: the stream cannot be read at all.
        """
        begun = self._consumer is not None or self._buffer
        while not self._buffer:
            if begun and self._remaining <= 0:
                return []
            await self._open()
            begun = True
            if self._remaining > 0:
                await self._wait(to_end=True)
        batch = await self._take(messages_max)
        self._remaining = 0 if batch[-1].pending == 0 else self._remaining - len(batch)
        return batch

    async def close(self) -> None:
        """Stop reading; the consumer is removed. Harmless when the connection is closed or lost."""
        self._forget()
        await self._drop()

    # --- one consumer's life ----------------------------------------------------------------------

    async def _open(self) -> None:
        """Make sure that there is a consumer that is not broken."""
        if self._consumer is not None and self._consumer.broken is None:
            return
        if self._consumer is not None:
            log.info("reader begins anew", stream=self._stream, reason=self._consumer.broken)
            await self._drop()
        await asyncio.sleep(self._pause_seconds)  # consumers that break at once must not become a hot loop
        self._pause_seconds = min(max(FIRST_PAUSE_SECONDS, self._pause_seconds * 2), PAUSE_SECONDS_MAX)
        consumer = _Consumer(random_id("reader"))
        answer = await self._jetstream.call(
            f"CONSUMER.CREATE.{self._stream}.{consumer.name}",
            {"stream_name": self._stream, "config": self._config(consumer.name), "action": "create"},
            patience_seconds=PATIENCE_SECONDS,
        )
        self._remaining = int(answer.get("num_pending", 0))

        def take(subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
            self._take_in(consumer, subject, reply, data, headers)

        async def hear(msg: Msg) -> None:
            if consumer is self._consumer and consumer.broken is None:
                self._note_status(consumer, msg)
            self._wake.set()

        inbox = self._connection.new_inbox()
        self._consumer = consumer
        consumer.subscription = await self._connection.subscribe_taker(
            inbox, take, hear, pending_messages_max=4 * self._capacity
        )
        await self._ask(consumer)

    def _config(self, name: str) -> JsonMap:
        config: JsonMap = {
            "name": name,
            "ack_policy": "none",
            "max_deliver": 1,
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": INACTIVE_SECONDS * NANOSECONDS,
        }
        if self._last_per_subject:
            config |= {"deliver_policy": "last_per_subject"}
        else:
            config |= {"deliver_policy": "by_start_sequence", "opt_start_seq": self._received + 1}
        if self._filters or self._last_per_subject:
            config |= {"filter_subjects": self._filters or [">"]}
        return config

    async def _drop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is None or self._connection.is_closed:
            return
        if consumer.subscription is not None:
            await self._connection.unsubscribe_taker(consumer.subscription)
        try:
            await self._connection.replies.publish(
                f"$JS.API.CONSUMER.DELETE.{self._stream}.{consumer.name}", b""
            )
        except NoAnswerError as error:
            # The server removes it by itself after INACTIVE_SECONDS.
            log.debug("consumer left behind", stream=self._stream, reason=str(error))

    async def _ask(self, consumer: _Consumer) -> None:
        """Ask for as many messages as there is room for, once half of the room is free."""
        expected = consumer.asked + len(self._buffer)
        if expected > self._capacity // 2:
            return
        batch = self._capacity - expected
        consumer.asked += batch
        request = {
            "batch": batch,
            "expires": EXPIRES_SECONDS * NANOSECONDS,
            "idle_heartbeat": HEARTBEAT_SECONDS * NANOSECONDS,
        }
        subscription = consumer.subscription
        try:
            await self._connection.replies.publish(
                f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{consumer.name}",
                json.dumps(request).encode(),
                reply=subscription.subject if subscription else "",
            )
        except NoAnswerError as error:
            consumer.broken = str(error)

    async def _take(self, messages_max: int) -> list[StreamMessage]:
        buffer = self._buffer
        if len(buffer) <= messages_max:
            batch = list(buffer)
            buffer.clear()
        else:
            batch = [buffer.popleft() for _ in range(messages_max)]
        if self._consumer is not None and self._consumer.broken is None:
            await self._ask(self._consumer)
        return batch

    async def _wait(self, *, to_end: bool = False) -> None:
        """Wait until there is something to look at."""
        consumer = self._consumer
        if consumer is None or self._buffer or consumer.broken is not None:
            return
        self._wake.clear()
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            # Without a connection there are no heartbeats either; the reconnect will tell.
            if self._connection.is_connected or to_end:
                consumer.broken = "no heartbeat"
            return
        if to_end and not self._buffer:
            # Nothing more comes although something was there: it was removed meanwhile. Look again.
            consumer.broken = consumer.broken or "nothing left to deliver"
        elif consumer.broken is None:
            await self._ask(consumer)

    # --- what the server sends --------------------------------------------------------------------

    def _take_in(
        self, consumer: _Consumer, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        if consumer is not self._consumer or consumer.broken is not None:
            return
        self._wake.set()
        # $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>; newer servers
        # may put a domain and an account's hash before the stream, and a token at the end.
        parts = reply.split(b".")
        first = 2 if len(parts) == 9 else 4
        delivered = int(parts[first + 4])
        if delivered != consumer.delivered + 1:
            consumer.broken = f"gap: message {delivered} after {consumer.delivered}"
            return
        consumer.delivered = delivered
        consumer.asked -= 1
        self._received = sequence = int(parts[first + 3])
        self._pause_seconds = 0.0
        self._buffer.append(StreamMessage(sequence, subject.decode(), data, headers, int(parts[first + 6])))

    def _note_status(self, consumer: _Consumer, msg: Msg) -> None:
        headers = msg.headers or {}
        match status_of(msg):
            case "100":
                return
            case "404" | "408":
                # That request is over; what it has not brought is asked for again.
                consumer.asked -= int(headers.get("Nats-Pending-Messages", consumer.asked))
            case status:
                consumer.broken = f"{status} {headers.get('Description', '')}".strip()

    def _on_reconnected(self) -> None:
        if self._consumer is not None:
            self._consumer.broken = "reconnected"
            self._wake.set()
