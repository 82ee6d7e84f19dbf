"""An operation folded from its events, and shown while it happens."""

import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from milepost_cli.errors import CommandError
from milepost_cli.event_words import event_words
from milepost_cli.live import BarDisplay, JsonLineDisplay, LineDisplay, running_words
from milepost_cli.operation_view import OperationView, fold, view_of_document, view_of_events
from milepost_cli.watching import ended_badly
from milepost_contracts import events
from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.checkpoints import CheckpointOrigin, CheckpointReason
from milepost_contracts.commands import RunOptions
from milepost_contracts.failures import Failure, FailureCode
from milepost_contracts.messages import envelop_event
from milepost_orchestrator.application.replaying import event_document
from milepost_runtime.event_log import LogEntry
from rich.console import Console

pytestmark = pytest.mark.unit
OPERATION = "op-aaaaaaaaaaaaaaaa"
CHECKPOINT = "cp-aaaaaaaaaaaaaaaa"
START = datetime(2026, 1, 1, tzinfo=UTC)
FAILURE = Failure(code=FailureCode.ERROR, message="division by zero")
FILE = ArtifactReference(name="trades.parquet", digest="sha256:" + "a" * 64, size_bytes=2048)

REQUESTED = events.Requested(
    kind="backtest", spec={}, options=RunOptions(), root_id=OPERATION, name="nightly"
)
CLAIMED = events.Claimed(attempt=1, worker_id="w-1", host="here", pid=7, lease_seconds=10)
STARTED = events.Started(attempt=1, unit=0, total_units=10_000, unit_name="bar")
MOVED = events.Started(
    attempt=2,
    unit=5000,
    total_units=10_000,
    unit_name="bar",
    checkpoint_id=CHECKPOINT,
    environment_differences=("numpy was '1' and is '2'",),
)
PROGRESS = events.Progress(attempt=1, unit=5000, total_units=10_000, units_per_second=500)
SNAPSHOT = events.StateSnapshot(
    attempt=1,
    checkpoint_id=CHECKPOINT,
    unit=5000,
    total_units=10_000,
    reason=CheckpointReason.CANCELLATION,
    artifacts=(FILE,),
    fingerprint={},
)
CANCELLED = events.Cancelled(attempt=1, unit=5000, checkpoint_id=CHECKPOINT, reason="enough")
COMPLETED = events.Completed(attempt=1, unit=10_000, artifacts=(FILE,), summary={"trades": 12})
FAILED = events.Failed(attempt=1, unit=7, failure=FAILURE, checkpoint_id=CHECKPOINT)


def log(*happened: events.Event) -> list[LogEntry]:
    return [
        LogEntry(
            sequence=number,
            operation_id=OPERATION,
            event=event,
            envelope=envelop_event(
                event,
                event_id=f"ev-{number}",
                operation_id=OPERATION,
                source="/test",
                time=START + timedelta(seconds=number),
            ),
        )
        for number, event in enumerate(happened, 1)
    ]


@pytest.mark.parametrize(
    ("happened", "status"),
    [
        ([REQUESTED], "queued"),
        ([REQUESTED, CLAIMED], "running"),
        ([REQUESTED, CLAIMED, STARTED, events.CancelRequested()], "cancelling"),
        ([REQUESTED, events.CancelRequested(), CLAIMED], "cancelling"),
        ([REQUESTED, CLAIMED, STARTED, CANCELLED], "cancelled"),
        ([REQUESTED, CLAIMED, STARTED, COMPLETED], "completed"),
        ([REQUESTED, CLAIMED, STARTED, COMPLETED, events.CancelRequested()], "completed"),
        ([REQUESTED, CLAIMED, STARTED, FAILED], "failed"),
        ([REQUESTED, CLAIMED, events.AttemptLost(attempt=1, failure=FAILURE)], "queued"),
        (
            [REQUESTED, CLAIMED, events.Released(attempt=1, unit=3, checkpoint_id=None, reason="shutdown")],
            "queued",
        ),
    ],
)
def test_the_status_follows_from_the_events(happened: Sequence[events.Event], status: str) -> None:
    """The same words as the orchestrator's, straight from the log."""
    assert view_of_events(OPERATION, log(*happened)).status == status


def test_a_view_holds_all_that_the_document_holds() -> None:
    """Folding the events and reading the document give the same view."""
    view = view_of_events(OPERATION, log(REQUESTED, CLAIMED, STARTED, PROGRESS, SNAPSHOT, CANCELLED))
    assert (view.unit, view.total_units, view.unit_name) == (5000, 10_000, "bar")
    assert (view.checkpoint_id, view.reason, view.worker_id, view.attempt) == (CHECKPOINT, "enough", "w-1", 1)
    assert view.is_resumable
    document = json.loads(json.dumps(view.document()))
    again = view_of_document(document)
    assert again.document() == view.document()


