"""Requests over one inbox subscription, with every way in which an answer can fail to come told apart.

States of a request: waiting -> answered, or failed (nobody listens, refused, connection lost, too late).
Authority: the inbox subscription lives as long as the connection; nats-py renews it after a reconnect.
Failures: a request that was sent before the connection was lost fails at the moment of the reconnect, so that
it is repeated at once and not after its timeout; one that was sent during the outage goes out with the
reconnect and stays valid. A piece of work that is delivered to a request that nobody waits for any more is
given back at once.
"""

import asyncio
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from milepost_runtime.errors import BusPermissionError, BusRefusedError

ACK_PREFIX = "$JS.ACK."
NAK = b"-NAK"


class NoAnswerReason(StrEnum):
    """Why there is no answer."""

    NOBODY_LISTENS = "nobody listens"
    TIMEOUT = "no answer in time"
    CONNECTION_LOST = "the connection was lost meanwhile"
    BUFFER_FULL = "not connected and the send buffer is full"
    CLOSED = "the connection is closed"


class NoAnswerError(Exception):
    """A request got no answer; whether it had an effect is unknown unless nobody listens."""

    def __init__(self, subject: str, reason: NoAnswerReason) -> None:
        super().__init__(f"{subject}: {reason}")
        self.reason = reason


@dataclass(slots=True)
class _Waiting:
    subject: str
    future: asyncio.Future[Msg]
    epoch: int

    @property
    def answered(self) -> bool:
        future = self.future
        return future.done() and not future.cancelled() and future.exception() is None


