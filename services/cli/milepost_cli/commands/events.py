"""``milepost events show``."""

import asyncio
from typing import Annotated

import typer
from milepost_runtime.event_log import LogEntry

from milepost_cli.bus import open_bus
from milepost_cli.event_words import event_document, event_words
from milepost_cli.location import locate
from milepost_cli.lookup import operation_id_of
from milepost_cli.options import DirectoryOption, JsonOption, OperationArgument, examples, new_app
from milepost_cli.output import print_json
from milepost_cli.tables import print_table

app = new_app()


@app.callback()
def events() -> None:
    """Show what happened to an operation, event by event."""


@app.command(
    "show", epilog=examples("milepost events show op-abc --no-progress", "milepost events show op-abc --json")
)
def show_events(
    operation: OperationArgument,
    progress: Annotated[
        bool, typer.Option("--progress/--no-progress", help="With or without progress.")
    ] = True,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an operation's events in order, straight from the log."""
    location = locate(directory)
    with location.api() as api:
        operation_id = operation_id_of(api, operation)

    async def read() -> list[LogEntry]:
        async with open_bus(location) as bus:
            return await bus.history(operation_id, progress=progress)

    entries = asyncio.run(read())
    if as_json:
        print_json({"operation_id": operation_id, "events": [event_document(entry) for entry in entries]})
        return
    rows = [
        (
            str(entry.sequence),
            entry.envelope.time.astimezone().strftime("%H:%M:%S.%f")[:-3],
            entry.event.SIDE.value,
            event_words(entry.event),
        )
        for entry in entries
    ]
    print_table(("SEQUENCE", "TIME", "SIDE", "EVENT"), rows, right=("SEQUENCE",), wrap=("EVENT",))
