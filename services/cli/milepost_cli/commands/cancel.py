"""``milepost cancel``."""

import asyncio
from typing import Annotated

import typer
from milepost_contracts.commands import CancelOperation
from pydantic import ValidationError

from milepost_cli.list_options import parse_age
from milepost_cli.location import locate
from milepost_cli.lookup import operation_id_of
from milepost_cli.options import DirectoryOption, JsonOption, OperationArgument, examples, new_app
from milepost_cli.run_options import faults_of
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
    reason: Annotated[str | None, typer.Option(help="Why; kept with the operation.")] = None,
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
    command_id: Annotated[str | None, typer.Option(help="Idempotency key.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the verdict would be; do nothing.")
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Watch it until it has ended.")] = False,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cancel an operation; it saves a checkpoint first.

    The unit being worked on is finished, a checkpoint is saved, and `milepost resume` goes on from there. Ended by
    force it goes on from the newest checkpoint that was durable by then.
    """
    with locate(directory).api() as api:
        operation_id = operation_id_of(api, operation)
    try:
        command = CancelOperation(
            operation_id=operation_id,
            reason=reason,
            at_unit=at_unit,
            deadline_seconds=deadline,
            force=force,
            dry_run=dry_run,
        )
    except ValidationError as error:
        raise faults_of(error) from error
    asyncio.run(
        send(command, directory, command_id=command_id, follow=follow, as_json=as_json, cancel_wanted=True)
    )
