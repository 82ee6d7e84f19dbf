"""What an event says, in a few words."""

from collections.abc import Mapping
from typing import Any

from milepost_orchestrator.entrypoints.dashboard.formatting import figure, short_id, size, whole


def event_words(event: Mapping[str, Any]) -> str:
    """Return an event's content in one line; nothing for one whose name says it all."""
    if "unreadable" in event:
        return f"cannot be read: {event['unreadable']}"
    data: Mapping[str, Any] = event["data"]
    parts = [*_of_name(event["event"], data)]
    if data.get("reason") and event["event"] != "state-snapshot":
        parts.append(str(data["reason"]))
    if data.get("requested_by"):
        parts.append(f"by {data['requested_by']}")
    return ", ".join(parts)


def _of_name(name: str, data: Mapping[str, Any]) -> list[str]:
    match name:
        case "requested":
            return [f"{data['kind']}", *([str(data["name"])] if data.get("name") else [])]
        case "claimed":
            return [f"attempt {data['attempt']} by {data['worker_id']} on {data['host']}"]
        case "started":
            return [f"at {whole(data['unit'])} of {whole(data['total_units'])} {data['unit_name']}s"]
        case "progress":
            metrics = [f"{key} {figure(value)}" for key, value in list(data["metrics"].items())[:4]]
            return [f"{whole(data['unit'])} of {whole(data['total_units'])}", *metrics]
        case "state-snapshot":
            saved = sum(each["size_bytes"] for each in data["artifacts"])
            words = f"{short_id(data['checkpoint_id'])} at {whole(data['unit'])}"
            return [words, str(data["reason"]), size(saved)]
        case "failed" | "attempt-lost":
            return [f"attempt {data['attempt']}: {data['failure']['message']}"]
        case "resumed":
            return [f"{data.get('relation', 'resume')} as {short_id(data['child_id'])}"]
        case "cancelled" | "completed" | "released":
            return [f"at {whole(data['unit'])}"]
        case "cancel-requested":
            return [f"after {whole(data['at_unit'])}"] if data.get("at_unit") is not None else []
        case "checkpoint-refused":
            return [short_id(data["checkpoint_id"]), str(data["message"])]
        case _:
            return [short_id(data["checkpoint_id"])] if data.get("checkpoint_id") else []
