"""JetStream's request/reply API, spoken directly: JSON in, JSON out, errors by their code.

Failures: requests without an answer are repeated within a bound, here and nowhere above; everything asked
through here is safe to repeat. Source: nats-server's ``jetstream_api.go`` and ``jetstream_errors_generated.go``.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, TypeAlias

import structlog
from nats.aio.msg import Msg

from milepost_runtime.bus.connection import BusConnection
from milepost_runtime.bus.replies import NoAnswerError, NoAnswerReason
from milepost_runtime.errors import BusRefusedError, BusUnavailableError

log = structlog.get_logger()
JsonMap: TypeAlias = dict[str, Any]

PATIENCE_SECONDS = 10.0
NANOSECONDS = 1_000_000_000
FIRST_PAUSE_SECONDS = 0.05
PAUSE_SECONDS_MAX = 1.0

MESSAGE_NOT_FOUND = 10037
CONSUMER_NOT_FOUND = 10014
STREAM_NOT_FOUND = 10059
STREAM_NAME_IN_USE = 10058
WRONG_LAST_SEQUENCE = 10071
WRONG_LAST_SEQUENCE_CONSTANT = 10164
STORE_FAILED = 10077
CONSUMER_EXISTS = 10148
CONSUMER_NAME_EXISTS = 10013
SUBJECT_IS_FULL = "maximum messages per subject"
"""Words that tell this case of STORE_FAILED from a full disk, which is waited out."""


class JetStream:
    """Asks JetStream over one connection."""

    def __init__(self, connection: BusConnection, *, timeout_seconds: float) -> None:
        self.connection = connection
        self._timeout_seconds = timeout_seconds

    async def call(
        self,
        name: str,
        request: Mapping[str, Any] | None = None,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> JsonMap:
        """Return the answer of the API function ``name``, such as ``STREAM.INFO.milepost_EVENTS``.

        Raises:
            BusRefusedError: JetStream says no; ``error_code`` says which no.
            BusUnavailableError: no answer within the bound.
            BusPermissionError: this user may not.
        """
        payload = json.dumps(request).encode() if request is not None else b""
        return await self.request(f"$JS.API.{name}", payload, patience_seconds=patience_seconds)

    async def publish(
        self,
        subject: str,
        payload: bytes,
        *,
        headers: Mapping[str, str],
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> JsonMap:
        """Publish into a JetStream stream and return its acknowledgement: ``stream``, ``seq``, ``duplicate``.

        Raises what ``call`` raises.
        """
        return await self.request(subject, payload, headers=headers, patience_seconds=patience_seconds)

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> JsonMap:
        """Ask, repeating while there is no answer, and return the JSON of the answer."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_seconds
        pause = FIRST_PAUSE_SECONDS
        while True:
            remaining = deadline - loop.time()
            try:
                msg = await self.connection.replies.ask(
                    subject,
                    payload,
                    headers=headers,
                    timeout_seconds=max(min(self._timeout_seconds, remaining), 0.001),
                )
                return parse_answer(msg)
            except (NoAnswerError, _NotNowError) as error:
                lost = isinstance(error, NoAnswerError) and error.reason is NoAnswerReason.CONNECTION_LOST
                closed = isinstance(error, NoAnswerError) and error.reason is NoAnswerReason.CLOSED
                if closed or loop.time() + pause >= deadline:
                    raise BusUnavailableError(f"{self.connection.shown_url}: {error}") from error
            if not lost:
                await asyncio.sleep(pause)  # an outage has no event to await
                pause = min(pause * 2, PAUSE_SECONDS_MAX)


class _NotNowError(Exception):
    """JetStream answers that it cannot do it at the moment."""


def parse_answer(msg: Msg) -> JsonMap:
    """Return the JSON of an API answer or publish acknowledgement.

    Raises:
        BusRefusedError: it holds an error.
        _NotNowError: it holds an error that passes.
    """
    answer: JsonMap = json.loads(msg.data) if msg.data else {}
    error: JsonMap | None = answer.get("error")
    if error is None:
        return answer
    words = str(error.get("description", "no reason given"))
    error_code = int(error.get("err_code", 0))
    if error.get("code") == 503 and not (error_code == STORE_FAILED and SUBJECT_IS_FULL in words):
        raise _NotNowError(words)
    raise BusRefusedError(words, error_code=error_code)
