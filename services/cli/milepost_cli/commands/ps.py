"""``milepost ps``."""

from datetime import datetime
from itertools import islice
from typing import Annotated

import typer
from milepost_runtime.clock import SystemClock

from milepost_cli import reader
from milepost_cli.api import PAGE_ITEMS, OrchestratorApi, Parameters
from milepost_cli.formatting import format_age, format_duration, format_progress, format_rate
from milepost_cli.list_options import (
    STATUSES,
    AscendingOption,
    KindsOption,
    NameOption,
    NewerOption,
    OlderOption,
    RootOption,
    StatusesOption,
    WorkersOption,
    direction,
    one_of,
)
from milepost_cli.location import locate
from milepost_cli.lookup import operation_id_of
from milepost_cli.operation_view import CheckpointView, OperationView, checkpoint_view, view_of_document
from milepost_cli.options import DirectoryOption, JsonOption, examples, new_app
from milepost_cli.output import notes, print_json
from milepost_cli.tables import print_table
from milepost_cli.watching import resume_command

SORTS = ("requested", "started", "ended", "name", "kind", "status")
SHOWN_DEFAULT = 20

app = new_app()


@app.command(
    epilog=examples(
        "milepost ps",
        "milepost ps --status running --status queued",
        "milepost ps --name nightly --newer-than 7d --sort ended",
        "milepost ps --all --json",
    )
)
def ps(
    status: StatusesOption = [],  # noqa: B006 - typer copies it
    kind: KindsOption = [],  # noqa: B006
    worker: WorkersOption = [],  # noqa: B006
    name: NameOption = None,
    reason: Annotated[
        str | None, typer.Option(help="Only with this in why it was cancelled or failed.")
    ] = None,
    parent: Annotated[str | None, typer.Option(help="Only what was resumed from this operation.")] = None,
    root: RootOption = None,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    sort: Annotated[str, typer.Option(help=f"By {', '.join(SORTS)}.")] = SORTS[0],
    ascending: AscendingOption = False,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help=f"All of them, not only the first {SHOWN_DEFAULT}.")
    ] = False,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """List operations.

    The newest come first, with status, progress, rate, time left, newest checkpoint and its age; what does not
    move with what it waits for.
    """
    for each in status:
        one_of(each, STATUSES, "--status")
    one_of(sort, SORTS, "--sort")
    shown_max = None if everything else SHOWN_DEFAULT
    with locate(directory).api() as api:
        wanted: Parameters = {
            "status": status,
            "kind": kind,
            "worker_id": worker,
            "name": name,
            "reason": reason,
            "parent_id": None if parent is None else operation_id_of(api, parent),
            "root_id": None if root is None else operation_id_of(api, root),
            "age_seconds_min": older_than,
            "age_seconds_max": newer_than,
            "sort": sort,
            "order": direction(ascending=ascending),
            "limit": PAGE_ITEMS if shown_max is None else shown_max + 1,
        }
        pages = api.pages("/operations", "operations", wanted)
        found = list(pages if shown_max is None else islice(pages, shown_max + 1))
        documents = found[:shown_max]
        more = len(found) > len(documents)
        counts = reader.mapping(api.get("/operations", {**wanted, "limit": 1, "counts": True}), "counts")
        checkpoints = {} if as_json else _newest_checkpoints(api)
    if as_json:
        print_json({"operations": documents, "more": more, "counts": counts})
        return
    if not documents:
        filtered = any(counts.values()) or not _wants_everything(wanted)
        fix = "leave filters out" if filtered else "start one with `milepost start KIND SPEC`"
        notes().print(f"no {'such ' if filtered else ''}operations; {fix}")
        return
    views = [view_of_document(document) for document in documents]
    now = SystemClock().now()
    headings = ("ID", "KIND", "STATUS", "PROGRESS", "DETAILS")
    rows = [_row(view, checkpoints.get(view.checkpoint_id or ""), now) for view in views]
    print_table(headings, rows, wrap=("DETAILS",))
    if more:
        notes().print(f"only the first {SHOWN_DEFAULT}, {_count_words(counts, status)}; --all lists all")
    resumable = next((view for view in views if view.is_resumable), None)
    if resumable is not None:
        notes().print(f"next: {resume_command(resumable)}", soft_wrap=True)


def _wants_everything(wanted: Parameters) -> bool:
    return not any(value for key, value in wanted.items() if key not in ("sort", "order", "limit"))


def _count_words(counts: dict[str, object], statuses: list[str]) -> str:
    found = {key: reader.whole(counts, key) or 0 for key in statuses or STATUSES}
    words = [f"{count:,} {key}" for key, count in found.items() if count]
    return f"of {sum(found.values()):,}: " + ", ".join(words)


def _newest_checkpoints(api: OrchestratorApi) -> dict[str, CheckpointView]:
    """Return the newest checkpoints of all operations by id, as many as one page holds."""
    page = api.get("/checkpoints", {"limit": PAGE_ITEMS})
    found = [checkpoint_view(item) for item in reader.objects(page, "checkpoints")]
    return {checkpoint.checkpoint_id: checkpoint for checkpoint in found}


def _row(view: OperationView, checkpoint: CheckpointView | None, now: datetime) -> tuple[str, ...]:
    progress = format_progress(view.unit, view.total_units, view.unit_name)
    return view.operation_id, view.kind, view.status, progress, "; ".join(_details(view, checkpoint, now))


def _details(view: OperationView, checkpoint: CheckpointView | None, now: datetime) -> list[str]:
    words = [each for each in (view.name, view.waiting) if each]
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