class Replies:
    """The requests of one connection that wait for an answer."""

    def __init__(self, connection: Client) -> None:
        self._connection = connection
        self._inbox = ""
        self._subscribing = asyncio.Lock()
        self._counter = 0
        self._epoch = 0
        self._waiting: dict[str, _Waiting] = {}
        self._lingering: dict[Subscription, asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def ask(
        self,
        subject: str,
        payload: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float,
    ) -> Msg:
        """Publish and return the first answer.

        Raises:
            NoAnswerError: there is none.
            BusPermissionError: this user may not publish there.
            BusRefusedError: the payload is larger than the server takes.
        """
        await self._subscribe()
        with self._wait(subject, timeout_seconds) as (token, waiting):
            await self.publish(subject, payload, reply=f"{self._inbox}.{token}", headers=headers)
            return await waiting.future

    async def pull_one(self, subject: str, payload: bytes, *, timeout_seconds: float) -> Msg:
        """Ask a consumer for one message and return it, or the server's word that there is none.

        A pulled message keeps its own subject, so every pull has an inbox of its own. When nobody waits any more
        (cancelled, too late, connection lost) the inbox stays until the request has run out, and a message
        that still comes is given back.

        Raises what ``ask`` raises.
        """
        with self._wait(subject, timeout_seconds) as (_, waiting):

            async def receive(msg: Msg) -> None:
                await self._answer(waiting, msg)

            inbox = self._connection.new_inbox()
            try:
                subscription = await self._connection.subscribe(inbox, cb=receive)
            except (nats.errors.ConnectionClosedError, nats.errors.ConnectionDrainingError) as error:
                raise NoAnswerError(subject, NoAnswerReason.CLOSED) from error
            try:
                await self.publish(subject, payload, reply=inbox)
                msg = await waiting.future
            except asyncio.CancelledError:
                if waiting.answered:
                    await self._give_back(waiting.future.result())
                raise
            finally:
                if waiting.answered:
                    self._end(subscription)
                else:
                    self._linger(subscription, timeout_seconds)
            return msg

    async def publish(
        self, subject: str, payload: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Publish without waiting for anything; while disconnected the message waits in the send buffer.

        Raises:
            NoAnswerError: the connection is closed, or lost and the send buffer is full.
            BusRefusedError: the payload is larger than the server takes.
        """
        try:
            await self._connection.publish(
                subject, payload, reply=reply, headers=dict(headers) if headers else None
            )
        except nats.errors.OutboundBufferLimitError as error:
            raise NoAnswerError(subject, NoAnswerReason.BUFFER_FULL) from error
        except (nats.errors.ConnectionClosedError, nats.errors.ConnectionDrainingError) as error:
            raise NoAnswerError(subject, NoAnswerReason.CLOSED) from error
        except nats.errors.MaxPayloadError as error:
            raise BusRefusedError(
                f"{subject}: {len(payload)} bytes, the server takes {self._connection.max_payload}"
            ) from error

    async def round_trip(self, *, timeout_seconds: float) -> None:
        """Return when the server has handled everything that was sent before.

        nats-py's own ``flush`` is not used: cancelled or timed out, it ends the connection's read loop.
        """
        await self._subscribe()
        await self.ask(f"{self._inbox}.echo", timeout_seconds=timeout_seconds)

    def disconnected(self) -> None:
        """Note that what was sent until now may get no answer."""
        self._epoch += 1

    def reconnected(self) -> None:
        """Fail what was sent over the lost connection."""
        for waiting in self._waiting.values():
            if waiting.epoch < self._epoch:
                self._fail(waiting, NoAnswerReason.CONNECTION_LOST)

    def closed(self) -> None:
        """Fail everything: no answer can come any more."""
        for timer in self._lingering.values():
            timer.cancel()
        self._lingering.clear()
        for waiting in self._waiting.values():
            self._fail(waiting, NoAnswerReason.CLOSED)

    def refused(self, subject: str) -> None:
        """Fail what was sent to a subject that this user may not publish to."""
        for waiting in self._waiting.values():
            if waiting.subject.lower() == subject.lower() and not waiting.future.done():
                waiting.future.set_exception(BusPermissionError(f"publish to {subject}"))

    async def _subscribe(self) -> None:
        if self._inbox:
            return
        async with self._subscribing:
            if self._inbox:
                return
            inbox = self._connection.new_inbox()
            try:
                await self._connection.subscribe(f"{inbox}.*", cb=self._on_reply)
            except (nats.errors.ConnectionClosedError, nats.errors.ConnectionDrainingError) as error:
                raise NoAnswerError(inbox, NoAnswerReason.CLOSED) from error
            self._inbox = inbox

    @contextmanager
    def _wait(self, subject: str, timeout_seconds: float) -> Generator[tuple[str, _Waiting]]:
        self._counter += 1
        token = f"{self._counter:x}"
        loop = asyncio.get_running_loop()
        waiting = self._waiting[token] = _Waiting(subject, loop.create_future(), self._epoch)
        timer = loop.call_later(timeout_seconds, self._fail, waiting, NoAnswerReason.TIMEOUT)
        try:
            yield token, waiting
        finally:
            timer.cancel()
            del self._waiting[token]
            waiting.future.cancel()

    async def _on_reply(self, msg: Msg) -> None:
        token = msg.subject[len(self._inbox) + 1 :]
        if token == "echo":  # noqa: S105 - the last token of a subject
            token = msg.reply[len(self._inbox) + 1 :]
        waiting = self._waiting.get(token)
        if waiting is not None:
            await self._answer(waiting, msg)

    async def _answer(self, waiting: _Waiting, msg: Msg) -> None:
        if waiting.future.done():
            await self._give_back(msg)
        elif status_of(msg) == "503" and not msg.data:
            self._fail(waiting, NoAnswerReason.NOBODY_LISTENS)
        else:
            waiting.future.set_result(msg)

    async def _give_back(self, msg: Msg) -> None:
        """Return work that came too late; any other late answer is of no use to anyone."""
        if msg.reply.startswith(ACK_PREFIX):
            await self.publish(msg.reply, NAK)

    def _linger(self, subscription: Subscription, seconds: float) -> None:
        if not self._connection.is_closed:
            loop = asyncio.get_running_loop()
            self._lingering[subscription] = loop.call_later(seconds, self._end, subscription)

    def _end(self, subscription: Subscription) -> None:
        self._lingering.pop(subscription, None)
        if not self._connection.is_closed:
            task = asyncio.get_running_loop().create_task(subscription.unsubscribe())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def _fail(self, waiting: _Waiting, reason: NoAnswerReason) -> None:
        if not waiting.future.done():
            waiting.future.set_exception(NoAnswerError(waiting.subject, reason))


def status_of(msg: Msg) -> str | None:
    """Return the status of a message that the server itself sent, such as ``404``; None for any other."""
    return msg.headers.get("Status") if msg.headers else None