def test_a_resumed_operation_starts_at_the_unit_of_its_checkpoint() -> None:
    """Progress is absolute from the first moment."""
    origin = CheckpointOrigin(
        operation_id="op-parent", checkpoint_id=CHECKPOINT, unit=5000, artifacts=(), fingerprint={}
    )
    requested = REQUESTED.model_copy(
        update={"origin": origin, "parent_id": "op-parent", "root_id": "op-root"}
    )
    view = view_of_events(OPERATION, log(requested))
    assert (view.unit, view.parent_id, view.root_id, view.checkpoint_id) == (
        5000,
        "op-parent",
        "op-root",
        CHECKPOINT,
    )


def test_an_accepted_environment_is_remembered_to_the_end() -> None:
    """From events and from the orchestrator's document, whose attempts hold it, alike."""
    folded = view_of_events(OPERATION, log(REQUESTED, CLAIMED, STARTED, MOVED, COMPLETED))
    assert folded.environment_differences == ("numpy was '1' and is '2'",)
    attempts = [{"environment_differences": []}, {"environment_differences": ["numpy was '1' and is '2'"]}]
    document = {**folded.document(), "environment_differences": [], "attempts": attempts}
    assert view_of_document(document).environment_differences == folded.environment_differences


def test_running_words_say_what_a_person_asks() -> None:
    """Units of total, rate, time left, newest checkpoint and its age."""
    view = view_of_events(OPERATION, log(REQUESTED, CLAIMED, STARTED, SNAPSHOT, PROGRESS))
    words = running_words(view, START + timedelta(seconds=16))
    assert words == "5,000 of 10,000 bars (50 %), 500 bars/s, 10 s left, checkpoint at 5,000, 12 s ago"
    assert running_words(OperationView(OPERATION), START) == "waiting for a worker"


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (CLAIMED, "claimed: attempt 1 by w-1 (pid 7)"),
        (STARTED, "started: at 0 of 10,000 bars (0 %)"),
        (
            MOVED,
            f"started: at 5,000 of 10,000 bars (50 %), from checkpoint {CHECKPOINT}; accepted as different, so "
            "equality is not promised: numpy was '1' and is '2'",
        ),
        (SNAPSHOT, f"state-snapshot: checkpoint {CHECKPOINT} at 5,000 (cancellation), 1 file, 2.0 kB"),
        (CANCELLED, f"cancelled: at 5,000, {CHECKPOINT}, enough"),
        (COMPLETED, "completed: 10,000 units; trades 12"),
        (FAILED, "failed: at 7: division by zero"),
        (events.CancelRequested(), "cancel-requested"),
        (events.CancelRequested(at_unit=5000, reason="x"), "cancel-requested: at unit 5,000, x"),
    ],
)
def test_an_event_is_told_in_one_line(event: events.Event, words: str) -> None:
    """Its name and what matters of it."""
    assert event_words(event) == words


def test_lines_tell_every_event_and_only_some_of_the_progress() -> None:
    """Outside a terminal a thousand progress events make one line, all else makes one each; a wait is told."""
    written = io.StringIO()
    entries = log(REQUESTED, CLAIMED, STARTED, *[PROGRESS] * 1000, SNAPSHOT, COMPLETED)
    view = OperationView(OPERATION)
    with LineDisplay(Console(file=written, width=200)) as display:
        display.show(view)
        display.show(OperationView(OPERATION, waiting="all kinds are held by /cli"))
        for entry in entries:
            view = fold(view, entry)
            display.show(view, entry)
    first, *lines = written.getvalue().splitlines()
    assert first == f"{OPERATION}  waits: all kinds are held by /cli"
    assert len(lines) == 6
    assert "5,000 of 10,000 bars" in lines[3]


def test_json_lines_are_one_document_for_each_event(capsys) -> None:
    """Each line parses by itself and holds the event as on the bus."""
    entries = log(REQUESTED, CLAIMED, COMPLETED)
    with JsonLineDisplay() as display:
        for entry in entries:
            display.show(OperationView(OPERATION), entry)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["requested", "claimed", "completed"]
    assert lines == [json.loads(json.dumps(event_document(entry))) for entry in entries]


def test_a_bar_shows_a_name_with_brackets_as_it_is() -> None:
    """Names are no markup."""
    written = io.StringIO()
    entries = log(REQUESTED.model_copy(update={"name": "run [bold]7[/x]"}), CLAIMED, STARTED, PROGRESS)
    view = OperationView(OPERATION)
    with BarDisplay(Console(file=written, width=200, force_terminal=True, color_system=None)) as display:
        for entry in entries:
            view = fold(view, entry)
            display.show(view, entry)
    assert "run [bold]7[/x]" in written.getvalue()
    assert "5,000 of 10,000 bars (50 %)" in written.getvalue()


@pytest.mark.parametrize("ending", [CANCELLED, FAILED])
def test_a_bad_end_says_why_and_the_command_that_goes_on(ending: events.Event) -> None:
    """Also in JSON the status is said."""
    error: CommandError = ended_badly(view_of_events(OPERATION, log(REQUESTED, CLAIMED, STARTED, ending)))
    assert error.exit_code == 1
    assert f"milepost resume {OPERATION}" in error.words.fix
    assert error.words.document()["status"] == ending.NAME
