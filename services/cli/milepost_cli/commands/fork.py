"""``milepost fork``."""

import asyncio
from typing import Annotated

import typer
from milepost_contracts.commands import ForkOperation

from milepost_cli.asking import AskedToFollow, asking
from milepost_cli.location import locate
from milepost_cli.lookup import checkpoint_id_of, operation_id_of
from milepost_cli.options import (
    FromCheckpointOption,
    OperationArgument,
    PaceOption,
    StopAtUnitOption,
    examples,
    new_app,
)
from milepost_cli.overrides import read_spec
from milepost_cli.run_options import options_for_resume, run_options

app = new_app()


@app.command(
    epilog=examples(
        "milepost fork op-abc --set optimizer.learning_rate=0.0001 --follow",
        "milepost fork op-abc --set epochs=200 --checkpoint cp-def",
        "milepost fork op-abc --set commission_rate=0.002 --dry-run",
    )
)
@asking
def fork(
    operation: OperationArgument,
    overrides: Annotated[
        list[str], typer.Option("--set", metavar="PATH=VALUE", help="Change one setting; repeatable.")
    ],
    checkpoint: FromCheckpointOption = None,
    name: Annotated[str | None, typer.Option(help="For people; the parent's name by default.")] = None,
    pace: PaceOption = None,
    stop_at_unit: StopAtUnitOption = None,
    accept_environment: Annotated[
        bool,
        typer.Option("--accept-environment", help="Go on although versions or device are other ones."),
    ] = False,
    *,
    asked: AskedToFollow,
) -> None:
    """Go on from a checkpoint with changed settings.

    A new operation, linked to its parent, which stays as it is; completed operations can be forked too. The kind
    says which settings may change, and what was changed is shown with the operation.
    """
    wanted = run_options(
        stop_at_unit=stop_at_unit,
        pace=pace,
        every_units=None,
        every_seconds=None,
        accept_environment=accept_environment,
    )
    with locate(asked.directory).api() as api:
        operation_id = operation_id_of(api, operation)
        checkpoint_id = None if checkpoint is None else checkpoint_id_of(api, checkpoint, operation_id)
    command = asked.command(
        ForkOperation,
        operation_id=operation_id,
        changes=read_spec(None, overrides),
        checkpoint_id=checkpoint_id,
        name=name,
        options=asyncio.run(options_for_resume(wanted, operation_id, asked.directory)),
    )
    asked.send(command)
