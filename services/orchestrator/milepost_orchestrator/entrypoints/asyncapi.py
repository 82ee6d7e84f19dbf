"""The AsyncAPI document of the bus: ``python -m milepost_orchestrator.entrypoints.asyncapi [--check]``.

FastStream generates the channels and operations of the orchestrator's handlers; what it has no word for is added
here: message types, replies, the verdicts' and the events' channels with their parameters. Payloads refer to the
JSON Schemas next to the document.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

from faststream.specification import AsyncAPI
from milepost_contracts.commands import COMMANDS
from milepost_contracts.envelope import CONTENT_TYPE
from milepost_contracts.events import EVENTS, Event, Side
from milepost_contracts.schema_export import DIRECTORY
from milepost_runtime.settings import BusSettings

from milepost_orchestrator.entrypoints.bus import create_broker, subscribe

JsonMap: TypeAlias = dict[str, Any]
PATH = DIRECTORY.parent / "asyncapi.json"
PREFIX = "milepost"
SERVERS = [{"$ref": "#/servers/nats"}]
VERDICTS = {"verdict": "Verdict", "verdict.cleanup": "What came of a cleanup"}
_PARAMETERS = {
    "command": {"description": "Name of the command.", "enum": sorted(COMMANDS)},
    "command_id": {"description": "Id of the command's envelope, its idempotency key."},
    "operation_id": {"description": "Id of the operation."},
}


def document() -> JsonMap:
    """Return the document for the default prefix."""
    generated = _generated()
    channels = {
        **{f"request.{name}": _request_channel(generated, name) for name in COMMANDS},
        "command": _command_channel(generated),
        "verdict": _verdict_channel(),
        **{f"event.{event.NAME}": _event_channel(event) for event in EVENTS.values()},
    }
    operations = {
        **{f"request.{name}": _request_operation(generated, name) for name in COMMANDS},
        "command": _command_operation(generated),
        "verdict": _operation("send", "verdict", [*VERDICTS], "The orchestrator answers a stored command."),
        **{f"event.{event.NAME}": _event_operation(event) for event in EVENTS.values()},
    }
    return {
        "asyncapi": generated["asyncapi"],
        "info": {
            **generated["info"],
            "description": "What is said on the bus. Every command and event is a CloudEvents 1.0 document.",
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {
            "nats": {
                "host": "localhost:4222",
                "protocol": "nats",
                "description": "NATS with JetStream; another prefix than `milepost` is another tenant.",
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": _messages()},
    }


def drifted(path: Path = PATH) -> bool:
    """Say whether the committed document is not what the code says."""
    return not path.exists() or path.read_text(encoding="utf-8") != _text()


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check; return the exit code."""
    parser = argparse.ArgumentParser(description="Write the AsyncAPI document of the bus.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file differs")
    if not parser.parse_args(arguments).check:
        PATH.write_text(_text(), encoding="utf-8")
        return 0
    if drifted():
        sys.stderr.write(
            f"{PATH.name} differs: run `python -m milepost_orchestrator.entrypoints.asyncapi`, commit it\n"
        )
        return 1
    return 0


