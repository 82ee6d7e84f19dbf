"""Progress decoded in one pass says what the ordinary way says, or leaves the event to it."""

import json
from datetime import timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_contracts.envelope import Envelope
from milepost_contracts.events import Progress, Side
from milepost_runtime.event_log import LogEntry, ReadEntry, StoredEvent
from milepost_runtime.progress_entries import TYPE, _Data, _Document, progress_entry
from milepost_runtime.stored_events import read_entry

pytestmark = pytest.mark.unit
DATA = {"attempt": 1, "unit": 5, "total_units": 300, "units_per_second": 1.5, "metrics": {"loss": 0.25}}
DOCUMENT = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/worker/w-1",
    "type": TYPE,
    "subject": "op-1",
    "time": "2026-11-25T22:37:22.640178Z",
    "datacontenttype": "application/json",
    "data": DATA,
}
NUMBERS = st.one_of(st.integers(), st.integers(-(2**70), 2**70), st.floats(), st.sampled_from([2**53, 2**63]))
VALUES: st.SearchStrategy[Any] = st.one_of(
    NUMBERS,
    st.none(),
    st.booleans(),
    st.text(max_size=3),
    st.sampled_from(["5", "1.0", "NaN", "Infinity", "", "x" * 129, [], {}, {"loss": "NaN"}, {"a": None}]),
    st.dictionaries(st.text(max_size=3), NUMBERS, max_size=2),
)
TIMES = st.one_of(
    st.builds(
        lambda time, minutes: time.replace(tzinfo=timezone(timedelta(minutes=minutes))).isoformat(),
        st.datetimes(),
        st.integers(-720, 840),
    ),
    st.sampled_from(
        [
            "2026-11-25T22:37:22.6401785Z",
            "2026-11-25T22:37:22.9999999Z",
            "2026-11-25T22:37Z",
            "2026-11-25_22:37:22Z",
            "2026-W48-3T10:00:00Z",
            "2026-11-25T22:37:22",
            "1764110242",
            "0001-01-01T00:00:00+05:00",
        ]
    ),
)


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """Documents of progress with anything in some of their fields, and fields that do not exist."""
    document: dict[str, Any] = {**DOCUMENT, "data": {**DATA}}
    for name in draw(st.sets(st.sampled_from([*Envelope.model_fields, "other"]), max_size=2)):
        document[name] = draw(VALUES)
    if isinstance(document["data"], dict):
        for name in draw(st.sets(st.sampled_from([*Progress.model_fields, "other"]), max_size=2)):
            document["data"][name] = draw(VALUES)
    if draw(st.booleans()):
        document["time"] = draw(TIMES)
    for name in draw(st.sets(st.sampled_from(sorted(document)), max_size=1)):
        del document[name]
    return json.dumps(document, ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass")


def ordinary(payload: bytes) -> ReadEntry:
    return read_entry(StoredEvent(7, "op-1", Side.RUN, Progress.NAME, payload))


@given(documents())
def test_what_is_decoded_in_one_pass_is_what_the_ordinary_way_reads(payload: bytes) -> None:
    """Whatever stands in the document: the same values, or no answer at all."""
    found = progress_entry(7, "op-1", payload)
    if found is None:
        return
    read = ordinary(payload)
    assert isinstance(read, LogEntry), read
    told = read.event
    assert isinstance(told, Progress)
    assert (found.sequence, found.operation_id) == (read.sequence, read.operation_id)
    assert (found.time, found.time.utcoffset()) == (read.envelope.time, read.envelope.time.utcoffset())
    # By their words: -0.0 is not 0.0, and 1 is not 1.0.
    assert repr(found[3:8]) == repr(
        (told.attempt, told.unit, told.total_units, told.units_per_second, told.metrics)
    )
    assert found.stored == StoredEvent(7, "op-1", Side.RUN, Progress.NAME, payload)


def test_ordinary_progress_is_decoded_in_one_pass() -> None:
    """What workers write takes the quick way; otherwise nothing would be quick and no test would see it."""
    assert progress_entry(7, "op-1", json.dumps(DOCUMENT).encode()) is not None
    absent = {**DOCUMENT, "data": {**DATA, "units_per_second": None, "metrics": {}}, "correlationid": "op-0"}
    assert progress_entry(7, "op-1", json.dumps(absent).encode()) is not None


def test_fields_are_those_of_the_models() -> None:
    """A field that the models gain must be known here too, or every event would take the slow way."""
    assert set(_Data.__struct_fields__) == set(Progress.model_fields)
    assert set(_Document.__struct_fields__) == set(Envelope.model_fields)
    assert progress_entry(7, "op-1", json.dumps({**DOCUMENT, "type": TYPE}).encode()) is not None
