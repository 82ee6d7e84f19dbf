"""The JetStream streams, buckets and consumers that Milepost needs: created, verified, mended.

Authority: this module alone decides how they look. Idempotent; several processes may run it at once. Failures:
what can be updated in place is; what cannot (storage, retention) is an error that names the difference. What an
operator has set beyond our wishes (placement, compression, more replicas) is left alone.
"""

from dataclasses import dataclass
from typing import Any

import structlog
from milepost_contracts.subjects import Subjects

from milepost_runtime.bus.connection import BusConnection
from milepost_runtime.bus.jetstream import (
    CONSUMER_EXISTS,
    CONSUMER_NAME_EXISTS,
    CONSUMER_NOT_FOUND,
    NANOSECONDS,
    STREAM_NAME_IN_USE,
    STREAM_NOT_FOUND,
    JetStream,
    JsonMap,
)
from milepost_runtime.errors import BusRefusedError, TopologyError
from milepost_runtime.settings import BusSettings

log = structlog.get_logger()
DUPLICATE_WINDOW_SECONDS = 120
VERDICT_SECONDS = 24 * 3600
FLEET_TTL_SECONDS = 15.0
MESSAGE_BYTES_MAX = 1024 * 1024
ACK_PENDING_MAX = 100_000
WAITING_MAX = 4096
"""Workers that wait for work of one kind at the same time."""
RACES_MAX = 10
_UNCHANGEABLE = ("storage", "retention")


@dataclass(frozen=True, slots=True)
class Topology:
    """The names of one tenant's JetStream streams, buckets and consumers."""

    settings: BusSettings

    @property
    def events(self) -> str:
        """JetStream stream of all events."""
        return f"{self.settings.prefix}_EVENTS"

    @property
    def commands(self) -> str:
        """JetStream stream of fire-and-forget commands."""
        return f"{self.settings.prefix}_COMMANDS"

    @property
    def verdicts(self) -> str:
        """JetStream stream of their verdicts, kept for a day."""
        return f"{self.settings.prefix}_VERDICTS"

    @property
    def work(self) -> str:
        """JetStream stream of work: one message for each unfinished operation."""
        return f"{self.settings.prefix}_WORK"

    @property
    def fleet(self) -> str:
        """Bucket of live workers; entries expire."""
        return f"{self.settings.prefix}_fleet"

    @property
    def kinds(self) -> str:
        """Bucket of announced kinds."""
        return f"{self.settings.prefix}_kinds"

    def work_consumer(self, kind: str) -> str:
        """Durable consumer that gives out the work of one kind."""
        return f"workers_{kind}"


async def ensure_topology(
    connection: BusConnection, settings: BusSettings, *, fleet_ttl_seconds: float = FLEET_TTL_SECONDS
) -> None:
    """Create what is missing, mend what differs.

    Raises:
        TopologyError: a JetStream stream differs in something that cannot be changed; it is named.
        BusUnavailableError: JetStream does not answer.
        BusPermissionError: something is missing or differs, and this user may not change it.
    """
    jetstream = JetStream(connection, timeout_seconds=settings.request_timeout_seconds)
    for wanted in _streams(settings, fleet_ttl_seconds):
        await _ensure_stream(jetstream, wanted)


async def ensure_work_consumer(
    connection: BusConnection, settings: BusSettings, kind: str, *, lease_seconds: float
) -> float:
    """Create the consumer of a kind's work, and return the lease that it gives.

    All workers of a kind share one consumer and so one lease. It is the longest that any of them asked for: a
    lease longer than one's own is only slower to notice a death, a shorter one would lose live work. To shorten
    it, delete the consumer while no worker of the kind runs.

    Raises:
        TopologyError: a consumer of that name gives out something else.
        BusUnavailableError, BusPermissionError: as for ``ensure_topology``.
    """
    jetstream = JetStream(connection, timeout_seconds=settings.request_timeout_seconds)
    topology = Topology(settings)
    stream, name = topology.work, topology.work_consumer(kind)
    wanted: JsonMap = {
        "name": name,
        "durable_name": name,
        "filter_subject": Subjects(settings.prefix).works(kind),
        "ack_policy": "explicit",
        "deliver_policy": "all",
        "ack_wait": int(lease_seconds * NANOSECONDS),
        "max_deliver": -1,
        "max_ack_pending": ACK_PENDING_MAX,
        "max_waiting": WAITING_MAX,
    }
    for _ in range(RACES_MAX):
        found = await _consumer_config(jetstream, stream, name)
        if found is None:
            await _create_consumer(jetstream, stream, wanted, action="create")
            continue
        differing = {key for key, value in wanted.items() if found.get(key) != value} - {"ack_wait"}
        fixed = differing & {"filter_subject", "ack_policy", "deliver_policy", "max_waiting"}
        if fixed:
            raise TopologyError(f"consumer {name} of {stream}: {_words(found, wanted, fixed)}")
        longest = max(int(found["ack_wait"]), int(wanted["ack_wait"]))
        if not differing and longest == found["ack_wait"]:
            return longest / NANOSECONDS
        await _create_consumer(jetstream, stream, {**found, **wanted, "ack_wait": longest}, action="update")
    raise TopologyError(f"consumer {name} of {stream}: other processes keep changing it")


