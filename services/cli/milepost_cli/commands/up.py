"""``milepost up``."""

import logging
import os
from typing import Annotated

import typer
from milepost_infra.supervisor import SupervisorSettings, read_running, run_foreground, start_detached
from milepost_runtime.worker.kinds import load_kind

from milepost_cli.errors import UsageFaultError
from milepost_cli.location import stack_directory
from milepost_cli.options import DirectoryOption, JsonOption, examples, new_app
from milepost_cli.output import notes, print_json
from milepost_cli.stack_words import print_stack, stack_document

WORKERS_DEFAULT = ("backtest=2",)

app = new_app()


@app.command(
    epilog=examples(
        "milepost up --detach",
        "milepost up --directory /data/milepost --workers backtest=4 --workers sweep=1",
        "MILEPOST_NATS_URL=nats://user:password@bus:4222 milepost up",
    )
)
def up(
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once everything is ready; it runs on.")
    ] = False,
    workers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=COUNT", help=f"Workers to run; repeatable. Default: {', '.join(WORKERS_DEFAULT)}."
        ),
    ] = None,
    http_port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="Port of the orchestrator; the last one or a free one by default."
        ),
    ] = None,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start the embedded servers, the orchestrator and workers.

    Servers whose address is in the environment (MILEPOST_NATS_URL, MILEPOST_DATABASE_URL, MILEPOST_S3_ENDPOINT)
    are used and not started. Data, credentials and logs are in the stack's directory; a later start goes on
    with the same data.
    """
    place = stack_directory(directory)
    counts = worker_counts(workers or list(WORKERS_DEFAULT))
    running = read_running(place)
    if running is not None and detach:
        if as_json:
            print_json({**stack_document(running), "started": False})
            return
        notes().print("it runs already; nothing was started")
        print_stack(running)
        return
    if detach:
        with notes().status(f"starting a stack in {place}"):
            running = start_detached(place, counts, http_port=http_port)
        if as_json:
            print_json({**stack_document(running), "started": True})
        else:
            print_stack(running)
        return
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    settings = SupervisorSettings(place, counts, http_port, external=os.environ)
    notes().print(f"starting a stack in {place}; Ctrl-C stops it", soft_wrap=True)
    run_foreground(
        settings,
        on_ready=lambda ready: (
            print_json({**stack_document(ready), "started": True}) if as_json else print_stack(ready)
        ),
    )


def worker_counts(words: list[str]) -> dict[str, int]:
    """Return how many workers of each kind are wanted.

    Raises:
        UsageFaultError: a word is not ``KIND=COUNT``.
        UnknownKindError: no such kind is installed.
    """
    counts: dict[str, int] = {}
    for word in words:
        kind, _, count = word.partition("=")
        if not kind or not count.isdecimal():
            raise UsageFaultError(
                f"--workers {word!r} is not KIND=COUNT", fix="write it as --workers backtest=2"
            )
        load_kind(kind)
        counts[kind] = int(count)
    return counts
