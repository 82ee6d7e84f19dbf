"""``milepost dispatch show``, ``hold``, ``release`` and ``limit``."""

from typing import Annotated

import typer
from milepost_contracts.commands import HoldDispatch, LimitKind, ReleaseDispatch
from milepost_runtime.clock import SystemClock

from milepost_cli import reader
from milepost_cli.asking import Asked, asking
from milepost_cli.formatting import format_age
from milepost_cli.location import locate
from milepost_cli.options import (
    DirectoryOption,
    JsonOption,
    examples,
    new_app,
)
from milepost_cli.output import notes, print_json
from milepost_cli.tables import print_table

NO_LIMIT = "none"
app = new_app()
AnyKindArgument = Annotated[
    str | None, typer.Argument(metavar="[KIND]", help="Only this kind, such as backtest; all when absent.")
]


@app.callback()
def dispatch() -> None:
    """Hold work back, release it, limit how much of a kind runs at a time."""


@app.command("show", epilog=examples("milepost dispatch show"))
def show(directory: DirectoryOption = None, as_json: JsonOption = False) -> None:
    """Show what is held, by whom and why, and how many of a kind may run at a time."""
    with locate(directory).api() as api:
        document = api.get("/dispatch")
    if as_json:
        print_json(document)
        return
    now = SystemClock().now()
    holds = reader.mapping(document, "held_kinds")
    everything = reader.mapping(document, "held")
    rows = [
        ("all kinds" if kind is None else kind, "held", _hold_words(hold), format_age(since, now))
        for kind, hold in [
            (None, everything),
            *((kind, reader.mapping(holds, kind)) for kind in sorted(holds)),
        ]
        if (since := reader.moment(hold, "since")) is not None
    ]
    limits = reader.mapping(document, "limits")
    rows += [(kind, "limited", f"{limits[kind]} at a time", None) for kind in sorted(limits)]
    drains = reader.mapping(document, "drained_workers")
    for worker_id in sorted(drains):
        drain = reader.mapping(drains, worker_id)
        rows.append(
            (worker_id, "drained", _hold_words(drain), format_age(reader.moment(drain, "since"), now))
        )
    if not rows:
        notes().print("nothing is held, nothing is limited")
        return
    print_table(("WHAT", "IS", "HOW", "SINCE"), rows, wrap=("HOW",))


@app.command(
    "hold", epilog=examples("milepost dispatch hold --reason maintenance", "milepost dispatch hold training")
)
@asking
def hold(
    kind: AnyKindArgument = None,
    *,
    asked: Asked,
) -> None:
    """Give workers nothing new until it is released; what runs goes on."""
    command = asked.command(HoldDispatch, kind=kind)
    done = f"{_noun(kind)} held; `milepost dispatch release{_argument(kind)}` ends it"
    asked.send_and_say(command, done)


@app.command("release", epilog=examples("milepost dispatch release", "milepost dispatch release training"))
@asking
def release(
    kind: AnyKindArgument = None,
    *,
    asked: Asked,
) -> None:
    """End a hold. Kinds that are held by themselves stay so when all are released."""
    command = asked.command(ReleaseDispatch, kind=kind)
    asked.send_and_say(command, f"{_noun(kind)} released")


@app.command(
    "limit", epilog=examples("milepost dispatch limit training 2", "milepost dispatch limit training none")
)
@asking
def limit(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Kind of work, such as training.")],
    at_a_time: Annotated[str, typer.Argument(metavar="NUMBER", help=f"At a time, or {NO_LIMIT}.")],
    *,
    asked: Asked,
) -> None:
    """Let at most so many operations of a kind run at the same time; what runs goes on."""
    if at_a_time != NO_LIMIT and not at_a_time.isdecimal():
        raise typer.BadParameter(f"{at_a_time!r} is no number and not {NO_LIMIT}", param_hint="NUMBER")
    number = None if at_a_time == NO_LIMIT else int(at_a_time)
    command = asked.command(LimitKind, kind=kind, limit=number)
    words = "is not limited any more" if number is None else f"runs {number} at a time"
    asked.send_and_say(command, f"kind {kind} {words}")


def _hold_words(found: dict[str, object]) -> str:
    who, why = reader.text(found, "requested_by"), reader.text(found, "reason")
    return f"by {who}" + (f": {why}" if why else "")


def _noun(kind: str | None) -> str:
    return "all kinds are" if kind is None else f"kind {kind} is"


def _argument(kind: str | None) -> str:
    return "" if kind is None else f" {kind}"
