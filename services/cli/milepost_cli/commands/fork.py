"""``milepost fork``."""

import asyncio
from typing import Annotated

import typer
from milepost_contracts.commands import ForkOperation
from pydantic import ValidationError

from milepost_cli.location import locate
from milepost_cli.lookup import checkpoint_id_of, operation_id_of
from milepost_cli.options import DirectoryOption, JsonOption, OperationArgument, examples, new_app
from milepost_cli.overrides import read_spec
from milepost_cli.run_options import faults_of, options_for_resume, run_options
from milepost_cli.sending import send

app = new_app()


@app.command(
    epilog=examples(
        "milepost fork op-abc --set optimizer.learning_rate=0.0001 --follow",
        "milepost fork op-abc --set epochs=200 --checkpoint cp-def",
        "milepost fork op-abc --set commission_rate=0.002 --dry-run",
    )
)
def fork(
    operation: OperationArgument,
    overrides: Annotated[
        list[str], typer.Option("--set", metavar="PATH=VALUE", help="Change one setting; repeatable.")
    ],
    checkpoint: Annotated[
        str | None, typer.Option(help="Any kept checkpoint of the operation; the newest by default.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="For people; the parent's name by default.")] = None,
    pace: Annotated[
        float | None, typer.Option(help="Slow down to this many units a second; 0 for full speed.")
    ] = None,
    stop_at_unit: Annotated[
        int | None, typer.Option(min=0, help="Cancel exactly after this unit, with a checkpoint.")
    ] = None,
    accept_environment: Annotated[
        bool,
        typer.Option("--accept-environment", help="Go on although versions or device are other ones."),
    ] = False,
    command_id: Annotated[str | None, typer.Option(help="Idempotency key.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the verdict would be; do nothing.")
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Watch it until it has ended.")] = False,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on from a checkpoint with changed settings.

    A new operation, linked to its parent, which stays as it is; completed operations can be forked too. The kind
    says which settings may change, and what was changed is shown with the operation.
    """
    asked = run_options(
        stop_at_unit=stop_at_unit,
        pace=pace,
        every_units=None,
        every_seconds=None,
        accept_environment=accept_environment,
    )
    with locate(directory).api() as api:
        operation_id = operation_id_of(api, operation)
        checkpoint_id = None if checkpoint is None else checkpoint_id_of(api, checkpoint, operation_id)
    try:
        command = ForkOperation(
            operation_id=operation_id,
            changes=read_spec(None, overrides),
            checkpoint_id=checkpoint_id,
            name=name,
            options=asyncio.run(options_for_resume(asked, operation_id, directory)),
            dry_run=dry_run,
        )
    except ValidationError as error:
        raise faults_of(error) from error
    asyncio.run(send(command, directory, command_id=command_id, follow=follow, as_json=as_json))
