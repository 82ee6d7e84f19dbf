"""Events that can be decoded and yet cannot be kept in Postgres: found before anything is folded.

The answer is the event's alone, never its neighbours', so a rebuild in other batches sets aside the same ones.
"""

from datetime import datetime

from milepost_contracts.events import Event, Progress
from milepost_contracts.model import ContractModel
from milepost_runtime.event_log import LogEntry, ProgressEntry

SMALL_MAX = 2**31 - 1
WHOLE_MAX = 2**63 - 1
TEXT_CHARACTERS_MAX = 2000
"""Of what is part of an index: names of metrics."""
_SMALL = frozenset({"attempt"})


class UnstorableError(ValueError):
    """The event holds a value that no column can hold."""


def check_storable(entry: LogEntry) -> None:
    """Pass, or say what cannot be kept.

    Raises:
        UnstorableError: the field is named.
    """
    event = entry.event
    if isinstance(event, Progress):  # by far the most frequent: no loop over its fields
        if event.unit > WHOLE_MAX or event.total_units > WHOLE_MAX or not 0 <= event.attempt <= SMALL_MAX:
            _check_fields(event, "")
        for name in event.metrics:
            if len(name) > TEXT_CHARACTERS_MAX:
                raise UnstorableError(f"metrics: a name of {len(name)} characters")
    else:
        _check_fields(event, "")
    _check_time(entry.envelope.time)


def is_storable_progress(entry: ProgressEntry) -> bool:
    """Say whether ``check_storable`` passes the event."""
    if entry.unit > WHOLE_MAX or entry.total_units > WHOLE_MAX or not 0 <= entry.attempt <= SMALL_MAX:
        return False
    if not 1 < entry.time.year < 9999:
        return False
    return all(len(name) <= TEXT_CHARACTERS_MAX for name in entry.metrics)


def _check_time(time: datetime) -> None:
    """Years 1 and 9999 may leave the calendar when they are brought to UTC."""
    if not 1 < time.year < 9999:
        raise UnstorableError(f"time: the year {time.year}")


def _check_fields(model: Event | ContractModel, path: str) -> None:
    for name in type(model).model_fields:
        value: object = getattr(model, name)
        if isinstance(value, ContractModel):
            _check_fields(value, f"{path}{name}.")
        elif isinstance(value, tuple):
            for item in value:  # pyright: ignore[reportUnknownVariableType] - of any type
                if isinstance(item, ContractModel):
                    _check_fields(item, f"{path}{name}.")
        elif isinstance(value, int):
            most = SMALL_MAX if name in _SMALL else WHOLE_MAX
            if not -most <= value <= most:
                raise UnstorableError(f"{path}{name}: {value} is beyond {most}")
