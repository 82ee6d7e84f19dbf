"""``milepost results``."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from milepost_contracts.artifacts import ArtifactReference
from milepost_runtime.store.s3 import S3ArtifactStore

from milepost_cli.bus import open_bus
from milepost_cli.downloads import Download, download, plan
from milepost_cli.errors import CommandError
from milepost_cli.formatting import format_size
from milepost_cli.location import StackLocation, locate
from milepost_cli.lookup import operation_id_of
from milepost_cli.options import DirectoryOption, JsonOption, OperationArgument, examples, new_app
from milepost_cli.output import people, print_json

app = new_app()


class NoResultsError(CommandError):
    """The operation has not completed."""

    default_code = "no-results"


@app.command(
    epilog=examples("milepost results op-abc --out results", "milepost results op-abc --out results --force")
)
def results(
    operation: OperationArgument,
    out: Annotated[Path, typer.Option(help="Directory to write the files to; made when it is not there.")],
    force: Annotated[bool, typer.Option("--force", help="Replace files that are different.")] = False,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch the result files of a completed operation.

    Every file is verified by its digest and written under its name; files that are there already and equal stay.
    """
    location = locate(directory)
    with location.api() as api:
        operation_id = operation_id_of(api, operation)
    artifacts = asyncio.run(results_of(location, operation_id))
    done = fetch(location, artifacts, out, force=force, quiet=as_json)
    if as_json:
        print_json(
            {"operation_id": operation_id, "out": str(out), "files": [item.document() for item in done]}
        )
        return
    for item in done:
        size = format_size(item.reference.size_bytes)
        people().print(f"{item.path}  {size}  {item.reference.digest}  {item.state}", soft_wrap=True)


async def results_of(location: StackLocation, operation_id: str) -> tuple[ArtifactReference, ...]:
    """Return the result artifacts of an operation, as its `completed` event names them.

    Raises:
        NotFoundError: there is no such operation.
        NoResultsError: it has not completed.
    """
    async with open_bus(location) as bus:
        completed = await bus.completed(operation_id)
        if completed is not None:
            return completed.artifacts
        view = await bus.view(operation_id)
    fix = f"let it complete: `milepost {'resume' if view.is_resumable else 'wait'} {operation_id}`"
    if view.child_id is not None:
        fix = f"it was resumed: `milepost results {view.child_id} --out DIR`"
    raise NoResultsError(
        f"{operation_id} is {view.status} and so has no results",
        fix=fix,
        details={"operation_id": operation_id, "status": view.status},
    )


def fetch(
    location: StackLocation, artifacts: tuple[ArtifactReference, ...], out: Path, *, force: bool, quiet: bool
) -> list[Download]:
    """Download artifacts into ``out``; see ``downloads``."""
    downloads = plan(artifacts, out, force=force)
    store = S3ArtifactStore(location.store())
    try:
        return download(store, downloads, quiet=quiet)
    finally:
        store.close()
