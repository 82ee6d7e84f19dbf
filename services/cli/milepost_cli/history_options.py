"""Arguments and options of the commands that read event streams."""

from datetime import datetime
from typing import Annotated

import typer

from milepost_cli.errors import UsageFaultError

StreamArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID|FILE", help="An operation (a beginning of its id is enough), or a history file (.jsonl)."
    ),
]
OfFileOption = Annotated[
    str | None, typer.Option("--operation", help="Which operation of a history file that holds several.")
]


def moment(option: str, given: str | None) -> datetime | None:
    """Return the time that was typed; without an offset it is local.

    Raises:
        UsageFaultError: it is no time.
    """
    if given is None:
        return None
    try:
        return datetime.fromisoformat(given).astimezone()
    except ValueError as error:
        raise UsageFaultError(
            f"{option}: {given!r} is no time",
            fix="write it as 2026-11-25T10:00:00, or with Z or +01:00 at its end",
        ) from error
