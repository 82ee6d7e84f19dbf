"""``milepost workers``, ``workers drain`` and ``workers undrain``."""

from collections.abc import Mapping
from typing import Annotated

import typer
from milepost_contracts.commands import DrainWorker, UndrainWorker
from milepost_runtime.clock import SystemClock

from milepost_cli import reader
from milepost_cli.asking import Asked, asking
from milepost_cli.formatting import format_age, format_size
from milepost_cli.location import locate
from milepost_cli.options import (
    DirectoryOption,
    JsonOption,
    examples,
    new_app,
)
from milepost_cli.output import notes, print_json
from milepost_cli.tables import print_table

app = new_app()


WorkerArgument = Annotated[str, typer.Argument(metavar="WORKER", help="Of `milepost workers`.")]


@app.callback(
    invoke_without_command=True,
    no_args_is_help=False,
    epilog=examples("milepost workers", "milepost workers --json", "milepost workers drain w-1"),
)
def workers(context: typer.Context, directory: DirectoryOption = None, as_json: JsonOption = False) -> None:
    """List the live workers, drain one.

    Each with what it computes; a worker that stops saying that it lives is gone from the list in seconds.
    A drained one takes nothing new.
    """
    if context.invoked_subcommand is not None:
        return
    with locate(directory).api() as api:
        found = reader.objects(api.get("/workers"), "workers")
    if as_json:
        print_json({"workers": found})
        return
    if not found:
        notes().print("no live workers; start one with `milepost worker KIND`")
        return
    now = SystemClock().now()
    rows = [
        (
            reader.text(item, "worker_id"),
            reader.text(item, "kind"),
            reader.text(item, "host"),
            str(reader.whole(item, "pid") or "-"),
            f"{len(reader.texts(item, 'operations'))} of {reader.whole(item, 'slots') or 1}",
            _drain_words(item),
            _has(reader.mapping(item, "capabilities")),
            format_age(reader.moment(item, "started_at"), now),
            format_age(reader.moment(item, "seen_at"), now),
            ", ".join(reader.texts(item, "operations")),
        )
        for item in found
    ]
    headings = ("WORKER", "KIND", "HOST", "PID", "BUSY", "TAKES", "HAS", "STARTED", "SEEN", "OPERATIONS")
    print_table(headings, rows, right=("PID",), wrap=("TAKES", "OPERATIONS"))


@app.command(
    "drain",
    epilog=examples(
        "milepost workers drain w-1 --reason 'new disks'", "milepost workers drain w-1 --release"
    ),
)
@asking
def drain(
    worker_id: WorkerArgument,
    release: Annotated[
        bool,
        typer.Option("--release", help="What it runs saves a checkpoint and goes on at another worker."),
    ] = False,
    *,
    asked: Asked,
) -> None:
    """Give a worker nothing new until it is undrained; what it runs goes on to its end."""
    command = asked.command(DrainWorker, worker_id=worker_id, release=release)
    done = f"{worker_id} takes nothing new within seconds; `milepost workers undrain {worker_id}` ends it"
    asked.send_and_say(command, done)


@app.command("undrain", epilog=examples("milepost workers undrain w-1"))
@asking
def undrain(
    worker_id: WorkerArgument,
    *,
    asked: Asked,
) -> None:
    """Let a drained worker take work again."""
    command = asked.command(UndrainWorker, worker_id=worker_id)
    done = f"{worker_id} takes work again within seconds"
    asked.send_and_say(command, done)


def _drain_words(item: Mapping[str, object]) -> str:
    """Whether it takes work, and if not, who drained it and why."""
    drain = reader.mapping(item, "drain")
    if not drain:
        return "work"
    who, why = reader.text(drain, "requested_by"), reader.text(drain, "reason")
    return f"nothing: drained by {who}" + (f": {why}" if why else "")


def _has(capabilities: Mapping[str, object]) -> str:
    """What an operation may need of it: GPUs, memory, labels."""
    gpus, memory_bytes = (
        reader.whole(capabilities, "gpus") or 0,
        reader.whole(capabilities, "memory_bytes") or 0,
    )
    words = [f"{gpus} GPU{'' if gpus == 1 else 's'}"] if gpus else ["cpu"]
    words += [format_size(memory_bytes)] if memory_bytes else []
    return ", ".join([*words, *reader.texts(capabilities, "labels")])
