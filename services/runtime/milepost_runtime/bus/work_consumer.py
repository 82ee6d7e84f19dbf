"""The consumer that gives out one kind's work, and the lease that all its workers share.

Authority: the lease is the longest that any worker of the kind asked for, kept under ``lease.<kind>`` in the
bucket of kinds, where only a longer one replaces it (compare and set: a consumer's own configuration has no such
guard, the last of two updates wins whatever it says). Failures: a consumer that gives out something else is named.
"""

import base64

from milepost_contracts.dispatch import DispatchPolicy
from milepost_contracts.subjects import Subjects

from milepost_runtime.bus.connection import BusConnection
from milepost_runtime.bus.jetstream import (
    CONSUMER_EXISTS,
    CONSUMER_NAME_EXISTS,
    CONSUMER_NOT_FOUND,
    MESSAGE_NOT_FOUND,
    NANOSECONDS,
    WRONG_LAST_SEQUENCE,
    WRONG_LAST_SEQUENCE_CONSTANT,
    JetStream,
    JsonMap,
)
from milepost_runtime.bus.topology import RACES_MAX, Topology, differences_in_words
from milepost_runtime.errors import BusRefusedError, TopologyError
from milepost_runtime.settings import BusSettings

ACK_PENDING_MAX = 100_000
WAITING_MAX = 4096
"""Workers that wait for work of one kind at the same time."""
POLICY_KEY = "dispatch.policy"
"""Where the bucket of kinds has the policy of dispatch; a key of two parts is no kind's."""
PAUSED_UNTIL = "9999-01-01T00:00:00Z"
_FIXED = {"filter_subject", "ack_policy", "deliver_policy", "max_waiting"}


async def ensure_work_consumer(
    connection: BusConnection, settings: BusSettings, kind: str, *, lease_seconds: float
) -> float:
    """Create the consumer of a kind's work, and return the lease that it gives.

    All workers of a kind share one consumer and so one lease. It is the longest that any of them asked for: a
    lease longer than one's own is only slower to notice a death, a shorter one would lose live work. To shorten
    it, delete the consumer and the key ``lease.<kind>`` while no worker of the kind runs.

    Raises:
        TopologyError: a consumer of that name gives out something else.
        BusUnavailableError: JetStream does not answer.
        BusPermissionError: something is missing or differs, and this user may not change it.
    """
    jetstream = JetStream(connection, timeout_seconds=settings.request_timeout_seconds)
    topology = Topology(settings)
    stream, name = topology.work, topology.work_consumer(kind)
    longest = await _longest_lease(jetstream, topology, kind, int(lease_seconds * NANOSECONDS))
    for _ in range(RACES_MAX):
        wanted: JsonMap = {
            "name": name,
            "durable_name": name,
            "filter_subject": Subjects(settings.prefix).works(kind),
            "ack_policy": "explicit",
            "deliver_policy": "all",
            "ack_wait": longest,
            "max_deliver": -1,
            "max_waiting": WAITING_MAX,
        }
        policy = await recorded_policy(jetstream, topology)
        found = await _consumer_config(jetstream, stream, name)
        differing = {key for key, value in wanted.items() if found and found.get(key) != value}
        if found and differing & _FIXED:
            words = differences_in_words(found, wanted, differing & _FIXED)
            raise TopologyError(f"consumer {name} of {stream}: {words}")
        if found is None:
            gate = {"max_ack_pending": policy.limits.get(kind, ACK_PENDING_MAX)}
            await _create_consumer(jetstream, stream, {**wanted, **gate}, action="create")
            # Held meanwhile, or before: whoever changes the policy has paused only what was there.
            if (await recorded_policy(jetstream, topology)).hold_on(kind) is not None:
                await pause_consumer(jetstream, stream, name, PAUSED_UNTIL)
        elif differing:
            await _create_consumer(jetstream, stream, {**found, **wanted}, action="update")
        # An update of ours that was slow may have undone another worker's: whoever wrote last looks again.
        latest = await _longest_lease(jetstream, topology, kind, longest)
        if found is not None and not differing and latest == longest:
            return longest / NANOSECONDS
        longest = latest
    raise TopologyError(f"consumer {name} of {stream}: other processes keep changing it")


