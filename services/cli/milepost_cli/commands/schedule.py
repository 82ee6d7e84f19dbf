"""``milepost schedule add``, ``list``, ``show``, ``pause``, ``unpause`` and ``delete``."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from milepost_contracts.commands import StartOperation
from milepost_contracts.schedules import (
    CreateSchedule,
    DeleteSchedule,
    Missed,
    PauseSchedule,
    UnpauseSchedule,
)
from milepost_runtime.clock import SystemClock

from milepost_cli import reader
from milepost_cli.asking import Asked, asking
from milepost_cli.formatting import format_age, format_duration
from milepost_cli.location import locate
from milepost_cli.options import (
    DirectoryOption,
    JsonOption,
    KindArgument,
    PaceOption,
    QueueOption,
    SetOption,
    SpecArgument,
    examples,
    new_app,
)
from milepost_cli.output import notes, print_facts, print_json
from milepost_cli.overrides import read_spec
from milepost_cli.run_options import command_of, run_options
from milepost_cli.tables import print_table

app = new_app()
ScheduleArgument = Annotated[str, typer.Argument(metavar="ID", help="The schedule, as `list` shows it.")]


@app.callback()
def schedule() -> None:
    """Start operations at a time, or again and again."""


@app.command(
    "add",
    epilog=examples(
        "milepost schedule add training spec.json --at 2026-12-01T03:00:00+01:00",
        "milepost schedule add backtest spec.json --cron '0 3 * * 1-5' --zone Europe/Berlin --name nightly",
        "milepost schedule add backtest --set data.name=aapl --cron '*/15 * * * *' --missed skip --dry-run",
    ),
)
@asking
def add(
    kind: KindArgument,
    spec: SpecArgument = None,
    at: Annotated[str | None, typer.Option(help="Once, at this time, with its zone (ISO 8601).")] = None,
    cron: Annotated[
        str | None, typer.Option(help="Again and again: minute, hour, day, month, weekday.")
    ] = None,
    zone: Annotated[str, typer.Option(help="Time zone of --cron, such as Europe/Berlin.")] = "UTC",
    name: Annotated[str | None, typer.Option(help="Of the schedule and of what it starts.")] = None,
    missed: Annotated[
        Missed, typer.Option(help="Times that passed while nobody was there: the newest once, or skip all.")
    ] = Missed.ONCE,
    overrides: SetOption = None,
    pace: PaceOption = None,
    queue: QueueOption = "default",
    *,
    asked: Asked,
) -> None:
    """Start an operation once at a time, or again and again by a cron expression.

    The spec is checked now, and again each time. Whatever is restarted meanwhile, each time starts one operation.
    """
    options = run_options(stop_at_unit=None, pace=pace, every_units=None, every_seconds=None)
    start = command_of(
        StartOperation,
        kind=kind,
        spec=read_spec(spec, overrides or []),
        name=name,
        queue=queue,
        options=options,
    )
    command = asked.command(
        CreateSchedule,
        timing={"at": at, "cron": cron, "time_zone": zone},
        start=start,
        name=name,
        missed=missed,
    )
    done = "scheduled as {id}; `milepost schedule list` says when it is due"
    asked.send_and_say(command, done)


@app.command("list", epilog=examples("milepost schedule list", "milepost schedule list --json"))
def list_schedules(directory: DirectoryOption = None, as_json: JsonOption = False) -> None:
    """List schedules with their next time and what the last one led to."""
    with locate(directory).api() as api:
        found = reader.objects(api.get("/schedules"), "schedules")
    if as_json:
        print_json({"schedules": found})
        return
    if not found:
        notes().print("no schedules; make one with `milepost schedule add KIND SPEC --cron '0 3 * * *'`")
        return
    now = SystemClock().now()
    headings = ("ID", "NAME", "KIND", "WHEN", "NEXT", "LAST")
    rows = [
        (
            reader.text(each, "schedule_id"),
            reader.text(each, "name"),
            reader.text(reader.mapping(each, "start"), "kind"),
            _when(reader.mapping(each, "timing")),
            _next(each, now),
            _last(reader.mapping(each, "last"), now),
        )
        for each in found
    ]
    print_table(headings, rows, wrap=("LAST",))


@app.command("show", epilog=examples("milepost schedule show sc-abc"))
def show(
    schedule_id: ScheduleArgument, directory: DirectoryOption = None, as_json: JsonOption = False
) -> None:
    """Show one schedule."""
    with locate(directory).api() as api:
        each = api.get(f"/schedules/{schedule_id}")
    if as_json:
        print_json(each)
        return
    now = SystemClock().now()
    print_facts(
        {
            "schedule": reader.text(each, "schedule_id"),
            "name": reader.text(each, "name"),
            "kind": reader.text(reader.mapping(each, "start"), "kind"),
            "when": _when(reader.mapping(each, "timing")),
            "missed": reader.text(each, "missed"),
            "state": reader.text(each, "state"),
            "paused": reader.text(reader.mapping(each, "paused"), "reason"),
            "next": _next(each, now),
            "last": _last(reader.mapping(each, "last"), now),
            "made by": reader.text(each, "requested_by"),
        }
    )


@app.command("pause", epilog=examples("milepost schedule pause sc-abc --reason holidays"))
@asking
def pause(
    schedule_id: ScheduleArgument,
    *,
    asked: Asked,
) -> None:
    """Start nothing more until it is unpaused; times that pass meanwhile are not made up for."""
    command = asked.command(PauseSchedule, schedule_id=schedule_id)
    asked.send_and_say(command, "{id} is paused")


@app.command("unpause", epilog=examples("milepost schedule unpause sc-abc"))
@asking
def unpause(
    schedule_id: ScheduleArgument,
    *,
    asked: Asked,
) -> None:
    """Go on with a paused schedule from now on."""
    command = asked.command(UnpauseSchedule, schedule_id=schedule_id)
    asked.send_and_say(command, "{id} goes on")


@app.command("delete", epilog=examples("milepost schedule delete sc-abc"))
@asking
def delete(
    schedule_id: ScheduleArgument,
    *,
    asked: Asked,
) -> None:
    """End a schedule; what it has started goes on."""
    command = asked.command(DeleteSchedule, schedule_id=schedule_id)
    asked.send_and_say(command, "{id} is deleted")


def _when(timing: dict[str, object]) -> str:
    at, cron = reader.moment(timing, "at"), reader.text(timing, "cron")
    if at is not None:
        return f"once at {at:%Y-%m-%d %H:%M:%S %Z}"
    return f"{cron} ({reader.text(timing, 'time_zone')})"


def _next(each: dict[str, object], now: datetime) -> str | None:
    due = reader.moment(each, "next_due")
    if due is None:
        return reader.text(each, "state")
    remaining = max((due - now).total_seconds(), 0.0)
    return f"{due.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, in {format_duration(remaining)}"


def _last(last: dict[str, object], now: datetime) -> str | None:
    due = reader.moment(last, "due_at")
    if due is None:
        return None
    what = reader.text(last, "operation_id") or reader.text(last, "message") or "missed, skipped"
    return f"{what}, {format_age(due, now)}"
