"""Watch over FastStream's consumer: deleted, its subscriber would turn into a silent hot loop.

Authority: the consumer's name and configuration in ``bus``. Failures: bus away: the next look.
"""

import asyncio

import structlog
from faststream.nats import NatsBroker
from milepost_runtime.bus.topology import Topology
from milepost_runtime.settings import BusSettings
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from milepost_orchestrator.entrypoints.bus import CONSUMER, consumer_config

log = structlog.get_logger()
LOOK_SECONDS = 2.0


async def guard_consumer(broker: NatsBroker, settings: BusSettings) -> None:
    """Look every ``LOOK_SECONDS`` until cancelled, and make the consumer anew when it is gone."""
    stream = Topology(settings).commands
    config = consumer_config()
    config.filter_subject = f"{settings.prefix}.command.>"
    jetstream = (await broker.connect()).jetstream(timeout=settings.request_timeout_seconds)
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            await jetstream.consumer_info(stream, CONSUMER)
        except NotFoundError:
            log.warning("consumer is gone, making it anew", stream=stream, consumer=CONSUMER)
            await jetstream.add_consumer(stream, config)
        except (NatsError, TimeoutError) as error:
            log.warning("consumer not seen", consumer=CONSUMER, reason=str(error) or type(error).__name__)
        if _is_to_end():
            return


def _is_to_end() -> bool:
    """Whether a cancellation was swallowed, as Python 3.11 does when an answer comes in that very moment."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
