"""``milepost cancel``."""

import asyncio
from typing import Annotated

import typer
from milepost_contracts.commands import CancelOperation

from milepost_cli.list_options import parse_age
from milepost_cli.location import locate
from milepost_cli.lookup import operation_id_of
from milepost_cli.options import (
    CommandIdOption,
    DirectoryOption,
    DryRunOption,
    FollowOption,
    JsonOption,
    OperationArgument,
    ReasonOption,
    examples,
    new_app,
)
from milepost_cli.run_options import command_of
from milepost_cli.sending import send

app = new_app()


@app.command(
    epilog=examples(
        "milepost cancel op-abc --reason 'wrong data'",
        "milepost cancel op-abc --at-unit 5000 --follow",
        "milepost cancel op-abc --deadline 30s",
        "milepost cancel op-abc --force",
    )
)
def cancel(
    operation: OperationArgument,
    reason: ReasonOption = None,
    at_unit: Annotated[int | None, typer.Option(min=0, help="Stop exactly after this unit.")] = None,
    deadline: Annotated[
        float | None,
        typer.Option(
            metavar="TIME", parser=parse_age, help="End it by force when it has not stopped by then: 30s, 5m."
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Do not wait for the end of the unit; what is not yet durable is lost."),
    ] = False,
    command_id: CommandIdOption = None,
    dry_run: DryRunOption = False,
    follow: FollowOption = False,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cancel an operation; it saves a checkpoint first.

    The unit being worked on is finished, a checkpoint is saved, and `milepost resume` goes on from there. Ended by
    force it goes on from the newest checkpoint that was durable by then.
    """
    with locate(directory).api() as api:
        operation_id = operation_id_of(api, operation)
    command = command_of(
        CancelOperation,
        operation_id=operation_id,
        reason=reason,
        at_unit=at_unit,
        deadline_seconds=deadline,
        force=force,
        dry_run=dry_run,
    )
    asyncio.run(
        send(command, directory, command_id=command_id, follow=follow, as_json=as_json, cancel_wanted=True)
    )
