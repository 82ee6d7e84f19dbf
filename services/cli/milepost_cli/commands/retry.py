"""``milepost retry``."""

import asyncio
from typing import Annotated

import typer
from milepost_contracts.commands import RetryOperation

from milepost_cli.location import locate
from milepost_cli.lookup import operation_id_of
from milepost_cli.options import (
    CommandIdOption,
    DirectoryOption,
    DryRunOption,
    FollowOption,
    JsonOption,
    OperationArgument,
    examples,
    new_app,
)
from milepost_cli.run_options import command_of
from milepost_cli.sending import send

app = new_app()


@app.command(epilog=examples("milepost retry op-abc --follow", "milepost retry op-abc --dry-run"))
def retry(
    operation: OperationArgument,
    name: Annotated[str | None, typer.Option(help="For people; the failed one's name by default.")] = None,
    command_id: CommandIdOption = None,
    dry_run: DryRunOption = False,
    follow: FollowOption = False,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Do a failed operation again, from where it began itself.

    A new operation, linked to it, with the same spec and options. Its own checkpoints are not used: what made it
    fail may be in them. To go on from one of them, use `milepost resume`.
    """
    with locate(directory).api() as api:
        operation_id = operation_id_of(api, operation)
    command = command_of(RetryOperation, operation_id=operation_id, name=name, dry_run=dry_run)
    asyncio.run(send(command, directory, command_id=command_id, follow=follow, as_json=as_json))
