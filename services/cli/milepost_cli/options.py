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
