"""The JetStream streams and buckets that Milepost needs: created, verified, mended.

Authority: this module alone decides how they look. Idempotent; several processes may run it at once. Failures:
what can be updated in place is; what cannot (storage, retention) is an error that names the difference. What an
operator has set beyond our wishes (placement, compression, more replicas) is left alone.
"""

from dataclasses import dataclass
from typing import Any

import structlog

from milepost_runtime.bus.connection import BusConnection
from milepost_runtime.bus.jetstream import (
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
RACES_MAX = 10
_WORK_CONSUMER = "workers_"
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
    def dispatch(self) -> str:
        """JetStream stream of facts about dispatch and schedules."""
        return f"{self.settings.prefix}_DISPATCH"

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
        return f"{_WORK_CONSUMER}{kind}"

    def kind_of(self, consumer: str) -> str | None:
        """Return the kind whose work a consumer gives out, None for another consumer."""
        return consumer.removeprefix(_WORK_CONSUMER) if consumer.startswith(_WORK_CONSUMER) else None


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
        {
            **common,
            "name": topology.dispatch,
            "subjects": [f"{prefix}.dispatch.>"],
            "retention": "limits",
            "allow_rollup_hdrs": True,
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
        words = differences_in_words(found, wanted, differing)
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


def differences_in_words(found: JsonMap, wanted: JsonMap, keys: set[str]) -> str:
    """Say what each of ``keys`` is and should be."""
    return ", ".join(f"{key} is {found.get(key)!r} and should be {wanted[key]!r}" for key in sorted(keys))


async def _stream_config(jetstream: JetStream, name: str) -> JsonMap | None:
    try:
        answer = await jetstream.call(f"STREAM.INFO.{name}")
    except BusRefusedError as error:
        if error.error_code == STREAM_NOT_FOUND:
            return None
        raise
    return answer["config"]
