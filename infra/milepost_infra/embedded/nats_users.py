"""Who may say what on the bus: one NATS user for each service, each with the least it needs.

A forbidden publish reaches its sender as a timeout only (the reason goes to the error callback of the
connection), so every permission here has a test of what works and a test of what does not.
"""

import json
from dataclasses import dataclass
from typing import Literal, TypeAlias

from milepost_infra.embedded.credentials import Credentials

NatsUser: TypeAlias = Literal["milepost", "orchestrator", "worker", "client"]

INBOXES = "_INBOX.>"
_READ_API = ("$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.FC.>")


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subjects that a user may publish to and subscribe to. Replies to requests are always allowed."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def permissions_of(user: NatsUser, prefix: str) -> Permissions:
    """Return what ``user`` may do in the tenant ``prefix``."""
    match user:
        case "milepost":
            return Permissions(publish=(">",), subscribe=(">",))
        case "orchestrator":
            # It makes and changes the JetStream streams, so it may use all of the JetStream API.
            return Permissions(
                publish=(
                    f"{prefix}.>",
                    "$JS.API.>",
                    "$JS.ACK.>",
                    "$JS.FC.>",
                    f"$KV.{prefix}_fleet.>",
                    f"$KV.{prefix}_kinds.>",
                    INBOXES,
                ),
                subscribe=(f"{prefix}.>", INBOXES, f"$KV.{prefix}_fleet.>", f"$KV.{prefix}_kinds.>"),
            )
        case "worker":
            return _worker(prefix)
        case "client":
            return _client(prefix)


def authorization(prefix: str, credentials: Credentials) -> str:
    """Return the ``authorization`` block of a nats-server configuration."""
    passwords: dict[NatsUser, str] = {
        "milepost": credentials.nats_milepost,
        "orchestrator": credentials.nats_orchestrator,
        "worker": credentials.nats_worker,
        "client": credentials.nats_client,
    }
    users = [_user(name, password, permissions_of(name, prefix)) for name, password in passwords.items()]
    # nats-server reads JSON values inside its own syntax.
    return "authorization {\n  users: [\n    " + ",\n    ".join(users) + "\n  ]\n}\n"


def _user(name: NatsUser, password: str, permissions: Permissions) -> str:
    rules = {
        "publish": {"allow": list(permissions.publish)},
        "subscribe": {"allow": list(permissions.subscribe)},
        # Answer whoever asks, on the reply subject of that one message.
        "allow_responses": {"max": 10, "expires": "1m"},
    }
    return json.dumps({"user": name, "password": password, "permissions": rules})


def _worker(prefix: str) -> Permissions:
    """Write run events of operations, take work, keep its place in the fleet; nothing of the control side."""
    readable = (f"{prefix}_EVENTS", f"KV_{prefix}_fleet", f"KV_{prefix}_kinds")
    work = f"{prefix}_WORK"
    return Permissions(
        publish=(
            INBOXES,
            f"{prefix}.event.*.run.>",
            f"{prefix}.signal.*",
            f"$KV.{prefix}_fleet.>",
            f"$KV.{prefix}_kinds.>",
            f"$JS.API.CONSUMER.CREATE.{work}.*.{prefix}.work.>",
            f"$JS.API.CONSUMER.MSG.NEXT.{work}.*",
            f"$JS.API.CONSUMER.PAUSE.{work}.*",
            f"$JS.ACK.{work}.>",
            *_READ_API,
            *_look_at_streams(prefix),
            *(subject for stream in readable for subject in _read_stream(stream)),
        ),
        subscribe=(f"{prefix}.signal.*", INBOXES),
    )


def _client(prefix: str) -> Permissions:
    """Give commands and read: events, verdicts, the fleet, the kinds of work."""
    readable = (f"{prefix}_EVENTS", f"{prefix}_VERDICTS", f"KV_{prefix}_fleet", f"KV_{prefix}_kinds")
    return Permissions(
        publish=(
            f"{prefix}.request.*",
            f"{prefix}.command.*",
            INBOXES,
            *_READ_API,
            *_look_at_streams(prefix),
            *(subject for stream in readable for subject in _read_stream(stream)),
        ),
        subscribe=(INBOXES, f"{prefix}.verdict.*", f"{prefix}.event.>"),
    )


def _look_at_streams(prefix: str) -> tuple[str, ...]:
    """Return the JetStream API subjects that tell how the streams look; services verify them at their start."""
    names = ("EVENTS", "COMMANDS", "VERDICTS", "WORK", "DISPATCH")
    return (
        *(f"$JS.API.STREAM.INFO.{prefix}_{name}" for name in names),
        f"$JS.API.STREAM.MSG.GET.{prefix}_WORK",
        f"$JS.API.CONSUMER.INFO.{prefix}_WORK.*",
    )


def _read_stream(stream: str) -> tuple[str, ...]:
    """Return the JetStream API subjects that read one JetStream stream with consumers of one's own."""
    api = "$JS.API"
    return (
        f"{api}.STREAM.INFO.{stream}",
        f"{api}.STREAM.MSG.GET.{stream}",
        f"{api}.DIRECT.GET.{stream}",
        f"{api}.DIRECT.GET.{stream}.>",
        f"{api}.CONSUMER.INFO.{stream}.*",
        f"{api}.CONSUMER.CREATE.{stream}",
        f"{api}.CONSUMER.CREATE.{stream}.>",
        f"{api}.CONSUMER.DELETE.{stream}.*",
        f"{api}.CONSUMER.MSG.NEXT.{stream}.*",
        f"$JS.ACK.{stream}.>",
    )
