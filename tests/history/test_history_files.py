"""History files: exact, whole or refused; redaction, comparison."""

import io
import json
from dataclasses import replace

import pytest
from milepost_contracts.events import Side
from milepost_runtime.errors import HistoryDamagedError, RedactionError
from milepost_runtime.event_log import StoredEvent
from milepost_runtime.history.comparison import compare
from milepost_runtime.history.differences import ABSENT, Difference, differences
from milepost_runtime.history.files import HistoryHeader, read_history, write_history
from milepost_runtime.history.redaction import redact
from milepost_runtime.stored_events import entry_of

from tests.history.stored import stored_story
from tests.orchestrator.stories import (
    OPERATION,
    archived,
    claimed,
    completed,
    log_entries,
    progress,
    requested,
    resumed,
    snapshot,
    started,
)

pytestmark = pytest.mark.unit
HEADER = HistoryHeader("milepost", (OPERATION,))
STORY = stored_story(requested(), claimed(), started(), progress(5), snapshot(), completed())


def written(events=STORY, header=HEADER) -> bytes:
    file = io.BytesIO()
    write_history(file, header, events)
    return file.getvalue()


def test_what_is_written_comes_back_byte_for_byte() -> None:
    """Events come back equal, also such that are no JSON, have two lines or an unusual form."""
    odd = [
        StoredEvent(7, OPERATION, Side.RUN, "progress", b"\xff\x00 no json"),
        StoredEvent(8, OPERATION, Side.RUN, "progress", b'{\n "data": 1}'),
        StoredEvent(9, OPERATION, Side.RUN, "later", b'{ "x" : 1.00, "event":{"event":[]}  }'),
    ]
    header, events, end = read_history(io.BytesIO(written([*STORY, *odd])))
    assert header == HEADER
    assert list(events) == [*STORY, *odd]
    assert end.events == len(STORY) + 3


def test_same_events_give_the_same_file() -> None:
    """Nothing of the moment or the machine is in a history."""
    assert written() == written()


def test_every_damage_is_noticed() -> None:
    """A changed byte, a missing, doubled or swapped line, more at the end, another format: refused."""
    whole = written()
    lines = whole.splitlines(keepends=True)
    damaged = [
        whole.replace(b'"unit":5', b'"unit":6'),
        b"".join(lines[:3] + lines[4:]),
        b"".join(lines[:3] + lines[2:]),
        b"".join([lines[0], lines[2], lines[1], *lines[3:]]),
        whole[: len(whole) // 2],
        b"".join(lines[:-1]),
        whole + b"\n",
        b"",
        b"not a history\n",
        b"[1]\n",
        lines[0].replace(b'"version":1', b'"version":2') + b"".join(lines[1:]),
        lines[0].replace(b'"operations"', b'"nothing"') + b"".join(lines[1:]),
    ]
    for content in damaged:
        with pytest.raises(HistoryDamagedError):
            read_history(io.BytesIO(content))


def test_redaction_replaces_the_named_values_only() -> None:
    """Spec values, hosts and sources become `redacted`, also in the request that a resume repeats."""
    story = stored_story(requested(spec={"units": 3, "data": {"name": "secret"}}), claimed(), resumed())
    paths = ("spec.*", "host", "source")
    first, second, third = (json.loads(redact(each, paths).payload) for each in story)
    assert first["data"]["spec"] == {"units": "redacted", "data": "redacted"}
    assert first["data"]["kind"] == "counter"
    assert (second["data"]["host"], second["data"]["worker_id"]) == ("redacted", "w-1")
    assert {first["source"], second["source"], third["source"]} == {"redacted"}
    assert third["data"]["child"]["spec"] == {"units": "redacted"}
    assert redact(story[1], ("spec.*",)) is story[1]


def test_redaction_reaches_the_end_that_an_archived_event_repeats() -> None:
    """The terminal event's own values and its source, wherever they stand."""
    (end,) = log_entries(completed(), first_sequence=9)
    event = archived(end.envelope.model_copy(update={"sequence": "9"}))
    found = json.loads(redact(stored_story(event)[0], ("summary.*", "source")).payload)
    assert found["data"]["end"]["data"]["summary"] == {"value": "redacted"}
    assert (found["source"], found["data"]["end"]["source"]) == ("redacted", "redacted")


@pytest.mark.parametrize("path", ["pid", "lease_seconds", "*"])
def test_redaction_that_would_break_an_event_is_refused(path: str) -> None:
    """A field that must be a number cannot be hidden; it is named."""
    with pytest.raises(RedactionError, match=f"{'attempt' if path == 'x' else ''}.*claimed"):
        redact(stored_story(claimed())[0], (path,))


def test_redacted_events_can_be_read() -> None:
    """What was redacted decodes as before."""
    redacted = redact(STORY[0], ("spec.units", "requested_by"))
    assert entry_of(redacted).event.spec == {"units": "redacted"}


def test_differences_name_every_leaf() -> None:
    """Changed, added and removed fields, in objects and lists; numbers by value, booleans are no numbers."""
    before = {"a": 1, "b": {"c": [1, 2]}, "d": True, "n": None, "same": float("nan")}
    after = {"a": 1.0, "b": {"c": [1, 3, 4]}, "d": 1, "e": "new", "same": float("nan")}
    assert list(differences(before, after)) == [
        Difference("b.c.1", 2, 3),
        Difference("b.c.2", ABSENT, 4),
        Difference("d", True, 1),
        Difference("n", None, ABSENT),
        Difference("e", ABSENT, "new"),
    ]


def test_runs_that_differ_in_worker_and_pace_only_are_equal() -> None:
    """Ids, hosts, times and speeds do not count, unless exactness is wanted."""
    left = log_entries(requested(), claimed(1, "w-1"), started(), completed())
    right = log_entries(requested(), claimed(1, "w-2"), started(), completed(), first_sequence=50)
    assert all(pair.equal for pair in compare(left, right))
    exact = compare(left, right, exact=True)
    assert {d.path for pair in exact for d in pair.differences} >= {"id", "time", "data.worker_id"}


def test_comparison_finds_what_is_missing_more_and_other() -> None:
    """An event that only one stream has stands alone; the same event with other data names the fields."""
    left = log_entries(requested(), claimed(), started(), snapshot("cp-1", 50), completed())
    other = completed().model_copy(update={"summary": {"value": 2}})
    right = log_entries(requested(), claimed(), started(), snapshot("cp-1", 60), snapshot("cp-2", 70), other)
    pairs = [pair for pair in compare(left, right) if not pair.equal]
    found = [
        (pair.left.event.NAME if pair.left else None, pair.right.event.NAME if pair.right else None)
        for pair in pairs
    ]
    assert found == [
        ("state-snapshot", "state-snapshot"),
        (None, "state-snapshot"),
        ("completed", "completed"),
    ]
    assert [each.path for each in pairs[0].differences] == ["unit"]
    assert [each.path for each in pairs[2].differences] == ["summary.value"]


def test_order_of_the_log_is_required() -> None:
    """Positions go up; a file in which they do not was put together by hand."""
    with pytest.raises(HistoryDamagedError, match="sequence"):
        read_history(io.BytesIO(written([STORY[1], replace(STORY[0])])))
