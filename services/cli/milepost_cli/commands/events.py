"""``milepost events``: show, step, fold, export, import, diff."""

from datetime import datetime
from typing import Annotated

import typer
from milepost_contracts.events import EVENTS, Side
from milepost_orchestrator.application.replaying import EventFilter, event_document, place_of
from milepost_runtime.event_log import LogEntry, ReadEntry

from milepost_cli import running
from milepost_cli.bus import open_bus
from milepost_cli.commands.events_files import diff_events, export_events, import_events
from milepost_cli.commands.events_replay import fold_events, step_events
from milepost_cli.errors import UsageFaultError
from milepost_cli.event_words import entry_words
from milepost_cli.histories import read_stream
from milepost_cli.history_options import OfFileOption, StreamArgument, moment
from milepost_cli.location import StackLocation, locate
from milepost_cli.options import DirectoryOption, JsonOption, examples, new_app
from milepost_cli.output import people, print_json, print_json_line
from milepost_cli.tables import print_table

app = new_app()
NAMES = sorted(event.NAME for event in EVENTS.values())


@app.callback()
def events() -> None:
    """Show, step through, export, import and compare events."""


@app.command(
    "show",
    epilog=examples(
        "milepost events show op-abc --no-progress",
        "milepost events show op-abc --type claimed --type attempt-lost",
        "milepost events show op-abc --since 2026-11-25T10:00 --follow",
        "milepost events show history.jsonl --json",
    ),
)
def show_events(
    stream: StreamArgument,
    progress: Annotated[
        bool, typer.Option("--progress/--no-progress", help="With or without progress.")
    ] = True,
    types: Annotated[
        list[str] | None, typer.Option("--type", help=f"Only events of this type: {', '.join(NAMES)}.")
    ] = None,
    side: Annotated[Side | None, typer.Option(help="Only what the orchestrator or the worker wrote.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only from this time on, such as 2026-11-25T10:00 (local) or ...Z.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Only up to this time.")] = None,
    first: Annotated[int | None, typer.Option("--from", help="Only from this sequence on.")] = None,
    last: Annotated[int | None, typer.Option("--to", help="Only up to this sequence.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with what happens, until Ctrl-C; --json gives lines.")
    ] = False,
    of_file: OfFileOption = None,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an operation's events in order, straight from the log or from a history file."""
    unknown = sorted(set(types or ()) - set(NAMES))
    if unknown:
        raise UsageFaultError(f"there is no event {', '.join(unknown)}", fix=f"choose of {', '.join(NAMES)}")
    wanted = EventFilter(
        names=frozenset(types or ()),
        side=side,
        progress=progress,
        since=moment("--since", since),
        until=moment("--until", until),
        first_sequence=first,
        last_sequence=last,
    )
    found = read_stream(stream, of_file, directory)
    entries = [entry for entry in found.entries() if wanted.takes(entry)]
    if not follow:
        _print(found.operation_id, entries, as_json=as_json)
        return
    for entry in entries:
        _print_line(entry, as_json=as_json)
    after = found.events[-1].sequence
    running.run(_follow(locate(directory), found.operation_id, after, wanted, as_json=as_json))


async def _follow(
    location: StackLocation, operation_id: str, after: int, wanted: EventFilter, *, as_json: bool
) -> None:
    async with open_bus(location) as bus:
        async for entry in bus.event_log.tail(operation_id=operation_id, after_sequence=after):
            if wanted.takes(entry):
                _print_line(entry, as_json=as_json)


def _print(operation_id: str, entries: list[ReadEntry], *, as_json: bool) -> None:
    if as_json:
        print_json({"operation_id": operation_id, "events": [event_document(entry) for entry in entries]})
        return
    rows = [
        (str(entry.sequence), _time(entry), place_of(entry)[0].value, entry_words(entry)) for entry in entries
    ]
    print_table(("SEQUENCE", "TIME", "SIDE", "EVENT"), rows, right=("SEQUENCE",), wrap=("EVENT",))


def _print_line(entry: ReadEntry, *, as_json: bool) -> None:
    if as_json:
        print_json_line(event_document(entry))
        return
    side = place_of(entry)[0].value
    people().print(f"{entry.sequence:>8}  {_time(entry)}  {side:<7}  {entry_words(entry)}", soft_wrap=True)


def _time(entry: ReadEntry) -> str:
    return clock_words(entry.envelope.time) if isinstance(entry, LogEntry) else "-"


def clock_words(time: datetime) -> str:
    """Return the time of day here, with milliseconds."""
    return time.astimezone().strftime("%H:%M:%S.%f")[:-3]


app.command(
    "step",
    epilog=examples(
        "milepost events step op-abc",
        "milepost events step op-abc --no-progress --json",
        "milepost events step history.jsonl --at 57",
    ),
)(step_events)
app.command(
    "fold",
    epilog=examples(
        "milepost events fold op-abc --sequence 57", "milepost events fold op-abc --time 2026-11-25T10:00:00Z"
    ),
)(fold_events)
app.command(
    "export",
    epilog=examples(
        "milepost events export op-abc --out history.jsonl",
        "milepost events export op-abc op-def --out two.jsonl --redact host --redact spec.data.name",
        "milepost events export --all --out everything.jsonl",
    ),
)(export_events)
app.command("import", epilog=examples("milepost events import history.jsonl --dry-run"))(import_events)
app.command(
    "diff",
    epilog=examples(
        "milepost events diff op-abc op-def",
        "milepost events diff op-abc history.jsonl --exact",
    ),
)(diff_events)
