"""``milepost demo``."""

from pathlib import Path
from typing import Annotated

import typer

from milepost_cli.demo_stage import perform
from milepost_cli.options import JsonOption, examples, new_app

app = new_app()


@app.command(epilog=examples("milepost demo", "milepost demo --keep"))
def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the stack running, to try things on it.")
    ] = False,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--directory", help="Where to play; a new directory. Default: ./.milepost/demo.", file_okay=False
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the main job in a minute: backtest, cancel, resume elsewhere, compare.

    Starts a stack in a fresh directory, runs a backtest over real prices, runs it again, cancels it halfway,
    resumes it on another worker and compares the results byte by byte. Exits with 1 if anything differs.
    """
    perform(directory, keep=keep, as_json=as_json)
