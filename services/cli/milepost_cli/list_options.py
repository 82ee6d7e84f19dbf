"""Options of the commands that list: the same filters, orders and ages everywhere."""

import re
from typing import Annotated

import typer

_AGE = re.compile(r"^(\d+(?:\.\d+)?)\s*([smhdw]?)$")
_UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
AGE_FORM = "such as 90s, 30m, 12h, 7d or 2w"


def parse_age(text: str | float) -> float:
    """Return the seconds of an age such as ``12h``; a bare number is seconds.

    Raises:
        BadParameter: it is none.
    """
    found = _AGE.match(str(text).strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no age; write one {AGE_FORM}")
    return float(found[1]) * _UNIT_SECONDS[found[2]]


KindsOption = Annotated[
    list[str], typer.Option("--kind", help="Only this kind, such as backtest; repeatable.")
]
WorkersOption = Annotated[list[str], typer.Option("--worker", help="Only of this worker; repeatable.")]
NameOption = Annotated[str | None, typer.Option(help="Only with this in the name, in any case.")]
OlderOption = Annotated[
    float | None,
    typer.Option("--older-than", metavar="AGE", parser=parse_age, help=f"{AGE_FORM.capitalize()}."),
]
NewerOption = Annotated[
    float | None,
    typer.Option("--newer-than", metavar="AGE", parser=parse_age, help=f"{AGE_FORM.capitalize()}."),
]
AscendingOption = Annotated[
    bool, typer.Option("--ascending", help="The smallest or oldest first, not the largest or newest.")
]


STATUSES = ("queued", "running", "cancelling", "cancelled", "completed", "failed")
REASONS = ("periodic", "cancellation", "failure", "shutdown", "manual")
"""Why a checkpoint was saved."""
StatusesOption = Annotated[
    list[str], typer.Option("--status", help=f"Only {', '.join(STATUSES)}; repeatable.", show_default=False)
]
RootOption = Annotated[str | None, typer.Option(help="Only this operation and all that descend from it.")]


def one_of(value: str, allowed: tuple[str, ...], option: str) -> None:
    """Check a value.

    Raises:
        BadParameter: it is none of those allowed.
    """
    if value not in allowed:
        raise typer.BadParameter(f"{value!r} is none of {', '.join(allowed)}", param_hint=option)


def direction(*, ascending: bool) -> str:
    """Return the direction's word for the orchestrator."""
    return "asc" if ascending else "desc"