async def work_lease(connection: BusConnection, settings: BusSettings, kind: str) -> float | None:
    """Return the seconds of lease that the consumer of a kind's work gives, None when there is none."""
    jetstream = JetStream(connection, timeout_seconds=settings.request_timeout_seconds)
    topology = Topology(settings)
    found = await _consumer_config(jetstream, topology.work, topology.work_consumer(kind))
    return None if found is None else int(found["ack_wait"]) / NANOSECONDS


def _streams(settings: BusSettings, fleet_ttl_seconds: float) -> list[JsonMap]:
    """Return the wished configurations, in the words of JetStream's API."""
    topology, prefix = Topology(settings), settings.prefix
    common: JsonMap = {
        "storage": "file",
        "num_replicas": settings.replicas,
        "duplicate_window": DUPLICATE_WINDOW_SECONDS * NANOSECONDS,
        "max_msg_size": MESSAGE_BYTES_MAX,
        "max_msgs_per_subject": -1,
        "max_age": 0,
        "discard": "new",
        "allow_direct": True,
    }
    return [
        {**common, "name": topology.events, "subjects": [f"{prefix}.event.>"], "retention": "limits"},
        {**common, "name": topology.commands, "subjects": [f"{prefix}.command.>"], "retention": "workqueue"},
        {
            **common,
            "name": topology.verdicts,
            "subjects": [f"{prefix}.verdict.>"],
            "retention": "limits",
            "discard": "old",
            "max_age": VERDICT_SECONDS * NANOSECONDS,
        },
        {
            **common,
            "name": topology.work,
            "subjects": [f"{prefix}.work.>"],
            "retention": "workqueue",
            "max_msgs_per_subject": 1,
            "discard_new_per_subject": True,
        },
        _bucket(common, topology.fleet, ttl_seconds=fleet_ttl_seconds),
        _bucket(common, topology.kinds),
    ]


def _bucket(common: JsonMap, name: str, *, ttl_seconds: float | None = None) -> JsonMap:
    """Return a key-value bucket's stream: see NATS ADR-8."""
    age = int(ttl_seconds * NANOSECONDS) if ttl_seconds is not None else 0
    return {
        **common,
        "name": f"KV_{name}",
        "subjects": [f"$KV.{name}.>"],
        "retention": "limits",
        "max_msgs_per_subject": 1,
        "max_age": age,
        "duplicate_window": min(age or common["duplicate_window"], common["duplicate_window"]),
        "allow_rollup_hdrs": True,
        "deny_delete": True,
    }


async def _ensure_stream(jetstream: JetStream, wanted: JsonMap) -> None:
    name = wanted["name"]
    for _ in range(RACES_MAX):
        found = await _stream_config(jetstream, name)
        if found is None:
            try:
                await jetstream.call(f"STREAM.CREATE.{name}", wanted)
                log.info("JetStream stream created", stream=name)
            except BusRefusedError as error:
                if error.error_code != STREAM_NAME_IN_USE:
                    raise TopologyError(f"{name} cannot be created: {error.detail}") from error
                continue  # another process was faster; what it made is verified like any other
            return
        differing = {key for key, value in wanted.items() if _differs(key, found.get(key), value)}
        if not differing:
            return
        words = _words(found, wanted, differing)
        if differing & set(_UNCHANGEABLE):
            raise TopologyError(f"{name}: {words}")
        changes = {key: wanted[key] for key in differing}
        try:
            await jetstream.call(f"STREAM.UPDATE.{name}", {**found, **changes})
        except BusRefusedError as error:
            raise TopologyError(f"{name}: {words}; JetStream refuses the change: {error.detail}") from error
        log.warning("JetStream stream mended", stream=name, changes=words)
        return
    raise TopologyError(f"{name}: other processes keep changing it")


def _differs(key: str, found: Any, wanted: Any) -> bool:
    if key == "num_replicas":
        return (found or 1) < wanted  # more copies than wished are an operator's doing
    return (found or False) != (wanted or False)  # the server leaves out what is zero or false


def _words(found: JsonMap, wanted: JsonMap, keys: set[str]) -> str:
    return ", ".join(f"{key} is {found.get(key)!r} and should be {wanted[key]!r}" for key in sorted(keys))


async def _stream_config(jetstream: JetStream, name: str) -> JsonMap | None:
    try:
        answer = await jetstream.call(f"STREAM.INFO.{name}")
    except BusRefusedError as error:
        if error.error_code == STREAM_NOT_FOUND:
            return None
        raise
    return answer["config"]


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
