"""``milepost projections``: rebuild, verify, and the quarantine."""

import asyncio
from typing import Annotated

import typer
from milepost_orchestrator.application.rebuilding import RebuildProgress, RebuildReport
from milepost_orchestrator.projections_bootstrap import open_projections
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from milepost_cli.commands.projections_quarantine import app as quarantine_app
from milepost_cli.errors import CommandError
from milepost_cli.location import StackLocation, locate
from milepost_cli.options import DirectoryOption, JsonOption, examples, new_app
from milepost_cli.output import notes, people, print_json
from milepost_cli.projection_settings import projection_settings
from milepost_cli.quiet import silence_logs
from milepost_cli.tables import print_table

app = new_app()
app.add_typer(quarantine_app, name="quarantine")


class ProjectionsDifferError(CommandError):
    """The live read models are not what the log says."""

    default_code = "projections-differ"


@app.callback()
def projections() -> None:
    """Rebuild and verify the read models; see what could not be applied."""


@app.command(
    "rebuild", epilog=examples("milepost projections rebuild", "milepost projections rebuild --json")
)
def rebuild(directory: DirectoryOption = None, as_json: JsonOption = False) -> None:
    """Build the read models anew from the log and put them in the place of the live ones.

    Beside them, from nothing; reading never stops. What differed is told. Ctrl-C leaves everything as it was.
    """
    report = _run(locate(directory), swap=True, as_json=as_json)
    if as_json:
        print_json(_document(report))
        return
    _print(report)
    people().print("the rebuilt read models are in place")


@app.command(
    "verify", epilog=examples("milepost projections verify", "milepost projections verify --store --json")
)
def verify(
    store: Annotated[
        bool,
        typer.Option("--store", help="Also look whether manifests and artifacts on record are in the store."),
    ] = False,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build the read models anew beside the live ones and compare; nothing is put in place.

    Exits with 0 when they are equal, with 1 when not.
    """
    location = locate(directory)
    report = _run(location, swap=False, as_json=as_json)
    missing = asyncio.run(_check_store(location)) if store else []
    if as_json:
        print_json({**_document(report), **({"store": {"missing": missing}} if store else {})})
    else:
        _print(report)
        for words in missing:
            people().print(f"in the store: {words}", soft_wrap=True)
    if report.equal and not missing:
        return
    if as_json:
        raise typer.Exit(1)
    if not report.equal:
        raise ProjectionsDifferError(
            "the live read models are not what the log says",
            fix="put that right with `milepost projections rebuild`",
        )
    raise ProjectionsDifferError(
        f"{len(missing)} things on record are not in the store",
        fix="resume from other checkpoints; `milepost checkpoints list` shows them",
        code="store-incomplete",
    )


def _run(location: StackLocation, *, swap: bool, as_json: bool) -> RebuildReport:
    settings = projection_settings(location)
    silence_logs()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[words]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=notes(), transient=True, disable=as_json) as bar:
        task = bar.add_task("filling", total=None, words="")

        def tell(progress: RebuildProgress) -> None:
            bar.update(
                task,
                description=progress.stage,
                completed=progress.sequence,
                total=progress.target_sequence or None,
                words=f"{progress.entries:,} events",
            )

        async def run() -> RebuildReport:
            async with open_projections(settings) as parts:
                return await parts.rebuild(tell, swap=swap)

        return asyncio.run(run())


async def _check_store(location: StackLocation) -> list[str]:
    async with open_projections(projection_settings(location)) as parts:
        return [words async for words in parts.missing_in_store()]


def _document(report: RebuildReport) -> dict[str, object]:
    return {
        "equal": report.equal,
        "swapped": report.swapped,
        "sequence": report.sequence,
        "events": report.entries,
        "seconds": round(report.seconds, 3),
        "events_per_second": round(report.entries / report.seconds) if report.seconds else None,
        "tables": [
            {
                "table": table.table,
                "equal": table.equal,
                "live": {"rows": table.live_rows, "digest": table.live_digest},
                "rebuilt": {"rows": table.rebuilt_rows, "digest": table.rebuilt_digest},
                "examples": list(table.examples),
            }
            for table in report.tables
        ],
    }


def _print(report: RebuildReport) -> None:
    rows = [
        (t.table, f"{t.live_rows:,}", f"{t.rebuilt_rows:,}", "equal" if t.equal else "differs")
        for t in report.tables
    ]
    print_table(("TABLE", "LIVE ROWS", "REBUILT ROWS", "COMPARED"), rows, right=("LIVE ROWS", "REBUILT ROWS"))
    for table in report.tables:
        for words in table.examples:
            people().print(f"  {table.table}: {words}", soft_wrap=True)
    rate = report.entries / report.seconds if report.seconds else 0.0
    people().print(
        f"{report.entries:,} events in {report.seconds:.1f} s ({rate:,.0f}/s), "
        f"compared at sequence {report.sequence}"
    )
