"""Send a command over the bus, say the verdict, and watch what comes of it if that is wanted."""

import asyncio
from pathlib import Path

from milepost_contracts.commands import DispatchCommand, OperationCommand, StartOperation, command_name
from milepost_contracts.schedules import ScheduleCommand
from milepost_contracts.verdicts import Accepted, Duplicate
from milepost_runtime.bus.fleet import NatsFleet
from milepost_runtime.errors import BusUnavailableError
from milepost_runtime.fleet import Fleet

from milepost_cli.bus import open_bus
from milepost_cli.event_words import changes_words
from milepost_cli.live import choose_display
from milepost_cli.location import locate
from milepost_cli.operation_view import OperationView
from milepost_cli.output import notes, people, print_json
from milepost_cli.watching import ended_badly, resume_command, watch

_MAKING = ("start", "resume", "fork", "retry")
_DONE = {
    "start": "started",
    "cancel": "cancelling",
    "resume": "resumed as",
    "fork": "forked as",
    "retry": "retried as",
    "prioritize": "gave another place to",
    "checkpoint-now": "asked for a checkpoint of",
    "pin-checkpoint": "pinned a checkpoint of",
    "unpin-checkpoint": "unpinned a checkpoint of",
    "delete-checkpoint": "deleted a checkpoint of",
}


async def send(
    command: OperationCommand,
    directory: Path | None,
    *,
    command_id: str | None,
    follow: bool,
    as_json: bool,
    cancel_wanted: bool = False,
) -> None:
    """Send ``command``; with ``follow`` wait for the end and raise when it is not the one that was wanted.

    Raises:
        CommandError: rejected, or (with ``follow``) the operation failed or was cancelled by someone else.
    """
    location = locate(directory)
    async with open_bus(location) as bus:
        verdict = await bus.command(command, command_id)
        if isinstance(command, StartOperation) and not as_json:
            await _say_what_lacks(command, NatsFleet(bus.connection, location.bus()))
        following = follow and not command.dry_run
        if not following:
            _say_verdict(command, verdict, as_json=as_json)
            return
        if not as_json:
            notes().print(_verdict_words(command, verdict), soft_wrap=True)
        view = await watch(bus, verdict.operation_id, choose_display(to_stdout=False, quiet=as_json))
    finish(view, as_json=as_json, also_well="cancelled" if cancel_wanted else "completed")


def send_and_say(
    command: DispatchCommand | ScheduleCommand,
    done: str,
    directory: Path | None,
    *,
    command_id: str | None,
    as_json: bool,
) -> None:
    """Send a command that is about no operation, and say ``done``, with its id for ``{id}``, when it was accepted.

    Raises:
        CommandError: it was rejected.
    """
    verdict = asyncio.run(_verdict(command, directory, command_id))
    if as_json:
        print_json(verdict.model_dump(mode="json"))
    elif isinstance(verdict, Duplicate):
        people().print(f"this command took effect before: {verdict.operation_id}", soft_wrap=True)
    elif verdict.dry_run:
        people().print("it would be accepted; nothing was done")
    else:
        people().print(done.replace("{id}", verdict.operation_id), soft_wrap=True)


async def _verdict(
    command: DispatchCommand | ScheduleCommand, directory: Path | None, command_id: str | None
) -> Accepted | Duplicate:
    async with open_bus(locate(directory)) as bus:
        return await bus.command(command, command_id)


async def _say_what_lacks(command: StartOperation, fleet: Fleet) -> None:
    """Tell a person who would wait for ever; the operation itself is in order."""
    try:
        workers = await fleet.workers()
    except BusUnavailableError:  # the command had its verdict, that is what counts
        return
    if not any(worker.kind == command.kind for worker in workers):
        notes().print(
            f"no worker of the kind {command.kind} is alive: start one with `milepost worker {command.kind}`",
            soft_wrap=True,
        )


def finish(view: OperationView, *, as_json: bool, also_well: str = "completed") -> None:
    """Say how an operation ended.

    Raises:
        OperationEndedBadlyError: it failed, or was cancelled though that was not wanted.
    """
    if view.status not in ("completed", also_well):
        raise ended_badly(view)
    if as_json:
        print_json(view.document())
        return
    people().print(f"{view.operation_id} {view.status} at {view.unit:,}", soft_wrap=True)
    hint = f"milepost results {view.operation_id} --out results" if view.results else None
    hint = resume_command(view) if view.is_resumable else hint
    if hint:
        notes().print(f"next: {hint}", soft_wrap=True)


def _say_verdict(command: OperationCommand, verdict: Accepted | Duplicate, *, as_json: bool) -> None:
    if as_json:
        print_json(verdict.model_dump(mode="json"))
        return
    people().print(_verdict_words(command, verdict), soft_wrap=True)
    if not command.dry_run and "checkpoint" not in command_name(command):
        notes().print(f"next: milepost follow {verdict.operation_id}", soft_wrap=True)


def _verdict_words(command: OperationCommand, verdict: Accepted | Duplicate) -> str:
    done = _DONE[command_name(command)]
    if isinstance(verdict, Duplicate):
        return f"this command took effect before: {verdict.operation_id}"
    if verdict.dry_run:
        makes_one = command_name(command) in _MAKING
        subject = f"; it would be {verdict.operation_id}" if makes_one else ""
        return f"it would be accepted{subject}{_changed(verdict)}; nothing was done"
    at = f" at {verdict.unit:,}" if verdict.unit is not None else ""
    preposition = " from checkpoint" if command_name(command) in _MAKING else ":"
    origin = f"{preposition} {verdict.checkpoint_id}{at}" if verdict.checkpoint_id else ""
    return f"{done} {verdict.operation_id}{origin}{_changed(verdict)}"


def _changed(verdict: Accepted) -> str:
    words = changes_words([change.model_dump() for change in verdict.changes])
    return f"; changed: {words}" if words else ""
