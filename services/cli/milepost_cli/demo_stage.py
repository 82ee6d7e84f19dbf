"""The demonstration's surroundings: a fresh directory, a stack of its own, and the end, however it comes.

States: preparing -> playing -> told. Authority: the directory is ours only when it is new, empty, or holds our
mark; anything else is refused and left alone. Failures: whatever goes wrong, Ctrl-C and SIGTERM included, the
stack is stopped, unless it was to be kept and everything went well.
"""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from milepost_infra.embedded.reach import first_blocked, user_for_postgres
from milepost_infra.supervisor import RunningStack, start_detached, stop
from milepost_runtime.clock import SystemClock

from milepost_cli.demo import DemoOutcome, play, say
from milepost_cli.demo_report import outcome_document, print_outcome
from milepost_cli.errors import CommandError, UsageFaultError
from milepost_cli.location import DIRECTORY_NAME, location_of
from milepost_cli.output import notes, print_json

DIRECTORY_DEFAULT = Path(DIRECTORY_NAME) / "demo"
MARK = "this-is-a-milepost-demo"
WORKERS = {"backtest": 2}


class ResultsDifferError(CommandError):
    """The resumed run did not end as the undisturbed one."""

    default_code = "results-differ"


def perform(directory: Path | None, *, keep: bool, as_json: bool) -> None:
    """Play the demonstration from start to end.

    Raises:
        ResultsDifferError: the results differ.
        CommandError: something did not go as it must.
    """
    clock = SystemClock()
    started = clock.monotonic_seconds()
    place = prepare(directory.absolute() if directory is not None else default_place())
    with _stack(place, keep=keep) as running:
        outcome = asyncio.run(play(location_of(running), place / "results"))
        seconds = clock.monotonic_seconds() - started
    if as_json:
        print_json(
            {**outcome_document(outcome), "seconds": round(seconds, 1), "directory": str(place), "kept": keep}
        )
    else:
        print_outcome(outcome, seconds)
        _say_where_next(place, outcome, keep=keep)
    if not outcome.equal:
        raise ResultsDifferError("the results differ", fix=f"compare the files in {outcome.out}")


def default_place() -> Path:
    """Return ``.milepost/demo`` here, or a temporary directory where this one is closed to Postgres' user."""
    user = user_for_postgres()
    here = Path.cwd()
    if os.access(here, os.W_OK) and (user is None or first_blocked(here, user) is None):
        return here / DIRECTORY_DEFAULT
    place = Path(tempfile.mkdtemp(prefix="milepost-demo-"))
    place.chmod(0o755)
    return place


def prepare(place: Path) -> Path:
    """Make the directory afresh; what an earlier demonstration left there goes.

    Raises:
        UsageFaultError: something else is there already.
    """
    if place.exists():
        if not place.is_dir() or (any(place.iterdir()) and not (place / MARK).exists()):
            raise UsageFaultError(
                f"{place} holds something else", fix="name a new or empty directory with --directory"
            )
        stop(place)
        shutil.rmtree(place)
    made = [directory for directory in (place, *place.parents) if not directory.exists()]
    place.mkdir(parents=True)
    for directory in made:
        # Postgres does not run as root; the user it then runs as must be able to pass, whatever the umask.
        directory.chmod(0o755)
    (place / MARK).touch()
    return place


@contextmanager
def _stack(place: Path, *, keep: bool) -> Generator[RunningStack]:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    say(
        "1",
        "Start a stack: NATS, PostgreSQL, an S3 server, the orchestrator, two workers.",
        "milepost up --detach",
    )
    well = False
    try:
        with notes().status("starting"):
            # Servers of the environment are not meant: the demonstration brings its own.
            own = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
            running = start_detached(place, WORKERS, environment=own)
        notes().print(f"   ready, all in {place}", soft_wrap=True)
        yield running
        well = True
    finally:
        if not (keep and well):
            with notes().status("stopping the stack"):
                stop(place)


def _say_where_next(place: Path, outcome: DemoOutcome, *, keep: bool) -> None:
    console = notes()
    shown = os.path.relpath(place) if place.is_relative_to(Path.cwd()) else str(place)
    console.print()
    console.print("where to look next", style="bold")
    console.print(
        f"  results of both runs:  {os.path.relpath(outcome.out) if shown != str(place) else outcome.out}",
        soft_wrap=True,
    )
    console.print(f"  logs of every process: {shown}/logs", soft_wrap=True)
    if keep:
        console.print("  the stack is still running; try:", soft_wrap=True)
        console.print(f"    export MILEPOST_DIRECTORY={shown}", soft_wrap=True)
        console.print("    milepost ps", soft_wrap=True)
        console.print(f"    milepost show {outcome.resumed.operation_id}", soft_wrap=True)
        console.print(
            f"    milepost events show {outcome.cancelled.operation_id} --no-progress", soft_wrap=True
        )
        console.print("    milepost down", soft_wrap=True)
    else:
        console.print("  your own stack:        milepost up --detach", soft_wrap=True)
        console.print("  all commands:          milepost --help", soft_wrap=True)
