"""``milepost worker``."""

import os
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer
from milepost_runtime.clock import random_id
from milepost_runtime.worker.kinds import load_kind

from milepost_cli.location import DIRECTORY_NAME, locate
from milepost_cli.options import DirectoryOption, JsonOption, examples, new_app
from milepost_cli.output import notes, print_json

app = new_app()


@app.command(
    epilog=examples(
        "milepost worker backtest", "MILEPOST_WORKER_SLOTS=4 milepost worker backtest --worker-id big-1"
    )
)
def worker(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Kind of work, such as backtest.")],
    worker_id: Annotated[str | None, typer.Option(help="Default: the host's name and a random part.")] = None,
    spool: Annotated[
        Path | None, typer.Option(help="Directory for its spool and caches; may be empty, may be lost.")
    ] = None,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run one more worker here, in the foreground.

    It needs the bus and the object store and nothing else. Ctrl-C (or SIGTERM) saves a checkpoint of what runs and
    gives it back for another worker to go on with.
    """
    load_kind(kind)
    location = locate(directory)
    location.bus()
    location.store()
    worker_id = worker_id or f"{socket.gethostname().split('.')[0]}-{random_id('w')[-8:]}"
    spool = spool or (location.directory or Path.cwd() / DIRECTORY_NAME) / "workers" / worker_id
    if as_json:
        print_json({"worker_id": worker_id, "kind": kind, "directory": str(spool), "pid": os.getpid()})
    else:
        notes().print(f"worker {worker_id} of kind {kind}; Ctrl-C stops it")
    arguments = [sys.executable, "-m", "milepost_runtime.worker"]
    arguments += ["--kind", kind, "--worker-id", worker_id, "--directory", str(spool)]
    # The same process goes on as the worker: signals and exit code are its own.
    os.execve(sys.executable, arguments, {**os.environ, **location.environment})  # noqa: S606 - no shell is wanted
