"""Signals on core NATS: see ``milepost_runtime.signals``.

One subject for each operation. A message with a reply subject is the question who owns it, one without is "look at
your control events now".
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict

import structlog
from milepost_contracts.subjects import Subjects
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsSubscription

from milepost_runtime.bus.connection import BusConnection
from milepost_runtime.bus.replies import NoAnswerError
from milepost_runtime.settings import BusSettings
from milepost_runtime.signals import Owner

log = structlog.get_logger()


class NatsSignals:
    """Implements ``Signals``."""

    def __init__(self, connection: BusConnection, settings: BusSettings) -> None:
        self._connection = connection
        self._subjects = Subjects(settings.prefix)
        self._timeout_seconds = settings.request_timeout_seconds

    async def notify(self, operation_id: str) -> None:
        """Tell the owner to look; see the port. Never fails: a signal may be lost."""
        try:
            await self._connection.replies.publish(self._subjects.signal(operation_id), b"")
        except NoAnswerError as error:
            log.warning("signal lost", operation_id=operation_id, reason=str(error))

    async def ask_owner(self, operation_id: str, *, timeout_seconds: float) -> Owner | None:
        """Return who computes the operation; see the port."""
        try:
            answer = await self._connection.replies.ask(
                self._subjects.signal(operation_id), b"owner?", timeout_seconds=timeout_seconds
            )
        except NoAnswerError:
            return None
        fields = json.loads(answer.data)
        return Owner(worker_id=str(fields["worker_id"]), attempt=int(fields["attempt"]))

    async def serve(
        self, owner: Owner, operation_id: str, wake: Callable[[], Awaitable[None]]
    ) -> "NatsSignalSubscription":
        """Answer for the operation; see the port. Heard from the moment that this returns."""
        words = json.dumps(asdict(owner)).encode()

        async def hear(msg: Msg) -> None:
            if not msg.reply:
                await wake()
                return
            try:
                await self._connection.replies.publish(msg.reply, words)
            except NoAnswerError as error:
                log.warning("answer lost", operation_id=operation_id, reason=str(error))

        subscription = await self._connection.listen(
            self._subjects.signal(operation_id), hear, timeout_seconds=self._timeout_seconds
        )
        return NatsSignalSubscription(self._connection, subscription)


class NatsSignalSubscription:
    """Implements ``Subscription``."""

    def __init__(self, connection: BusConnection, subscription: NatsSubscription) -> None:
        self._connection = connection
        self._subscription: NatsSubscription | None = subscription

    async def close(self) -> None:
        """Stop listening; harmless when repeated."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None and not self._connection.is_closed:
            await subscription.unsubscribe()
