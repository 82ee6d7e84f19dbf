"""The connection to NATS: reconnects for ever, and says what goes wrong.

States: connecting (bounded, the first time only) -> connected <-> reconnecting -> closed. Authority: whoever
called ``connect`` closes it. Failures: a lost connection is logged and made anew for ever; what was published
meanwhile waits in a bounded buffer. The server tells a forbidden publish or subscription to the connection
and not to the caller, so it is matched with the waiting requests here. Credentials never reach a log.
"""

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from milepost_runtime.bus.replies import ACK_PREFIX, NoAnswerError, Replies
from milepost_runtime.errors import BusPermissionError, BusUnavailableError
from milepost_runtime.settings import BusSettings

log = structlog.get_logger()
FIRST_CONNECTION_SECONDS = 10.0
CONNECT_TIMEOUT_SECONDS = 2
RECONNECT_WAIT_SECONDS = 0.25
PING_INTERVAL_SECONDS = 10
PINGS_OUTSTANDING_MAX = 2
SEND_BUFFER_BYTES = 8 * 1024 * 1024
Taker: TypeAlias = Callable[[bytes, bytes, bytes, bytes | None], None]
"""Takes subject, reply subject, payload and header block of a stored message, as they came; must not raise."""
_STORED = ACK_PREFIX.encode()
_VIOLATION = re.compile(r'permissions violation for (publish|subscription) to "([^"]+)"', re.IGNORECASE)
_AUTHORIZATION = re.compile(r"authorization violation|authentication (timeout|expired)", re.IGNORECASE)


