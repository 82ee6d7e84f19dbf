"""``milepost cancel``."""

from typing import Annotated

import typer
from milepost_contracts.commands import CancelOperation

from milepost_cli.asking import AskedToFollow, asking
from milepost_cli.list_options import parse_age
from milepost_cli.location import locate
from milepost_cli.lookup import operation_id_of
from milepost_cli.options import (
    OperationArgument,
    ReasonOption,
    examples,
    new_app,
)

app = new_app()


@app.command(
    epilog=examples(
        "milepost cancel op-abc --reason 'wrong data'",
        "milepost cancel op-abc --at-unit 5000 --follow",
        "milepost cancel op-abc --deadline 30s",
        "milepost cancel op-abc --force",
    )
)
@asking
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
    *,
    asked: AskedToFollow,
) -> None:
    """Cancel an operation; it saves a checkpoint first.

    The unit being worked on is finished, a checkpoint is saved, and `milepost resume` goes on from there. Ended by
    force it goes on from the newest checkpoint that was durable by then.
    """
    with locate(asked.directory).api() as api:
        operation_id = operation_id_of(api, operation)
    command = asked.command(
        CancelOperation,
        operation_id=operation_id,
        reason=reason,
        at_unit=at_unit,
        deadline_seconds=deadline,
        force=force,
    )
    asked.send(command, cancel_wanted=True)
