"""What older versions have written is read for ever: recorded streams fold to the states they folded to then."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from milepost_contracts.events import EVENTS
from milepost_contracts.schema_compatibility import RELEASED
from milepost_contracts.upcasting import REGISTRY, UpcasterRegistry, decode_event
from milepost_orchestrator.application.projections import project
from milepost_orchestrator.application.replaying import state_document
from milepost_orchestrator.application.state_cache import StateCache
from milepost_runtime import stored_events
from milepost_runtime.history.files import read_history, write_history
from milepost_runtime.stored_events import entry_of, read_entry

from tests.histories.folding import fold_history

pytestmark = pytest.mark.unit
HISTORIES = sorted(Path(__file__).parent.glob("*.jsonl"))


def events_of(path: Path) -> list[Any]:
    with path.open("rb") as file:
        return list(read_history(file)[1])


def kept(golden: Any, now: Any, path: str = "$") -> list[str]:
    """Every value of the golden state that is another now; what was added since does not matter."""
    if isinstance(golden, dict) and isinstance(now, dict):
        lost = [f"{path}.{key}: gone" for key in golden.keys() - now.keys()]
        return lost + [
            d for key in golden.keys() & now.keys() for d in kept(golden[key], now[key], f"{path}.{key}")
        ]
    if isinstance(golden, list) and isinstance(now, list) and len(golden) == len(now):
        return [d for place, each in enumerate(golden) for d in kept(each, now[place], f"{path}.{place}")]
    return [] if golden == now else [f"{path}: was {golden!r}, is {now!r}"]


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_recorded_streams_fold_to_the_states_of_then(path: Path) -> None:
    """Every value of the recorded state is still so; new fields may have come."""
    golden = json.loads(path.with_suffix(".states.json").read_text())
    states = {key: state_document(state) for key, state in fold_history(path).items()}
    assert states.keys() == golden.keys()
    assert kept(golden, json.loads(json.dumps(states))) == []


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_recorded_streams_project_whole_and_are_written_again_byte_for_byte(path: Path) -> None:
    """Nothing of them is set aside, and exporting them again gives the same file."""
    with path.open("rb") as file:
        header, events, _ = read_history(file)
    changes = project(StateCache(), [read_entry(stored) for stored in events])
    assert changes.quarantine == []
    assert len(changes.operations) == len(header.operations)
    again = io.BytesIO()
    write_history(again, header, events)
    assert again.getvalue() == path.read_bytes()


def test_every_released_event_version_is_recorded() -> None:
    """A version that was ever released is in a history, and is still read."""
    versions = {
        f"milepost.operation.{path.stem.removeprefix('event.')}" for path in RELEASED.glob("event.*.json")
    }
    recorded = {json.loads(stored.payload)["type"] for path in HISTORIES for stored in events_of(path)}
    assert versions - recorded == set()
    assert all(version in EVENTS or REGISTRY.knows(version) for version in versions)


def test_upcasters_read_recorded_streams_of_a_version_that_is_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Recorded claims in a shape of before, two versions back, fold to the same states as today's."""
    registry = UpcasterRegistry()
    first, second = "milepost.operation.claimed.v8", "milepost.operation.claimed.v9"
    today = "milepost.operation.claimed.v1"
    registry.register(
        first, second, lambda data: {**data, "worker": data["worker"]["id"], "host": data["worker"]["host"]}
    )
    registry.register(
        second,
        today,
        lambda data: {**{k: v for k, v in data.items() if k != "worker"}, "worker_id": data["worker"]},
    )
    monkeypatch.setattr(stored_events, "decode_event", lambda envelope: decode_event(envelope, registry))
    aged = 0
    for path in HISTORIES:
        for stored in events_of(path):
            document = json.loads(stored.payload)
            if document["type"] != today:
                continue
            before = entry_of(stored)
            data = document["data"]
            worker = {"id": data.pop("worker_id"), "host": data.pop("host")}
            document.update(type=first, data={**data, "worker": worker})
            old = type(stored)(
                stored.sequence, stored.operation_id, stored.side, stored.name, json.dumps(document).encode()
            )
            assert entry_of(old).event == before.event
            aged += 1
    assert aged >= len(HISTORIES)
