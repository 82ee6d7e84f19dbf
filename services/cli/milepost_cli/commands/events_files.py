"""``milepost events export``, ``import`` and ``diff``: event streams in files, and compared."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from milepost_orchestrator.application.replaying import event_document
from milepost_runtime.event_log import LogEntry, StoredEvent
from milepost_runtime.history.comparison import Pair, compare
from milepost_runtime.history.files import HistoryEnd, HistoryHeader, read_history, write_history
from milepost_runtime.history.importing import Imported, import_history
from milepost_runtime.history.redaction import redact
from rich.text import Text

from milepost_cli import reader
from milepost_cli.bus import no_operation, open_bus
from milepost_cli.errors import UsageFaultError
from milepost_cli.event_words import entry_words
from milepost_cli.histories import read_stream
from milepost_cli.history_options import StreamArgument
from milepost_cli.location import StackLocation, locate
from milepost_cli.lookup import operation_id_of
from milepost_cli.options import DirectoryOption, JsonOption
from milepost_cli.output import notes, people, print_json
from milepost_cli.stepping import change_line

DIFFERENT = 1


def export_events(
    operations: Annotated[
        list[str] | None, typer.Argument(metavar="ID...", help="The operations; beginnings are enough.")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", help="The history file to write (.jsonl).", dir_okay=False)
    ] = Path("history.jsonl"),
    everything: Annotated[bool, typer.Option("--all", help="Every operation of the stack.")] = False,
    redactions: Annotated[
        list[str] | None,
        typer.Option(
            "--redact",
            metavar="PATH",
            help="Replace the values at this path of the events' data, such as host, requested_by, "
            "spec.data.name or summary.*; may be given several times.",
        ),
    ] = None,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the events of operations to a file, whole and with a digest, to keep or to take to another stack.

    The same events give the same file. What was replaced by --redact is named in its first line.
    """
    if bool(operations) == everything:
        raise UsageFaultError("name operations, or give --all", fix="`milepost ps --all` lists them")
    location = locate(directory)
    with location.api() as api:
        if everything:
            listed = (reader.text(each, "operation_id") for each in api.pages("/operations", "operations"))
            ids = [each for each in listed if each]
        else:
            ids = list(dict.fromkeys(operation_id_of(api, each) for each in operations or ()))
    paths = tuple(dict.fromkeys(redactions or ()))
    events = [redact(stored, paths) for stored in asyncio.run(_read(location, ids))]
    header = HistoryHeader(location.bus().prefix, tuple(sorted(ids)), paths)
    end = _write(out, header, events)
    document = {"path": str(out), "operations": len(ids), "events": end.events, "digest": end.digest}
    if as_json:
        print_json(document)
        return
    people().print(f"{out}: {end.events:,} events of {len(ids):,} operations, {end.digest}", soft_wrap=True)


def import_events(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="A history file.", exists=True, dir_okay=False)
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and say what would be written.")
    ] = False,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put the events of a history file into this stack, for reading: nothing of it is ever run here.

    Refused when an operation exists here with other events; importing the same file again writes nothing.
    """
    with path.open("rb") as file:
        header, events, end = read_history(file)
    location = locate(directory)

    async def put() -> Imported:
        async with open_bus(location) as bus:
            return await import_history(bus.event_log, events, imported_from=end.digest, dry_run=dry_run)

    done = asyncio.run(put())
    if as_json:
        print_json(
            {
                "operations": list(header.operations),
                "events_written": done.events_written,
                "events_present": done.events_present,
                "imported_from": end.digest,
                "redacted": list(header.redacted),
                "dry_run": dry_run,
            }
        )
        return
    would = "would be " if dry_run else ""
    people().print(
        f"{done.operations:,} operations: {done.events_written:,} events {would}written, "
        f"{done.events_present:,} were there already",
        soft_wrap=True,
    )
    if header.redacted:
        notes().print(f"redacted before it came here: {', '.join(header.redacted)}", soft_wrap=True)


def diff_events(
    left: StreamArgument,
    right: StreamArgument,
    progress: Annotated[
        bool,
        typer.Option("--progress/--no-progress", help="Compare progress too; how often it comes is chance."),
    ] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="Ids, times, workers and speeds too: the very same events.")
    ] = False,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two event streams, of operations or of history files; exits with 0 when equal, with 1 when not."""
    first, second = (read_stream(each, None, directory) for each in (left, right))
    pairs = compare(
        *(
            [entry for entry in stream.typed_entries() if progress or entry.event.NAME != "progress"]
            for stream in (first, second)
        ),
        exact=exact,
    )
    different = [pair for pair in pairs if not pair.equal]
    if as_json:
        print_json(
            {
                "left": first.operation_id,
                "right": second.operation_id,
                "equal": not different,
                "compared": len(pairs),
                "differences": [_document(pair) for pair in different],
            }
        )
    else:
        for pair in different:
            _print_pair(pair)
        counted = f"{len(different):,} of {len(pairs):,} events differ" if different else "equal"
        people().print(f"{counted}: {first.operation_id} and {second.operation_id}")
    raise typer.Exit(DIFFERENT if different else 0)


async def _read(location: StackLocation, ids: Sequence[str]) -> list[StoredEvent]:
    found: list[StoredEvent] = []
    async with open_bus(location) as bus:
        for operation_id in ids:
            events = await bus.stored(operation_id)
            if not events:
                raise no_operation(operation_id)
            found.extend(events)
    return sorted(found, key=lambda stored: stored.sequence)


def _write(path: Path, header: HistoryHeader, events: Sequence[StoredEvent]) -> HistoryEnd:
    """The file appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            end = write_history(file, header, events)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return end


def _document(pair: Pair) -> dict[str, object]:
    return {
        "left": event_document(pair.left) if pair.left else None,
        "right": event_document(pair.right) if pair.right else None,
        "differences": [each.document() for each in pair.differences],
    }


def _print_pair(pair: Pair) -> None:
    match pair:
        case Pair(left=LogEntry() as left, right=None):
            people().print(Text(f"- {left.sequence:>6}  {entry_words(left)}", style="red"), soft_wrap=True)
        case Pair(left=None, right=LogEntry() as right):
            people().print(
                Text(f"+ {right.sequence:>6}  {entry_words(right)}", style="green"), soft_wrap=True
            )
        case Pair(left=LogEntry() as left, right=LogEntry() as right):
            people().print(
                Text(f"~ {left.sequence:>6} {right.sequence:>6}  {left.event.NAME}"), soft_wrap=True
            )
            width = max(len(each.path) for each in pair.differences)
            for each in pair.differences:
                people().print(change_line(each, width), soft_wrap=True)
        case _:
            return