async def work_lease(connection: BusConnection, settings: BusSettings, kind: str) -> float | None:
    """Return the seconds of lease that the consumer of a kind's work gives, None when there is none."""
    jetstream = JetStream(connection, timeout_seconds=settings.request_timeout_seconds)
    topology = Topology(settings)
    found = await _consumer_config(jetstream, topology.work, topology.work_consumer(kind))
    return None if found is None else int(found["ack_wait"]) / NANOSECONDS


async def pause_consumer(jetstream: JetStream, stream: str, name: str, until: str) -> None:
    """Give out nothing more until then; a time that has passed goes on. Leases are renewed all the same."""
    await jetstream.call(f"CONSUMER.PAUSE.{stream}.{name}", {"pause_until": until})


async def recorded_policy(jetstream: JetStream, topology: Topology) -> DispatchPolicy:
    """Return the policy of dispatch as it was applied last."""
    subject = f"$KV.{topology.kinds}.{POLICY_KEY}"
    try:
        answer = await jetstream.call(f"STREAM.MSG.GET.KV_{topology.kinds}", {"last_by_subj": subject})
    except BusRefusedError as error:
        if error.error_code == MESSAGE_NOT_FOUND:
            return DispatchPolicy()
        raise
    return DispatchPolicy.model_validate_json(base64.b64decode(answer["message"]["data"]))


async def _longest_lease(jetstream: JetStream, topology: Topology, kind: str, asked: int) -> int:
    """Put our wish on record if it is the longest; return the longest, in nanoseconds."""
    stream = f"KV_{topology.kinds}"
    subject = f"$KV.{topology.kinds}.lease.{kind}"
    for _ in range(RACES_MAX):
        longest, sequence = await _recorded_lease(jetstream, stream, subject)
        if longest >= asked:
            return longest
        expected = {"Nats-Expected-Stream": stream, "Nats-Expected-Last-Subject-Sequence": str(sequence)}
        try:
            await jetstream.publish(subject, str(asked).encode(), headers=expected)
        except BusRefusedError as error:
            if error.error_code not in (WRONG_LAST_SEQUENCE, WRONG_LAST_SEQUENCE_CONSTANT):
                raise
    raise TopologyError(f"{subject}: other processes keep changing it")


async def _recorded_lease(jetstream: JetStream, stream: str, subject: str) -> tuple[int, int]:
    """Return the lease on record and its sequence; zeros when there is none."""
    try:
        answer = await jetstream.call(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject})
    except BusRefusedError as error:
        if error.error_code == MESSAGE_NOT_FOUND:
            return 0, 0
        raise
    message = answer["message"]
    data = base64.b64decode(message.get("data", ""))
    return int(data or b"0"), int(message["seq"])


async def _consumer_config(jetstream: JetStream, stream: str, name: str) -> JsonMap | None:
    try:
        answer = await jetstream.call(f"CONSUMER.INFO.{stream}.{name}")
    except BusRefusedError as error:
        if error.error_code == CONSUMER_NOT_FOUND:
            return None
        raise
    return answer["config"]


async def _create_consumer(jetstream: JetStream, stream: str, config: JsonMap, *, action: str) -> None:
    try:
        await jetstream.call(
            f"CONSUMER.CREATE.{stream}.{config['name']}.{config['filter_subject']}",
            {"stream_name": stream, "config": config, "action": action},
        )
    except BusRefusedError as error:
        if error.error_code not in (CONSUMER_EXISTS, CONSUMER_NAME_EXISTS):
            raise
        # Another process was faster; the caller looks again.
