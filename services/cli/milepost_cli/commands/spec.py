"""``milepost spec example`` and ``milepost spec schema``."""

import asyncio
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer
from milepost_contracts.kinds import KindDescription
from milepost_runtime.worker.kind import ENTRY_POINT_GROUP
from milepost_runtime.worker.kinds import load_kind

from milepost_cli.announced_kinds import announced_kinds
from milepost_cli.errors import NotFoundError
from milepost_cli.options import DirectoryOption, JsonOption, examples, new_app
from milepost_cli.output import print_json

app = new_app()
KindArgument = Annotated[str, typer.Argument(metavar="KIND", help="Kind of work, such as backtest.")]


@app.callback()
def spec() -> None:
    """Print example specs and their schemas."""


@app.command(
    "example",
    epilog=examples("milepost spec example backtest > spec.json", "milepost spec example sweep > sweep.json"),
)
def example(kind: KindArgument, directory: DirectoryOption = None, as_json: JsonOption = False) -> None:
    """Print a valid spec to edit. It is JSON with and without --json."""
    del as_json
    print_json(describe(kind, directory).example)


@app.command("schema", epilog=examples("milepost spec schema backtest"))
def schema(kind: KindArgument, directory: DirectoryOption = None, as_json: JsonOption = False) -> None:
    """Print the JSON Schema of a kind's spec, and those of its registered parts under `$parts`."""
    del as_json
    description = describe(kind, directory)
    print_json({**description.spec_schema, **({"$parts": description.parts} if description.parts else {})})


def describe(kind: str, directory: Path | None) -> KindDescription:
    """Return what a kind's specs must look like: as a worker of the stack announced it, or as installed here.

    The announcement comes first: it is what commands are checked against, and it has the parts that are
    installed where the workers are.

    Raises:
        NotFoundError: neither; those that are there are named.
    """
    announced = asyncio.run(announced_kinds(directory))
    for description in announced:
        if description.kind == kind:
            return description
    installed = entry_points(group=ENTRY_POINT_GROUP).names
    if kind in installed:
        return load_kind(kind).describe()
    names = sorted({*installed, *(description.kind for description in announced)})
    raise NotFoundError(
        f"there is no kind {kind}", fix=f"there are: {', '.join(names) or 'none'}", code="unknown-kind"
    )
