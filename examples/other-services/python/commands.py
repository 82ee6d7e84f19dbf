"""Start, cancel and resume an operation with nothing but nats-py, as a service of another team would.

    pip install nats-py
    MILEPOST_NATS_URL=nats://user:password@host:4222 python commands.py backtest spec.json nightly-2026-11-26

The last word is a name of your own for this piece of work; every command's id, its idempotency key, is made from
it. Run again with the same name, each command is answered as a duplicate and nothing happens twice.
"""

import asyncio
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import nats
from nats.aio.client import Client
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import ConsumerConfig

Json: TypeAlias = dict[str, Any]

PREFIX = os.environ.get("MILEPOST_PREFIX", "milepost")
SOURCE = "/nightly"  # who asks: events say it as `requested_by`
ANSWER_SECONDS = 5.0
ASKED_MAX = 6
STOP_AT_UNIT = 4000


def envelope(command: str, command_id: str, about: str, data: Json) -> bytes:
    """Return a command as it goes over the bus: a CloudEvents document (contracts/schemas/envelope.v1.json)."""
    document = {
        "specversion": "1.0",
        "id": command_id,
        "source": SOURCE,
        "type": f"milepost.command.{command}.v1",
        "subject": about,
        "time": datetime.now(UTC).isoformat(),  # noqa: TID251 - a program of its own
        "datacontenttype": "application/json",
        "data": data,
    }
    return json.dumps(document).encode()


async def request(client: Client, command: str, command_id: str, about: str, data: Json) -> Json:
    """Send a command and return its verdict. Asked again with the same id it still takes effect once."""
    for _ in range(ASKED_MAX):
        try:
            reply = await client.request(
                f"{PREFIX}.request.{command}",
                envelope(command, command_id, about, data),
                timeout=ANSWER_SECONDS,
            )
        except NoRespondersError:  # no orchestrator is up: that comes at once
            await asyncio.sleep(1)
        except NatsTimeoutError:
            pass
        else:
            return accepted(json.loads(reply.data))
    raise SystemExit(f"no orchestrator answered {command_id}; it is safe to ask again")


async def publish(client: Client, command: str, command_id: str, about: str, data: Json) -> None:
    """Store a command for the orchestrator and wait for nobody: it may be down."""
    await client.jetstream().publish(
        f"{PREFIX}.command.{command}",
        envelope(command, command_id, about, data),
        headers={"Nats-Msg-Id": command_id},  # published twice within two minutes, it is stored once
    )


async def verdict(client: Client, command_id: str) -> Json:
    """Return the verdict on a published command, waiting for it; it is kept for a day."""
    return accepted(await first_message(client, f"{PREFIX}.verdict.{command_id}"))


async def end_of(client: Client, operation_id: str) -> Json:
    """Return the event with which an operation ends, waiting for it."""
    side = f"{PREFIX}.event.{operation_id}.run"
    return await first_message(client, f"{side}.completed", f"{side}.cancelled", f"{side}.failed")


async def first_message(client: Client, *subjects: str) -> Json:
    """Return the first message that a JetStream stream has on these subjects, now or later."""
    jetstream = client.jetstream()
    stream = await jetstream.find_stream_name_by_subject(subjects[0])
    config = ConsumerConfig(filter_subjects=list(subjects), inactive_threshold=30.0)
    consumer = await jetstream.add_consumer(stream, config)
    subscription = await jetstream.pull_subscribe_bind(consumer.name, stream)
    while True:
        try:
            (message,) = await subscription.fetch(1, timeout=ANSWER_SECONDS)
        except NatsTimeoutError:
            continue
        return json.loads(message.data)


def accepted(found: Json) -> Json:
    """Return a verdict that says yes; end with the reason, every problem and the fix when it says no."""
    if found["verdict"] != "rejected":
        return found
    problems = "".join(f"\n  {each['field']}: {each['message']}" for each in found["problems"])
    raise SystemExit(f"{found['code']}: {found['message']}{problems}\n{found['fix']}")


async def main(kind: str, spec: Json, name: str) -> None:
    """Start, cancel after a unit without waiting, wait for the end, resume, wait for that end."""
    client = await nats.connect(os.environ["MILEPOST_NATS_URL"], name=SOURCE)
    try:
        start = {"kind": kind, "spec": spec, "name": name, "options": {"pace_units_per_second": 2500}}
        started = await request(client, "start", f"{name}-start", kind, start)
        parent = started["operation_id"]

        cancel = {"operation_id": parent, "at_unit": STOP_AT_UNIT, "reason": "the machine is needed"}
        await publish(client, "cancel", f"{name}-cancel", parent, cancel)
        cancelled = await verdict(client, f"{name}-cancel")
        stopped = await end_of(client, parent)

        resume = {"operation_id": parent, "options": {}}
        resumed = await request(client, "resume", f"{name}-resume", parent, resume)
        ended = await end_of(client, resumed["operation_id"])
    finally:
        await client.close()
    print(
        json.dumps(
            {
                "verdicts": [found["verdict"] for found in (started, cancelled, resumed)],
                "parent": parent,
                "stopped": {"event": stopped["type"], "unit": stopped["data"]["unit"]},
                "child": resumed["operation_id"],
                "ended": {"event": ended["type"], "unit": ended["data"]["unit"]},
            }
        )
    )


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    asyncio.run(main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), sys.argv[3]))
