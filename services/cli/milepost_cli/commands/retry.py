"""``milepost retry``."""

from typing import Annotated

import typer
from milepost_contracts.commands import RetryOperation

from milepost_cli.asking import AskedToFollow, asking
from milepost_cli.location import locate
from milepost_cli.lookup import operation_id_of
from milepost_cli.options import (
    OperationArgument,
    examples,
    new_app,
)

app = new_app()


@app.command(epilog=examples("milepost retry op-abc --follow", "milepost retry op-abc --dry-run"))
@asking
def retry(
    operation: OperationArgument,
    name: Annotated[str | None, typer.Option(help="For people; the failed one's name by default.")] = None,
    *,
    asked: AskedToFollow,
) -> None:
    """Do a failed operation again, from where it began itself.

    A new operation, linked to it, with the same spec and options. Its own checkpoints are not used: what made it
    fail may be in them. To go on from one of them, use `milepost resume`.
    """
    with locate(asked.directory).api() as api:
        operation_id = operation_id_of(api, operation)
    command = asked.command(RetryOperation, operation_id=operation_id, name=name)
    asked.send(command)
