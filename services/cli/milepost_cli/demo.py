"""The demonstration: one backtest undisturbed, the same one cancelled halfway and resumed on another worker.

Each step is a function that says in plain words what it does, does it as the commands do, and shows the command to
type for the same. The story is ``play``; everything else is a leaf.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.commands import CancelOperation, ResumeOperation, RunOptions, StartOperation
from milepost_contracts.datasets import Dataset
from milepost_contracts.events import CheckpointRecorded, Progress, StateSnapshot
from milepost_runtime.event_log import LogEntry
from milepost_runtime.store.s3 import S3ArtifactStore

from milepost_cli.bus import Bus, open_bus
from milepost_cli.commands.checkpoints import print_artifacts
from milepost_cli.commands.data import add_sample
from milepost_cli.demo_worker import stop_worker
from milepost_cli.downloads import download, plan
from milepost_cli.errors import CommandError
from milepost_cli.formatting import format_count
from milepost_cli.live import BarDisplay, Display, LineDisplay
from milepost_cli.location import StackLocation
from milepost_cli.operation_view import OperationView, fold
from milepost_cli.output import notes

SAMPLE = "aapl"
WATCH_SECONDS = 7.0
"""How long the slowed-down backtest may be watched before it is cancelled; half as long after the resume."""
CANCEL_AT_SHARE = 0.5
ASK_FOR_CANCEL_AT_SHARE = 0.3
COMPARED = ("trades", "equity")
"""Beginnings of the names of the result files that must be there and equal."""


class DemoError(CommandError):
    """The demonstration did not go as it must."""

    default_code = "demo"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One result file of both runs."""

    name: str
    undisturbed: str
    resumed: str

    @property
    def equal(self) -> bool:
        """Whether the bytes are the same."""
        return self.undisturbed == self.resumed


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """What the demonstration found."""

    undisturbed: OperationView
    cancelled: OperationView
    resumed: OperationView
    files: tuple[Comparison, ...]
    out: Path
    """Directory with the results of both."""

    @property
    def equal(self) -> bool:
        """Whether every result file is the same, trades and equity among them."""
        names = [item.name for item in self.files]
        all_there = all(any(name.startswith(wanted) for name in names) for wanted in COMPARED)
        return all_there and all(item.equal for item in self.files)


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the demonstration plays."""

    location: StackLocation
    bus: Bus
    out: Path


async def play(location: StackLocation, out: Path) -> DemoOutcome:
    """Play the whole story on a running stack with two backtest workers.

    Raises:
        CommandError: something did not go as it must.
    """
    say("2", "Add real prices: daily bars of AAPL since the year 2000.", f"milepost data sample {SAMPLE}")
    dataset = add_sample(location, SAMPLE)
    notes().print(
        f"   {format_count(dataset.rows, 'bar')}, {dataset.artifact.digest[:19]}...", soft_wrap=True
    )
    async with open_bus(location) as bus:
        stage = Stage(location, bus, out)
        undisturbed = await run_undisturbed(stage)
        cancelled = await run_and_cancel(stage, dataset)
        show_checkpoint(stage, cancelled)
        await leave_to_another_worker(stage, cancelled)
        resumed = await resume(stage, cancelled)
        files = await compare(stage, undisturbed, resumed)
    return DemoOutcome(undisturbed, cancelled, resumed, files, out)


async def run_undisturbed(stage: Stage) -> OperationView:
    """Run the backtest from its first bar to its last."""
    say("3", "Run a backtest without disturbing it.", f"milepost start backtest --set data.name={SAMPLE}")
    operation_id = await start(stage, "undisturbed", RunOptions())
    view = await follow(stage, operation_id, "undisturbed")
    return _must_be(view, "completed")


async def run_and_cancel(stage: Stage, dataset: Dataset) -> OperationView:
    """Start the same backtest again, slowly enough to be watched, and cancel it exactly halfway."""
    half = int(dataset.rows * CANCEL_AT_SHARE)
    pace = half / WATCH_SECONDS
    say(
        "4",
        f"Start the same backtest again, slowed down to be watched, and cancel it at bar {half:,}.",
        f"milepost start backtest --set data.name={SAMPLE} --pace {pace:.0f}; milepost cancel ID --at-unit {half}",
    )
    operation_id = await start(stage, "cancelled", RunOptions(pace_units_per_second=pace))
    asked = False

    async def ask_for_cancel(entry: LogEntry) -> None:
        nonlocal asked
        far_enough = (
            isinstance(entry.event, Progress) and entry.event.unit >= dataset.rows * ASK_FOR_CANCEL_AT_SHARE
        )
        if far_enough and not asked:
            asked = True
            command = CancelOperation(operation_id=operation_id, reason="the demonstration", at_unit=half)
            await stage.bus.command(command)

    view = _must_be(await follow(stage, operation_id, "to be cancelled", ask_for_cancel), "cancelled")
    notes().print(
        f"   cancelled at bar {view.unit:,} of {dataset.rows:,}; worker {view.worker_id} ran it",
        soft_wrap=True,
    )
    return view


def show_checkpoint(stage: Stage, cancelled: OperationView) -> None:
    """Show the checkpoint that the cancelled run left, with its artifacts."""
    say(
        "5",
        "Its checkpoint: everything that is needed to go on.",
        f"milepost checkpoints show {cancelled.checkpoint_id}",
    )
    with stage.location.api() as api:
        document = api.get(f"/checkpoints/{cancelled.checkpoint_id}")
    print_artifacts(document, notes())


async def leave_to_another_worker(stage: Stage, cancelled: OperationView) -> None:
    """Stop the worker that ran the cancelled backtest, so that another one has to go on."""
    say(
        "6",
        f"Stop the worker that ran it, {cancelled.worker_id}. The other one never saw this backtest.",
        None,
    )
    with stage.location.api() as api:
        await stop_worker(api, cancelled.worker_id or "")


async def resume(stage: Stage, cancelled: OperationView) -> OperationView:
    """Go on from the checkpoint on the worker that is left."""
    say(
        "7",
        "Resume it: another worker goes on with the next bar.",
        f"milepost resume {cancelled.operation_id}",
    )
    pace = 2 * cancelled.unit / WATCH_SECONDS
    command = ResumeOperation(
        operation_id=cancelled.operation_id, name="resumed", options=RunOptions(pace_units_per_second=pace)
    )
    verdict = await stage.bus.command(command)
    view = _must_be(await follow(stage, verdict.operation_id, "resumed"), "completed")
    if view.worker_id == cancelled.worker_id:
        raise DemoError(f"the same worker, {view.worker_id}, went on", fix="run the demonstration again")
    notes().print(f"   worker {view.worker_id} went on and finished it", soft_wrap=True)
    return view


async def compare(stage: Stage, undisturbed: OperationView, resumed: OperationView) -> tuple[Comparison, ...]:
    """Fetch the results of both, verified, and compare the digests of every file."""
    say("8", "Compare the results of both runs, byte by byte.", "milepost results ID --out DIR")
    left = _fetch(stage, await _results(stage, undisturbed), stage.out / "undisturbed")
    right = _fetch(stage, await _results(stage, resumed), stage.out / "resumed")
    return tuple(
        Comparison(name, left.get(name, "missing"), right.get(name, "missing"))
        for name in sorted({*left, *right})
    )


async def start(stage: Stage, name: str, options: RunOptions) -> str:
    """Start the demonstration's backtest and return its id."""
    command = StartOperation(kind="backtest", spec={"data": {"name": SAMPLE}}, name=name, options=options)
    return (await stage.bus.command(command)).operation_id


