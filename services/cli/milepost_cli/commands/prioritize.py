"""``milepost prioritize``."""

import asyncio
from typing import Annotated

import typer
from milepost_contracts.commands import PrioritizeOperation

from milepost_cli.location import locate
from milepost_cli.lookup import operation_id_of
from milepost_cli.options import (
    CommandIdOption,
    DirectoryOption,
    DryRunOption,
    JsonOption,
    OperationArgument,
    ReasonOption,
    examples,
    new_app,
)
from milepost_cli.run_options import command_of
from milepost_cli.sending import send

app = new_app()


@app.command(epilog=examples("milepost prioritize op-abc 10 --reason 'the paper is due'"))
def prioritize(
    operation: OperationArgument,
    priority: Annotated[
        int, typer.Argument(metavar="PRIORITY", help="0 to 100; the ones with more come first.")
    ],
    reason: ReasonOption = None,
    command_id: CommandIdOption = None,
    dry_run: DryRunOption = False,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give an operation that waits another place in the queue."""
    with locate(directory).api() as api:
        operation_id = operation_id_of(api, operation)
    command = command_of(
        PrioritizeOperation, operation_id=operation_id, priority=priority, reason=reason, dry_run=dry_run
    )
    asyncio.run(send(command, directory, command_id=command_id, follow=False, as_json=as_json))
