"""Progress, by far the most frequent event, decoded in one pass and without its envelope.

Authority: ``stored_events.read_entry``. What is decoded here is what that would decode, value for value; whatever
looks unusual in any way is left to it, so it alone decides what is refused.
"""

from typing import Annotated, Literal

import msgspec
from milepost_contracts.events import Progress
from milepost_contracts.upcasting import REGISTRY
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from milepost_runtime.event_log import ProgressEntry

WHOLE_MAX = 2**53
"""Beyond it JSON libraries read whole numbers in different ways."""
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Small = Annotated[int, msgspec.Meta(ge=-WHOLE_MAX, le=WHOLE_MAX)]
_Unit = Annotated[int, msgspec.Meta(ge=0, le=WHOLE_MAX)]
_TIME = TypeAdapter(AwareDatetime).validator
TYPE = Progress.type_name()


class _Data(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The fields of ``Progress``."""

    attempt: _Small
    unit: _Unit
    total_units: _Unit
    units_per_second: float | None = None
    metrics: dict[str, float] = {}


class _Document(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The fields of ``Envelope`` around them."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    source: _Text
    type: Literal["milepost.operation.progress.v1"]
    subject: _Text
    time: str
    data: _Data
    specversion: Literal["1.0"] = "1.0"
    datacontenttype: Literal["application/json"] = "application/json"
    correlationid: str | None = None
    causationid: str | None = None
    sequence: str | None = None
    importedfrom: str | None = None
    traceparent: str | None = None


_DECODER = msgspec.json.Decoder(_Document)


def progress_entry(sequence: int, operation_id: str, payload: bytes) -> ProgressEntry | None:
    """Return the entry of a progress event; None when it is to be read in the ordinary way."""
    if REGISTRY.knows(TYPE):
        return None
    try:
        document = _DECODER.decode(payload)
        time = _TIME.validate_python(document.time)
    except (msgspec.MsgspecError, ValidationError, UnicodeDecodeError):
        return None
    data = document.data
    return ProgressEntry(
        sequence,
        operation_id,
        time,
        data.attempt,
        data.unit,
        data.total_units,
        data.units_per_second,
        data.metrics,
        payload,
    )
