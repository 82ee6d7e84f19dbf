"""The bus entrance, on FastStream: requests with a reply, and stored commands whose verdict is published.

States of a stored command: waiting -> delivered -> answered (its verdict is stored) -> acknowledged.
Authority: the verdict comes first, the acknowledgement after it, so a crash between them only repeats a verdict.
Failures: a message that cannot be read is answered like any other, under its id or under
``unidentified-<stream sequence>``; while something is away a command is tried again, at most ``TRIES_MAX``
times, and then refused as unavailable: nothing is lost without a word, nothing goes round for ever.
"""

import structlog
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from milepost_contracts.commands import COMMANDS
from milepost_contracts.failures import RejectionCode
from milepost_contracts.subjects import Subjects
from milepost_contracts.verdicts import Rejected
from milepost_runtime.bus.topology import Topology
from milepost_runtime.clock import random_id
from milepost_runtime.errors import BusUnavailableError
from milepost_runtime.settings import BusSettings
from nats.js.api import AckPolicy as JetStreamAckPolicy
from nats.js.api import ConsumerConfig

from milepost_orchestrator.adapters.verdicts import VerdictPublisher
from milepost_orchestrator.application.answers import AnyAnswer
from milepost_orchestrator.application.entrance import CommandEntrance

log = structlog.get_logger()
CONSUMER = "orchestrators"
QUEUE_GROUP = "orchestrators"
ACK_SECONDS = 60.0
PULL_SECONDS = 5.0
TRIES_MAX = 12
DELAY_SECONDS_MAX = 15.0


def create_broker(settings: BusSettings) -> NatsBroker:
    """Return a broker that reconnects for ever; nothing is connected before it is started."""
    return NatsBroker(
        settings.url.split(","),
        name="orchestrator commands",
        max_reconnect_attempts=-1,
        reconnect_time_wait=1,
        graceful_timeout=10.0,
        ack_policy=AckPolicy.MANUAL,
        logger=None,
        specification_url="nats://localhost:4222",  # the document must not name where it was made
        description="Milepost's bus",
    )


def subscribe(
    broker: NatsBroker, settings: BusSettings, entrance: CommandEntrance, verdicts: VerdictPublisher
) -> None:
    """Add the handlers of all commands to the broker."""
    subjects = Subjects(settings.prefix)
    for name in COMMANDS:
        _subscribe_requests(broker, subjects.request(name), name, entrance)
    _subscribe_commands(broker, settings, entrance, verdicts)


def consumer_config() -> ConsumerConfig:
    """Return how the COMMANDS consumer must be; several orchestrators share it."""
    return ConsumerConfig(
        durable_name=CONSUMER,
        ack_policy=JetStreamAckPolicy.EXPLICIT,
        ack_wait=ACK_SECONDS,
        max_deliver=-1,
        max_ack_pending=1000,
    )


def _subscribe_requests(
    broker: NatsBroker, subject: str, command_name: str, entrance: CommandEntrance
) -> None:
    @broker.subscriber(
        subject,
        queue=QUEUE_GROUP,
        title=f"request.{command_name}",
        description=f"Core request: the reply is the verdict on a {command_name} command.",
    )
    async def answer(message: NatsMessage) -> bytes:  # pyright: ignore[reportUnusedFunction] - registered by the decorator
        verdict = await entrance.answer(
            message.body, command_name=command_name, fallback_id=random_id("unidentified")
        )
        return verdict.model_dump_json().encode()


def _subscribe_commands(
    broker: NatsBroker, settings: BusSettings, entrance: CommandEntrance, verdicts: VerdictPublisher
) -> None:
    @broker.subscriber(
        f"{settings.prefix}.command.>",
        stream=JStream(Topology(settings).commands, declare=False),
        durable=CONSUMER,
        config=consumer_config(),
        pull_sub=PullSub(batch_size=1, timeout=PULL_SECONDS),
        ack_policy=AckPolicy.MANUAL,
        title="command",
        description="Stored command: the verdict is published and kept for a day.",
    )
    async def handle(message: NatsMessage) -> None:  # pyright: ignore[reportUnusedFunction] - registered by the decorator
        await handle_stored(message, entrance, verdicts)


async def handle_stored(message: NatsMessage, entrance: CommandEntrance, verdicts: VerdictPublisher) -> None:
    """AnyAnswer one stored command, publish the verdict, then acknowledge."""
    raw = message.raw_message
    metadata = raw.metadata
    tries = metadata.num_delivered or 1
    verdict = await entrance.answer(
        message.body,
        command_name=raw.subject.partition(".command.")[2],
        fallback_id=f"unidentified-{metadata.sequence.stream}",
    )
    if _try_again(verdict) and tries < TRIES_MAX:
        await _give_back(message, tries, verdict.message if isinstance(verdict, Rejected) else "")
        return
    try:
        await verdicts.publish(verdict)
    except BusUnavailableError as error:
        await _give_back(message, tries, str(error))
        return
    await message.ack()


def _try_again(verdict: AnyAnswer) -> bool:
    return isinstance(verdict, Rejected) and verdict.code is RejectionCode.UNAVAILABLE


async def _give_back(message: NatsMessage, tries: int, reason: str) -> None:
    delay_seconds = min(0.5 * 2.0 ** min(tries, 10), DELAY_SECONDS_MAX)
    log.warning("command put off", tries=tries, next_try_seconds=delay_seconds, reason=reason)
    await message.nack(delay=delay_seconds)
