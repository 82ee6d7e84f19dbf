"""Progress while it happens: a bar in a terminal, plain lines elsewhere, one JSON line per event on request."""

from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from milepost_contracts import events
from milepost_orchestrator.application.replaying import event_document
from milepost_runtime.clock import SystemClock
from milepost_runtime.event_log import LogEntry
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.text import Text

from milepost_cli.event_words import event_words
from milepost_cli.formatting import format_age, format_duration, format_progress, format_rate
from milepost_cli.operation_view import OperationView
from milepost_cli.output import notes, people, print_json_line

LINE_EVERY_SECONDS = 5.0
BAR_WIDE_FROM_COLUMNS = 110


class Display(Protocol):
    """Shows an operation each time something happened to it."""

    def __enter__(self) -> Self:
        """Start showing."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing; the last state stays to be read."""
        ...

    def show(self, view: OperationView, entry: LogEntry | None = None) -> None:
        """Show the newest state, and the event that led to it."""
        ...


def choose_display(*, to_stdout: bool, quiet: bool = False) -> Display:
    """Return bars when a person watches, lines otherwise; ``to_stdout`` when progress is the answer itself."""
    if quiet:
        return SilentDisplay()
    console = people() if to_stdout else notes()
    return BarDisplay(console) if console.is_terminal else LineDisplay(console)


class SilentDisplay:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, view: OperationView, entry: LogEntry | None = None) -> None:
        """Show nothing."""


class JsonLineDisplay(SilentDisplay):
    """Each event as one JSON document on a line of its own."""

    def show(self, view: OperationView, entry: LogEntry | None = None) -> None:
        """Print the event."""
        if entry is not None:
            print_json_line(event_document(entry))


class LineDisplay(SilentDisplay):
    """A line for each event; of progress events one in a few seconds."""

    def __init__(self, console: Console, label: str | None = None) -> None:
        self._console = console
        self._label = label
        self._clock = SystemClock()
        self._progress_shown_at = float("-inf")

    def show(self, view: OperationView, entry: LogEntry | None = None) -> None:
        """Print a line, unless it is progress again so soon."""
        label = self._label or view.operation_id
        if entry is None:
            if view.waiting is not None:
                self._console.print(f"{label}  waits: {view.waiting}", soft_wrap=True)
            return
        if isinstance(entry.event, events.Progress):
            now = self._clock.monotonic_seconds()
            if now - self._progress_shown_at < LINE_EVERY_SECONDS:
                return
            self._progress_shown_at = now
            self._console.print(f"{label}  {running_words(view, self._clock.now())}", soft_wrap=True)
            return
        self._console.print(f"{label}  {event_words(entry.event)}", soft_wrap=True)


class BarDisplay:
    """A bar: units of total, rate, time left, newest checkpoint and its age."""

    def __init__(self, console: Console, label: str | None = None) -> None:
        self._label = label
        self._task: TaskID | None = None
        self._progress = Progress(
            _Spinner(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24 if console.width >= BAR_WIDE_FROM_COLUMNS else 10),
            _StateColumn(),
            console=console,
            refresh_per_second=8,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, view: OperationView, entry: LogEntry | None = None) -> None:
        """Move the bar of this operation."""
        if self._task is None:
            # The text column reads markup, and a name is no markup.
            label = escape(self._label or view.name or view.operation_id)
            self._task = self._progress.add_task(label, total=None, view=view)
        self._progress.update(self._task, total=view.total_units or None, completed=view.unit, view=view)
        if view.is_terminal:
            self._progress.stop_task(self._task)


class _Spinner(SpinnerColumn):
    """Turns until the operation has ended, however it ended."""

    def render(self, task: Task) -> RenderableType:
        view: OperationView = task.fields["view"]
        return Text(" ") if view.is_terminal else super().render(task)


class _StateColumn(ProgressColumn):
    """Rendered afresh all the time, so ages move also while nothing happens."""

    max_refresh = 0.25

    def __init__(self) -> None:
        super().__init__()
        self._clock = SystemClock()

    def render(self, task: Task) -> Text:
        view: OperationView = task.fields["view"]
        return Text(running_words(view, self._clock.now()))


def running_words(view: OperationView, now: datetime) -> str:
    """Return where an operation is: progress, rate, time left, newest checkpoint and its age."""
    words = [view.status] if view.status != "running" else []
    if view.status == "queued":
        words = [view.waiting or "waiting for a worker"]
    if view.total_units:
        words.append(format_progress(view.unit, view.total_units, view.unit_name))
    if view.units_per_second and not view.is_terminal:
        words.append(format_rate(view.units_per_second, view.unit_name))
    if view.eta_seconds is not None and view.unit != view.total_units:
        words.append(f"{format_duration(view.eta_seconds)} left")
    if view.checkpoint is not None and view.status != "completed":
        age = format_age(view.checkpoint.saved_at, now)
        words.append(f"checkpoint at {view.checkpoint.unit:,}, {age}")
    return ", ".join(words)