class BusConnection(Client):
    """A NATS connection with its waiting requests; made by ``connect``."""

    def __init__(self, shown_url: str = "") -> None:
        super().__init__()
        self.replies = Replies(self)
        self.shown_url = shown_url
        self._reconnect_listeners: set[Callable[[], None]] = set()
        self._takers: dict[Subscription | None, Taker] = {}
        self._refused_subscriptions: deque[str] = deque(maxlen=100)
        self._unauthorized: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._last_reason = ""

    def on_reconnected(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after every reconnect; return what ends that."""
        self._reconnect_listeners.add(listener)
        return lambda: self._reconnect_listeners.discard(listener)

    async def listen(
        self, subject: str, callback: Callable[[Msg], Awaitable[None]], *, timeout_seconds: float
    ) -> Subscription:
        """Subscribe and return once the server has taken it up; while disconnected, at once.

        Raises:
            BusPermissionError: this user may not subscribe there.
            BusUnavailableError: the connection is closed.
        """
        subscription = await self.subscribe_or_raise(subject, callback)
        if self.is_connected:
            try:
                await self.replies.round_trip(timeout_seconds=timeout_seconds)
            except NoAnswerError as error:
                # It is taken up with the next reconnect at the latest.
                log.warning("subscription not confirmed", subject=subject, reason=str(error))
        # nats-py hands violations on in lower case.
        if subject.lower() in self._refused_subscriptions:
            self._refused_subscriptions.remove(subject.lower())
            await subscription.unsubscribe()
            raise BusPermissionError(f"subscribe to {subject}")
        return subscription

    async def subscribe_or_raise(
        self, subject: str, callback: Callable[[Msg], Awaitable[None]], *, pending_messages_max: int = 65_536
    ) -> Subscription:
        """Subscribe, with the runtime's error when the connection is closed.

        Raises:
            BusUnavailableError: the connection is closed.
        """
        try:
            return await self.subscribe(
                subject, cb=callback, pending_msgs_limit=pending_messages_max, pending_bytes_limit=0
            )
        except (nats.errors.ConnectionClosedError, nats.errors.ConnectionDrainingError) as error:
            raise BusUnavailableError(f"{self.shown_url}: the connection is closed") from error

    async def subscribe_taker(
        self,
        subject: str,
        take: Taker,
        callback: Callable[[Msg], Awaitable[None]],
        *,
        pending_messages_max: int,
    ) -> Subscription:
        """Subscribe; stored messages go to ``take`` at once, whatever else comes to ``callback`` as usual.

        nats-py makes a queue entry, an object and a parsed header of every message; for a reader of a whole
        JetStream stream that is more work than all the rest. End it with ``unsubscribe_taker``.

        Raises:
            BusUnavailableError: the connection is closed.
        """
        subscription = await self.subscribe_or_raise(
            subject, callback, pending_messages_max=pending_messages_max
        )
        self._takers[subscription] = take
        return subscription

    async def unsubscribe_taker(self, subscription: Subscription) -> None:
        """End what ``subscribe_taker`` began."""
        self._takers.pop(subscription, None)
        await subscription.unsubscribe()

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        """Go round nats-py's queues for messages that somebody takes."""
        take = self._takers.get(self._subs.get(sid))
        if take is None or not reply.startswith(_STORED):
            await super()._process_msg(sid, subject, reply, data, headers)  # pyright: ignore[reportArgumentType] - None is what the parser gives for no header
        else:
            take(subject, reply, data, headers)

    async def open(self, settings: BusSettings, *, name: str, patience_seconds: float) -> None:
        """Connect for the first time; ``connect`` is the function to call."""
        options: dict[str, Any] = {
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": RECONNECT_WAIT_SECONDS,
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "ping_interval": PING_INTERVAL_SECONDS,
            "max_outstanding_pings": PINGS_OUTSTANDING_MAX,
            "pending_size": SEND_BUFFER_BYTES,
        }
        connecting = asyncio.ensure_future(
            self.connect(
                servers=settings.url.split(","),
                name=name,
                error_cb=self._on_error,
                disconnected_cb=self._on_disconnected,
                reconnected_cb=self._on_reconnected,
                closed_cb=self._on_closed,
                **options,
            )
        )
        try:
            await asyncio.wait(
                {connecting, self._unauthorized},
                timeout=patience_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if connecting.done():
                await connecting
                return
        finally:
            if not connecting.done():
                connecting.cancel()
                await asyncio.gather(connecting, return_exceptions=True)
                await self.close()
        if self._unauthorized.done():
            raise BusPermissionError(f"{self.shown_url} refused the credentials")
        reason = f": {self._last_reason}" if self._last_reason else ""
        raise BusUnavailableError(f"{self.shown_url}{reason}")

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        """Replace nats-py's own, which takes half of the time of reading a JetStream stream."""
        return parse_headers(raw)

    # --- what nats-py tells -----------------------------------------------------------------------

    async def _on_error(self, error: Exception) -> None:
        words = str(error) or type(error).__name__
        self._last_reason = words
        violation = _VIOLATION.search(words)
        if violation is not None:
            self._on_violation(violation[1].lower(), violation[2])
            return
        if _AUTHORIZATION.search(words) and not self._unauthorized.done():
            self._unauthorized.set_result(None)
            log.error("bus refuses the credentials", url=self.shown_url)
        if self.is_connected:
            log.warning("bus error", url=self.shown_url, reason=words, error_type=type(error).__name__)

    def _on_violation(self, action: str, subject: str) -> None:
        log.error("bus permission missing", action=action, subject=subject, url=self.shown_url)
        if action == "publish":
            self.replies.refused(subject)
        else:
            self._refused_subscriptions.append(subject.lower())

    async def _on_disconnected(self) -> None:
        self.replies.disconnected()
        if not self.is_closed:
            log.warning("bus connection lost", url=self.shown_url)

    async def _on_reconnected(self) -> None:
        log.info("bus connection back", url=self.shown_url)
        self.replies.reconnected()
        for listener in list(self._reconnect_listeners):
            listener()

    async def _on_closed(self) -> None:
        self.replies.closed()


def parse_headers(block: bytes) -> dict[str, str]:
    """Return the header lines of a NATS/1.0 block by name; its first line and what is no header do not count."""
    headers: dict[str, str] = {}
    for line in block.decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip()] = value.strip()
    return headers


async def connect(
    settings: BusSettings, *, name: str, patience_seconds: float = FIRST_CONNECTION_SECONDS
) -> BusConnection:
    """Connect to the bus; close the connection when done.

    ``patience_seconds`` bounds the first connection only, afterwards it reconnects for ever.

    Raises:
        BusUnavailableError: no server answered in time; names the address without the password.
        BusPermissionError: the server refused the credentials.
    """
    connection = BusConnection(settings.shown_url)
    await connection.open(settings, name=name, patience_seconds=patience_seconds)
    return connection