async def follow(
    stage: Stage, operation_id: str, label: str, react: Callable[[LogEntry], Awaitable[None]] | None = None
) -> OperationView:
    """Show an operation until it has ended and its last checkpoint, if it has one, is on record."""
    view = OperationView(operation_id)
    saved: set[str] = set()
    console = notes()
    display: Display = (
        BarDisplay(console, label) if console.is_terminal else LineDisplay(console, f"   {label}")
    )
    with display:
        async for entry in stage.bus.event_log.tail(operation_id=operation_id):
            view = fold(view, entry)
            display.show(view, entry)
            if react is not None:
                await react(entry)
            if isinstance(entry.event, StateSnapshot):
                saved.add(entry.event.checkpoint_id)
            if isinstance(entry.event, CheckpointRecorded):
                saved.discard(entry.event.checkpoint_id)
            if view.is_terminal and not saved:
                break
    return view


def say(number: str, words: str, command: str | None) -> None:
    """Print the heading of a step, and the command that does the same."""
    notes().print()
    notes().print(f"{number}. {words}", style="bold", soft_wrap=True)
    if command:
        notes().print(f"   $ {command}", style="dim", soft_wrap=True)


def _must_be(view: OperationView, status: str) -> OperationView:
    if view.status == status:
        return view
    why = view.failure_words or view.reason or "no reason given"
    raise DemoError(
        f"{view.operation_id} is {view.status}, not {status}: {why}",
        fix="look at the logs in the demonstration's directory, or repeat it with --keep",
    )


async def _results(stage: Stage, view: OperationView) -> tuple[ArtifactReference, ...]:
    completed = await stage.bus.completed(view.operation_id)
    return completed.artifacts if completed else ()


def _fetch(stage: Stage, artifacts: tuple[ArtifactReference, ...], out: Path) -> dict[str, str]:
    store = S3ArtifactStore(stage.location.store())
    try:
        done = download(store, plan(artifacts, out, force=True), quiet=True)
    finally:
        store.close()
    return {item.reference.name: item.reference.digest for item in done}
