"""``milepost ps``."""

from datetime import datetime
from itertools import islice
from typing import Annotated

import typer
from milepost_runtime.clock import SystemClock

from milepost_cli import reader
from milepost_cli.api import PAGE_ITEMS, OrchestratorApi
from milepost_cli.formatting import format_age, format_duration, format_progress, format_rate
from milepost_cli.location import locate
from milepost_cli.operation_view import CheckpointView, OperationView, checkpoint_view, view_of_document
from milepost_cli.options import DirectoryOption, JsonOption, examples, new_app
from milepost_cli.output import notes, print_json
from milepost_cli.tables import print_table
from milepost_cli.watching import resume_command

STATUSES = ("queued", "running", "cancelling", "cancelled", "completed", "failed")
SHOWN_DEFAULT = 20

app = new_app()


@app.command(epilog=examples("milepost ps", "milepost ps --status running", "milepost ps --all --json"))
def ps(
    status: Annotated[str | None, typer.Option(help=f"Only {', '.join(STATUSES)}.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind, such as backtest.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help=f"All of them, not only the newest {SHOWN_DEFAULT}.")
    ] = False,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """List operations.

    The newest come first, with status, progress, rate, time left, newest checkpoint and its age.
    """
    if status is not None and status not in STATUSES:
        raise typer.BadParameter(f"{status!r} is none of {', '.join(STATUSES)}", param_hint="--status")
    shown_max = None if everything else SHOWN_DEFAULT
    with locate(directory).api() as api:
        limit = PAGE_ITEMS if shown_max is None else shown_max + 1
        pages = api.pages("/operations", "operations", {"status": status, "kind": kind, "limit": limit})
        found = list(pages if shown_max is None else islice(pages, shown_max + 1))
        documents = found[:shown_max]
        checkpoints = {} if as_json else _newest_checkpoints(api)
    if as_json:
        print_json({"operations": documents, "more": len(found) > len(documents)})
        return
    if not documents:
        notes().print("no operations; start one with `milepost start KIND SPEC`")
        return
    views = [view_of_document(document) for document in documents]
    now = SystemClock().now()
    headings = ("ID", "KIND", "STATUS", "PROGRESS", "DETAILS")
    rows = [_row(view, checkpoints.get(view.checkpoint_id or ""), now) for view in views]
    print_table(headings, rows, wrap=("DETAILS",))
    if len(found) > len(documents):
        notes().print(f"only the newest {SHOWN_DEFAULT}; --all lists all")
    resumable = next((view for view in views if view.is_resumable), None)
    if resumable is not None:
        notes().print(f"next: {resume_command(resumable)}", soft_wrap=True)


def _newest_checkpoints(api: OrchestratorApi) -> dict[str, CheckpointView]:
    """Return the newest checkpoints of all operations by id, as many as one page holds."""
    page = api.get("/checkpoints", {"limit": PAGE_ITEMS})
    found = [checkpoint_view(item) for item in reader.objects(page, "checkpoints")]
    return {checkpoint.checkpoint_id: checkpoint for checkpoint in found}


def _row(view: OperationView, checkpoint: CheckpointView | None, now: datetime) -> tuple[str, ...]:
    progress = format_progress(view.unit, view.total_units, view.unit_name)
    return view.operation_id, view.kind, view.status, progress, "; ".join(_details(view, checkpoint, now))


def _details(view: OperationView, checkpoint: CheckpointView | None, now: datetime) -> list[str]:
    words = [view.name] if view.name else []
    if not view.is_terminal and view.units_per_second:
        words.append(format_rate(view.units_per_second, view.unit_name))
    if view.eta_seconds is not None:
        words.append(f"{format_duration(view.eta_seconds)} left")
    if checkpoint is not None and view.status != "completed":
        words.append(f"checkpoint at {checkpoint.unit:,}, {format_age(checkpoint.saved_at, now)}")
    if view.attempt > 1:
        words.append(f"attempt {view.attempt}")
    if why := view.failure_words or view.reason:
        words.append(why)
    if view.child_id is not None:
        words.append(f"resumed as {view.child_id}")
    last = view.ended_at or view.requested_at
    return [*words, f"{'ended' if view.ended_at else 'requested'} {format_age(last, now)}"]
