"""``milepost follow``."""

import typer

from milepost_cli import running
from milepost_cli.bus import open_bus
from milepost_cli.live import JsonLineDisplay, choose_display
from milepost_cli.location import locate
from milepost_cli.lookup import operation_id_of
from milepost_cli.options import DirectoryOption, JsonOption, OperationArgument, examples, new_app
from milepost_cli.watching import ended_badly, watch

app = new_app()


@app.command(epilog=examples("milepost follow op-abc", "milepost follow op-abc --json | jq .event"))
def follow(
    operation: OperationArgument, directory: DirectoryOption = None, as_json: JsonOption = False
) -> None:
    """Watch an operation until it has ended.

    A bar in a terminal, lines elsewhere; with --json one JSON document on a line for each event. Exits with 0 when
    it completed, with 1 when it failed or was cancelled. Ctrl-C ends the watching, never the operation.
    """
    location = locate(directory)
    with location.api() as api:
        operation_id = operation_id_of(api, operation)

    async def run() -> int:
        display = JsonLineDisplay() if as_json else choose_display(to_stdout=True)
        async with open_bus(location) as bus:
            view = await watch(bus, operation_id, display)
        if view.status == "completed":
            return 0
        error = ended_badly(view)
        if as_json:
            # The last line says how it ended; a document of another form would break whoever reads lines.
            return error.exit_code
        raise error

    raise typer.Exit(running.run(run()))
