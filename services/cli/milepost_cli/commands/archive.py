"""``milepost archive``: events of operations that ended long ago move to the object store."""

import asyncio
from datetime import timedelta
from typing import Annotated

import typer
from milepost_orchestrator.application.archiving import ArchiveReport
from milepost_orchestrator.projections_bootstrap import open_projections
from milepost_runtime.clock import SystemClock

from milepost_cli.bus import SOURCE
from milepost_cli.formatting import format_size
from milepost_cli.list_options import AGE_FORM, parse_age
from milepost_cli.location import locate
from milepost_cli.options import DirectoryOption, JsonOption, examples, new_app
from milepost_cli.output import notes, people, print_json
from milepost_cli.projection_settings import projection_settings
from milepost_cli.quiet import silence_logs
from milepost_cli.tables import print_table

app = new_app()
LISTED_MAX = 20


@app.command(
    "archive",
    epilog=examples(
        "milepost archive --older-than 90d --dry-run", "milepost archive --older-than 90d --json"
    ),
)
def archive(
    older_than: Annotated[
        float,
        typer.Option(
            "--older-than",
            metavar="AGE",
            parser=parse_age,
            help=f"Ended so long ago. {AGE_FORM.capitalize()}.",
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say which, and do nothing.")] = False,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move events of operations that ended long ago to the object store.

    They are shown, folded, exported, resumed and rebuilt from as before. Ctrl-C at any time; the next run goes on.
    """
    settings = projection_settings(locate(directory))
    silence_logs()

    async def run() -> ArchiveReport:
        async with open_projections(settings) as parts:
            ended_before = SystemClock().now() - timedelta(seconds=older_than)
            return await parts.archive(ended_before, requested_by=SOURCE, dry_run=dry_run, tell=_tell)

    report = asyncio.run(run())
    if as_json:
        print_json(_document(report, dry_run=dry_run))
    else:
        _print(report, dry_run=dry_run)


def _tell(report: ArchiveReport) -> None:
    notes().print(f"{len(report.archived):,} operations, {report.events_removed:,} events", soft_wrap=True)


def _document(report: ArchiveReport, *, dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "archived": [
            {"operation_id": each.operation_id, "events": each.events, "size_bytes": each.size_bytes}
            for each in report.archived
        ],
        "skipped": report.skipped,
        "events_removed": report.events_removed,
        "finished": report.finished,
    }


def _print(report: ArchiveReport, *, dry_run: bool) -> None:
    events = sum(each.events for each in report.archived)
    if dry_run:
        rows = [(each.operation_id, f"{each.events:,}") for each in report.archived[:LISTED_MAX]]
        if rows:
            print_table(("OPERATION", "EVENTS"), rows, right=("EVENTS",))
        people().print(f"{len(report.archived):,} operations with {events:,} events would be archived")
    else:
        size = format_size(sum(each.size_bytes for each in report.archived))
        people().print(
            f"{len(report.archived):,} operations archived: {events:,} events in {size}; "
            f"{report.events_removed:,} left the log"
        )
    if report.finished:
        people().print(f"{report.finished:,} operations of an earlier run, which broke off, were finished")
    for operation_id, reason in report.skipped.items():
        notes().print(f"{operation_id} stays: {reason}", soft_wrap=True)
