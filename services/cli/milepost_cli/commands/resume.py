"""``milepost resume``."""

import asyncio
from typing import Annotated

import typer
from milepost_contracts.commands import ResumeOperation

from milepost_cli.asking import AskedToFollow, asking
from milepost_cli.location import locate
from milepost_cli.lookup import checkpoint_id_of, operation_id_of
from milepost_cli.options import (
    EverySecondsOption,
    EveryUnitsOption,
    FromCheckpointOption,
    OperationArgument,
    PaceOption,
    StopAtUnitOption,
    examples,
    new_app,
)
from milepost_cli.run_options import options_for_resume, run_options

app = new_app()


@app.command(
    epilog=examples(
        "milepost resume op-abc --follow",
        "milepost resume op-abc --checkpoint cp-def",
        "milepost resume op-abc --stop-at-unit 7500",
        "milepost resume op-abc --pace 0",
        "milepost resume op-abc --accept-environment",
    )
)
@asking
def resume(
    operation: OperationArgument,
    checkpoint: FromCheckpointOption = None,
    name: Annotated[str | None, typer.Option(help="For people; the parent's name by default.")] = None,
    pace: PaceOption = None,
    stop_at_unit: StopAtUnitOption = None,
    every_units: EveryUnitsOption = None,
    every_seconds: EverySecondsOption = None,
    accept_environment: Annotated[
        bool,
        typer.Option(
            "--accept-environment",
            help="Go on although versions or device are not the checkpoint's; equality is then not promised.",
        ),
    ] = False,
    *,
    asked: AskedToFollow,
) -> None:
    """Go on with a cancelled or failed operation from a checkpoint.

    A new operation, linked to its parent, goes on with the unit after the checkpoint, on whichever worker is free,
    and ends exactly as if the parent had never stopped. Where versions, device or processor are others it is
    refused, unless `--accept-environment` is given.
    """
    wanted = run_options(
        stop_at_unit=stop_at_unit,
        pace=pace,
        every_units=every_units,
        every_seconds=every_seconds,
        accept_environment=accept_environment,
    )
    with locate(asked.directory).api() as api:
        operation_id = operation_id_of(api, operation)
        checkpoint_id = None if checkpoint is None else checkpoint_id_of(api, checkpoint, operation_id)
    command = asked.command(
        ResumeOperation,
        operation_id=operation_id,
        checkpoint_id=checkpoint_id,
        name=name,
        options=asyncio.run(options_for_resume(wanted, operation_id, asked.directory)),
    )
    asked.send(command)
