"""``milepost start``."""

from typing import Annotated

import typer
from milepost_contracts.commands import StartOperation

from milepost_cli.asking import AskedToFollow, asking
from milepost_cli.options import (
    EverySecondsOption,
    EveryUnitsOption,
    KindArgument,
    PaceOption,
    QueueOption,
    SetOption,
    SpecArgument,
    StopAtUnitOption,
    examples,
    new_app,
)
from milepost_cli.overrides import read_spec
from milepost_cli.run_options import needs_of, run_options

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
@asking
def start(
    kind: KindArgument,
    spec: SpecArgument = None,
    name: Annotated[str | None, typer.Option(help="For people; need not be unique.")] = None,
    overrides: SetOption = None,
    stop_at_unit: StopAtUnitOption = None,
    pace: PaceOption = None,
    every_units: EveryUnitsOption = None,
    every_seconds: EverySecondsOption = None,
    queue: QueueOption = "default",
    priority: Annotated[int, typer.Option(min=0, max=100, help="Of what waits, more comes first.")] = 0,
    needs_gpus: Annotated[int, typer.Option(min=0, help="Only for a worker with so many GPUs.")] = 0,
    needs_memory_gb: Annotated[
        float, typer.Option(min=0, help="Only for a worker with so much memory, in GB.")
    ] = 0.0,
    needs_label: Annotated[
        list[str], typer.Option(help="Only for a worker with this label; repeatable.", show_default=False)
    ] = [],  # noqa: B006 - typer copies it
    *,
    asked: AskedToFollow,
) -> None:
    """Start an operation.

    The spec is checked before anything is started, and everything that is wrong with it is named.
    """
    options = run_options(
        stop_at_unit=stop_at_unit,
        pace=pace,
        every_units=every_units,
        every_seconds=every_seconds,
        needs=needs_of(needs_gpus, needs_memory_gb, needs_label),
    )
    command = asked.command(
        StartOperation,
        kind=kind,
        spec=read_spec(spec, overrides or []),
        name=name,
        queue=queue,
        priority=priority,
        options=options,
    )
    asked.send(command)
