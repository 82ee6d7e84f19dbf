"""Arguments and options that several commands share, each with its one explanation."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from milepost_cli.command_table import MARKUP_MODE

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
DirectoryOption = Annotated[
    Path | None,
    typer.Option(
        "--directory",
        help="The stack's directory. Default: MILEPOST_DIRECTORY, else the nearest .milepost here or above.",
        file_okay=False,
    ),
]
OperationArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The operation; a beginning that fits only one is enough.")
]

CheckpointArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The checkpoint; a beginning is enough.")
]
ReasonOption = Annotated[str | None, typer.Option(help="Why; kept with what it is about, and shown there.")]
CommandIdOption = Annotated[
    str | None, typer.Option(help="Idempotency key: with the same key nothing happens a second time.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what the verdict would be; do nothing.")]
FollowOption = Annotated[bool, typer.Option("--follow", "-f", help="Watch it until it has ended.")]
PaceOption = Annotated[
    float | None, typer.Option(help="Slow down to this many units a second; 0 for full speed.")
]
StopAtUnitOption = Annotated[
    int | None, typer.Option(min=0, help="Cancel exactly after this unit, with a checkpoint.")
]
EveryUnitsOption = Annotated[
    int | None,
    typer.Option("--checkpoint-every-units", min=1, help="Save a checkpoint at each multiple of this."),
]
EverySecondsOption = Annotated[
    float | None,
    typer.Option("--checkpoint-every-seconds", help="Save a checkpoint when this much time has passed."),
]
FromCheckpointOption = Annotated[
    str | None,
    typer.Option("--checkpoint", help="Any kept checkpoint of the operation; the newest by default."),
]
KindArgument = Annotated[str, typer.Argument(metavar="KIND", help="Kind of work, such as backtest.")]
SpecArgument = Annotated[
    str | None, typer.Argument(metavar="SPEC", help="JSON file, - for standard input, or inline JSON.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Set one field of the spec; repeatable."),
]
QueueOption = Annotated[str, typer.Option(help="Queue of work to put it into.")]


def examples(*lines: str) -> str:
    """Return the epilog of a help text: one example a line."""
    # The help is markup: a bracket in an example is a bracket all the same.
    return "\n".join(("[bold]Examples[/bold]", *(f"  {escape(line)}" for line in lines)))


def new_app() -> typer.Typer:
    """Return an app to register one command on, or a group of them."""
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=MARKUP_MODE,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
