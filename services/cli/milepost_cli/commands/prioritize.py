"""``milepost prioritize``."""

from typing import Annotated

import typer
from milepost_contracts.commands import PrioritizeOperation

from milepost_cli.asking import Asked, asking
from milepost_cli.location import locate
from milepost_cli.lookup import operation_id_of
from milepost_cli.options import (
    OperationArgument,
    examples,
    new_app,
)

app = new_app()


@app.command(epilog=examples("milepost prioritize op-abc 10 --reason 'the paper is due'"))
@asking
def prioritize(
    operation: OperationArgument,
    priority: Annotated[
        int, typer.Argument(metavar="PRIORITY", help="0 to 100; the ones with more come first.")
    ],
    *,
    asked: Asked,
) -> None:
    """Give an operation that waits another place in the queue."""
    with locate(asked.directory).api() as api:
        operation_id = operation_id_of(api, operation)
    asked.send(asked.command(PrioritizeOperation, operation_id=operation_id, priority=priority))
