"""``milepost events step`` and ``fold``: the state after each event, and as of any moment."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

import typer
from milepost_orchestrator.application.replaying import (
    EventFilter,
    PastState,
    event_document,
    state_as_of,
    state_document,
    steps,
)
from milepost_runtime.event_log import StoredEvent

from milepost_cli.errors import NotFoundError, UsageFaultError
from milepost_cli.formatting import flat_items, format_value
from milepost_cli.histories import EventStream, read_stream
from milepost_cli.history_options import OfFileOption, StreamArgument, moment
from milepost_cli.options import DirectoryOption, JsonOption
from milepost_cli.output import notes, people, print_facts, print_json, print_json_line
from milepost_cli.stepping import Stepper, print_step

SHOWN_APART = frozenset({"spec", "inputs", "options", "summary", "failure", "results"})


def step_events(
    stream: StreamArgument,
    progress: Annotated[
        bool, typer.Option("--progress/--no-progress", help="Stop at progress too, or pass over it.")
    ] = True,
    at: Annotated[int | None, typer.Option("--at", help="Begin at this sequence.")] = None,
    of_file: OfFileOption = None,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go through an operation event by event, seeing the state and what each event changed.

    In a terminal by keys: n or space the next, b the one before, f to the next change of status, g and G to the
    first and the last, s the whole state, q quit. Elsewhere everything is printed; --json gives one document on a
    line for each event. Nothing is changed by looking.
    """
    found = read_stream(stream, of_file, directory)
    wanted = EventFilter(progress=progress, first_sequence=at)
    all_steps = [step for step in steps(found.entries()) if wanted.takes(step.entry)]
    if not all_steps:
        raise NotFoundError(
            f"{found.operation_id} has no such event",
            fix=f"its last one is at sequence {found.events[-1].sequence}",
            code="event-not-found",
        )
    if as_json:
        for step in all_steps:
            print_json_line(
                {
                    "number": step.number,
                    "event": event_document(step.entry),
                    "changes": [change.document() for change in step.changes],
                    "state": step.state,
                }
            )
    elif sys.stdin.isatty() and sys.stdout.isatty():
        Stepper(all_steps, total=len(found.events)).run()
    else:
        for step in all_steps:
            print_step(step, len(found.events))


def fold_events(
    stream: StreamArgument,
    sequence: Annotated[int | None, typer.Option(help="As of this position in the log, included.")] = None,
    time: Annotated[
        str | None, typer.Option(help="As of this time, included, such as 2026-11-25T10:00 (local) or ...Z.")
    ] = None,
    of_file: OfFileOption = None,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an operation's state as of a sequence or a time; its newest state when neither is given."""
    if sequence is not None and time is not None:
        raise UsageFaultError("--sequence and --time are both given", fix="leave one out")
    at = moment("--time", time)
    found = read_stream(stream, of_file, directory)
    past = asyncio.run(state_as_of(_each(found.events), sequence=sequence, time=at))
    if past.state is None:
        raise NotFoundError(
            f"{found.operation_id} did not exist then",
            fix=f"its first event is at sequence {found.events[0].sequence}",
            code="operation-not-found",
        )
    if as_json:
        print_json(
            {
                "operation_id": found.operation_id,
                "sequence": past.sequence,
                "events": past.events,
                "unreadable": [event_document(entry) for entry in past.unreadable],
                "state": state_document(past.state),
            }
        )
        return
    _print_past(found, past)


def _print_past(found: EventStream, past: PastState) -> None:
    if past.state is None:
        return
    document = state_document(past.state)
    plain = {name: value for name, value in document.items() if name not in SHOWN_APART}
    attempts, checkpoints = plain.pop("attempts"), plain.pop("checkpoints")
    facts = {name: format_value(value) for name, value in plain.items() if value not in (None, [], {})}
    print_facts({"as of": f"sequence {past.sequence}, event {past.events} of {len(found.events)}", **facts})
    for name in sorted(SHOWN_APART & document.keys()):
        if document[name]:
            people().print(f"{name}", style="bold")
            items = flat_items(document[name]) if isinstance(document[name], dict) else [("", document[name])]
            for key, value in items:
                people().print(f"  {key}  {format_value(value)}", soft_wrap=True)
    for each in attempts.values():
        people().print(f"attempt {each['attempt']} by {each['worker_id']}: {each['outcome'] or 'goes on'}")
    for each in checkpoints.values():
        people().print(f"checkpoint {each['checkpoint_id']} at {each['unit']:,}: {each['status']}")
    for entry in past.unreadable:
        notes().print(f"left out, as it cannot be read: {entry.error}", soft_wrap=True)


async def _each(events: Sequence[StoredEvent]) -> AsyncIterator[StoredEvent]:
    for stored in events:
        yield stored
