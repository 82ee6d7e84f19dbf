"""How an operation is to be run, from the options of ``start`` and ``resume``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from milepost_contracts import events
from milepost_contracts.capabilities import Needs
from milepost_contracts.checkpoints import CheckpointPolicySpec
from milepost_contracts.commands import RunOptions
from milepost_contracts.model import ContractModel
from milepost_contracts.problems import problems_of
from pydantic import ValidationError

from milepost_cli.bus import open_bus
from milepost_cli.errors import UsageFaultError
from milepost_cli.location import locate

CommandT = TypeVar("CommandT", bound=ContractModel)
FULL_SPEED = 0.0
"""What ``--pace 0`` means."""


def run_options(
    *,
    stop_at_unit: int | None,
    pace: float | None,
    every_units: int | None,
    every_seconds: float | None,
    accept_environment: bool = False,
    needs: Needs | None = None,
) -> RunOptions:
    """Return the options; only what was asked for is set, a pace of 0 as none.

    Raises:
        UsageFaultError: a value is impossible.
    """
    given: dict[str, Any] = {}
    if stop_at_unit is not None:
        given["stop_at_unit"] = stop_at_unit
    if pace is not None:
        given["pace_units_per_second"] = None if pace == FULL_SPEED else pace
    if accept_environment:
        given["accept_environment"] = True
    if needs is not None:
        given["needs"] = needs
    try:
        if every_units is not None or every_seconds is not None:
            given["checkpoint"] = CheckpointPolicySpec(every_units=every_units, every_seconds=every_seconds)
        return RunOptions(**given)
    except ValidationError as error:
        raise faults_of(error) from error


def needs_of(gpus: int, memory_gb: float, labels: Sequence[str]) -> Needs | None:
    """Return what a worker must have; None when any will do.

    Raises:
        UsageFaultError: a label is impossible.
    """
    if not (gpus or memory_gb or labels):
        return None
    try:
        return Needs(gpus=gpus, memory_bytes=int(memory_gb * 1e9), labels=tuple(labels))
    except ValidationError as error:
        raise faults_of(error) from error


def faults_of(error: ValidationError) -> UsageFaultError:
    """Return the usage error that names every impossible value."""
    return UsageFaultError(
        "the command holds impossible values", fix="correct what is named", problems=problems_of(error)
    )


def command_of(command_type: type[CommandT], **fields: Any) -> CommandT:
    """Return the command of what was typed.

    Raises:
        UsageFaultError: it holds impossible values; every one is named.
    """
    try:
        return command_type(**fields)
    except ValidationError as error:
        raise faults_of(error) from error


async def options_for_resume(
    asked: RunOptions, operation_id: str, directory: Path | None
) -> RunOptions | None:
    """Return the parent's options, less what was only for it, with what was asked for on top; None without that.

    Raises:
        NotFoundError: there is no such parent.
    """
    if not asked.model_fields_set:
        return None
    async with open_bus(locate(directory)) as bus:
        entries = await bus.history(operation_id, progress=False)
    found = (entry.event.options for entry in entries if isinstance(entry.event, events.Requested))
    own = {"stop_at_unit": None, "accept_environment": False}
    kept = next(found, RunOptions()).model_copy(update=own)
    return kept.model_copy(update={name: getattr(asked, name) for name in asked.model_fields_set})
