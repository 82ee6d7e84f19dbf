"""A cancel as a person fills it in: why, and which of four ways to stop."""

from collections.abc import Mapping
from typing import Any

from milepost_contracts.commands import CancelOperation
from pydantic import BaseModel, ConfigDict, field_validator

from milepost_orchestrator.entrypoints.dashboard.search import AGE_EXAMPLES, seconds_of_age


class _Deadline(BaseModel):
    """Says in words what is wrong with a time that was typed."""

    model_config = ConfigDict(frozen=True)
    deadline: float

    @field_validator("deadline", mode="before")
    @classmethod
    def _typed(cls, value: str) -> int:
        seconds = seconds_of_age(value.strip())
        if seconds is None:
            raise ValueError(f"{value!r} is no length of time: {AGE_EXAMPLES}")
        return seconds


def cancel_command(form: Mapping[str, Any]) -> CancelOperation:
    """Return the command; fields of the ways that were not chosen count for nothing.

    Raises:
        ValidationError: what was entered makes none.
    """
    fields = {name: form[name] for name in ("operation_id", "reason", "dry_run") if name in form}
    match form.get("when"):
        case "at-unit":
            fields["at_unit"] = form.get("at_unit", "")
        case "deadline":
            fields["deadline_seconds"] = _Deadline(deadline=form.get("deadline", "")).deadline
        case "force":
            fields["force"] = True
        case _:
            pass
    return CancelOperation.model_validate(fields)
