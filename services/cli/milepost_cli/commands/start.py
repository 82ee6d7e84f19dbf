"""``milepost start``."""

import asyncio
from typing import Annotated

import typer
from milepost_contracts.commands import StartOperation
from pydantic import ValidationError

from milepost_cli.options import DirectoryOption, JsonOption, examples, new_app
from milepost_cli.overrides import read_spec
from milepost_cli.run_options import faults_of, needs_of, run_options
from milepost_cli.sending import send

app = new_app()


@app.command(
    epilog=examples(
        "milepost start backtest spec.json --follow",
        "milepost start backtest --set data.name=aapl --set strategy.parameters.fast=5",
        "milepost spec example backtest | milepost start backtest - --name nightly",
        "milepost start backtest spec.json --stop-at-unit 5000",
        "milepost start backtest spec.json --dry-run --json",
        "milepost spec example sweep | milepost start sweep - --set 'grid.fast=[5,10,20]' --follow",
    )
)
def start(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Kind of work, such as backtest.")],
    spec: Annotated[
        str | None, typer.Argument(metavar="SPEC", help="JSON file, - for standard input, or inline JSON.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="For people; need not be unique.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Set one field of the spec; repeatable."),
    ] = None,
    stop_at_unit: Annotated[
        int | None, typer.Option(min=0, help="Cancel exactly after this unit, with a checkpoint.")
    ] = None,
    pace: Annotated[
        float | None, typer.Option(help="Slow down to this many units a second; 0 for full speed.")
    ] = None,
    checkpoint_every_units: Annotated[
        int | None, typer.Option(min=1, help="Save a checkpoint at each multiple of this.")
    ] = None,
    checkpoint_every_seconds: Annotated[
        float | None, typer.Option(help="Save a checkpoint when this much time has passed.")
    ] = None,
    queue: Annotated[str, typer.Option(help="Queue of work to put it into.")] = "default",
    priority: Annotated[int, typer.Option(min=0, max=100, help="Of what waits, more comes first.")] = 0,
    needs_gpus: Annotated[int, typer.Option(min=0, help="Only for a worker with so many GPUs.")] = 0,
    needs_memory_gb: Annotated[
        float, typer.Option(min=0, help="Only for a worker with so much memory, in GB.")
    ] = 0.0,
    needs_label: Annotated[
        list[str], typer.Option(help="Only for a worker with this label; repeatable.", show_default=False)
    ] = [],  # noqa: B006 - typer copies it
    command_id: Annotated[
        str | None, typer.Option(help="Idempotency key: the same key never starts a second operation.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the verdict would be; start nothing.")
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Watch it until it has ended.")] = False,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start an operation.

    The spec is checked before anything is started, and everything that is wrong with it is named.
    """
    options = run_options(
        stop_at_unit=stop_at_unit,
        pace=pace,
        every_units=checkpoint_every_units,
        every_seconds=checkpoint_every_seconds,
        needs=needs_of(needs_gpus, needs_memory_gb, needs_label),
    )
    try:
        command = StartOperation(
            kind=kind,
            spec=read_spec(spec, overrides or []),
            name=name,
            queue=queue,
            priority=priority,
            options=options,
            dry_run=dry_run,
        )
    except ValidationError as error:
        raise faults_of(error) from error
    asyncio.run(send(command, directory, command_id=command_id, follow=follow, as_json=as_json))