def _text() -> str:
    return json.dumps(document(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _generated() -> JsonMap:
    """Return what FastStream says of the handlers; they are registered and never called."""
    settings = BusSettings(url="nats://localhost:4222", prefix=PREFIX)
    broker = create_broker(settings)
    subscribe(broker, settings, cast("Any", None), cast("Any", None))
    specification = AsyncAPI(broker, title="Milepost", version="1", schema_version="3.0.0")
    return specification.to_specification().to_jsonable()


# --- channels -------------------------------------------------------------------------------------


def _request_channel(generated: JsonMap, name: str) -> JsonMap:
    channel: JsonMap = generated["channels"][f"request.{name}"]
    messages = {message: _component(message) for message in (_command_message(name), _verdict_message(name))}
    return {**channel, "servers": SERVERS, "messages": messages}


def _command_channel(generated: JsonMap) -> JsonMap:
    channel: JsonMap = generated["channels"]["command"]
    return {
        **channel,
        "address": f"{PREFIX}.command.{{command}}",
        "servers": SERVERS,
        "parameters": {"command": _PARAMETERS["command"]},
        "messages": {_command_message(name): _component(_command_message(name)) for name in COMMANDS},
    }


def _verdict_channel() -> JsonMap:
    return {
        "address": f"{PREFIX}.verdict.{{command_id}}",
        "description": "Verdicts on stored commands, kept for a day.",
        "servers": SERVERS,
        "parameters": {"command_id": _PARAMETERS["command_id"]},
        "messages": {name: _component(name) for name in VERDICTS},
    }


def _event_channel(event: type[Event]) -> JsonMap:
    return {
        "address": f"{PREFIX}.event.{{operation_id}}.{event.SIDE}.{event.NAME}",
        "description": _words(event),
        "servers": SERVERS,
        "parameters": {"operation_id": _PARAMETERS["operation_id"]},
        "messages": {_event_message(event): _component(_event_message(event))},
    }


# --- operations -----------------------------------------------------------------------------------


def _request_operation(generated: JsonMap, name: str) -> JsonMap:
    channel = f"request.{name}"
    operation: JsonMap = generated["operations"][channel]
    return {
        **operation,
        "messages": [_of_channel(channel, _command_message(name))],
        "reply": {
            "address": {"location": "$message.header#/reply", "description": "NATS' own reply subject."},
            "channel": {"$ref": f"#/channels/{channel}"},
            "messages": [_of_channel(channel, _verdict_message(name))],
        },
    }


def _command_operation(generated: JsonMap) -> JsonMap:
    operation: JsonMap = generated["operations"]["command"]
    return {**operation, "messages": [_of_channel("command", _command_message(name)) for name in COMMANDS]}


def _event_operation(event: type[Event]) -> JsonMap:
    writer = "The orchestrator" if event.SIDE is Side.CONTROL else "The worker that owns the operation"
    channel = f"event.{event.NAME}"
    return _operation("send", channel, [_event_message(event)], f"{writer} records it.")


def _operation(action: str, channel: str, messages: Sequence[str], summary: str) -> JsonMap:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "messages": [_of_channel(channel, message) for message in messages],
    }


# --- messages -------------------------------------------------------------------------------------


def _messages() -> JsonMap:
    verdicts = {
        name: {
            "name": name,
            "title": title,
            "contentType": "application/json",
            "payload": {"$ref": f"./schemas/{name}.v1.json"},
        }
        for name, title in VERDICTS.items()
    }
    commands = {
        _command_message(name): _enveloped(command.TYPE, f"command.{name}.v1.json", _words(command))
        for name, command in COMMANDS.items()
    }
    events = {
        _event_message(event): _enveloped(
            event.type_name(), f"event.{event.NAME}.v{event.VERSION}.json", _words(event)
        )
        for event in EVENTS.values()
    }
    return {**verdicts, **commands, **events}


def _enveloped(type_name: str, schema_file: str, words: str) -> JsonMap:
    data = {"$ref": f"./schemas/{schema_file}"}
    return {
        "name": type_name,
        "title": type_name,
        "summary": words,
        "contentType": CONTENT_TYPE,
        "payload": {
            "allOf": [
                {"$ref": "./schemas/envelope.v1.json"},
                {"type": "object", "properties": {"type": {"const": type_name}, "data": data}},
            ]
        },
    }


def _verdict_message(command: str) -> str:
    own = f"verdict.{command}"
    return own if own in VERDICTS else "verdict"


def _command_message(name: str) -> str:
    return f"command.{name}.v1"


def _event_message(event: type[Event]) -> str:
    return f"event.{event.NAME}.v{event.VERSION}"


def _component(message: str) -> JsonMap:
    return {"$ref": f"#/components/messages/{message}"}


def _of_channel(channel: str, message: str) -> JsonMap:
    return {"$ref": f"#/channels/{channel}/messages/{message}"}


def _words(model: type[object]) -> str:
    return " ".join((model.__doc__ or "").split("\n\n", 1)[0].split())


if __name__ == "__main__":
    sys.exit(main())
