"""``milepost wait``."""

from typing import Annotated

import typer

from milepost_cli import running
from milepost_cli.bus import open_bus
from milepost_cli.live import choose_display
from milepost_cli.location import locate
from milepost_cli.lookup import operation_id_of
from milepost_cli.options import DirectoryOption, JsonOption, OperationArgument, examples, new_app
from milepost_cli.sending import finish
from milepost_cli.watching import watch

app = new_app()


@app.command(epilog=examples("milepost wait op-abc", "milepost wait op-abc --timeout 60 --json"))
def wait(
    operation: OperationArgument,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Give up waiting after this many seconds.")
    ] = None,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Wait until an operation has ended.

    Exits with 0 when it completed, with 1 when it failed, was cancelled, or has not ended in time.
    """
    location = locate(directory)
    with location.api() as api:
        operation_id = operation_id_of(api, operation)

    async def run() -> None:
        display = choose_display(to_stdout=False, quiet=as_json)
        async with open_bus(location) as bus:
            view = await watch(bus, operation_id, display, timeout)
        finish(view, as_json=as_json)

    running.run(run())
