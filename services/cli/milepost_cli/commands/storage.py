"""``milepost storage show``, ``orphans`` and ``sweep``: what is kept in the object store."""

import sys
from typing import Annotated

import typer
from milepost_runtime.clock import SystemClock

from milepost_cli import reader
from milepost_cli.errors import UsageFaultError
from milepost_cli.formatting import format_age, format_count, format_size
from milepost_cli.list_options import AGE_FORM, parse_age
from milepost_cli.location import locate
from milepost_cli.options import DirectoryOption, JsonOption, examples, new_app
from milepost_cli.output import notes, people, print_json
from milepost_cli.tables import print_table

SWEEP_SECONDS = 3600.0
SHOWN_MAX = 20
GraceOption = Annotated[
    float | None,
    typer.Option(
        metavar="AGE",
        parser=parse_age,
        help=f"Only what is older, {AGE_FORM}; never less than the stack's own.",
    ),
]

app = new_app()


@app.callback()
def storage() -> None:
    """Show how much is kept, find what nothing refers to, and remove it."""


@app.command("show", epilog=examples("milepost storage show"))
def show(directory: DirectoryOption = None, as_json: JsonOption = False) -> None:
    """Show how much is kept, by kind, status and age, and how much was deleted by whom."""
    with locate(directory).api() as api:
        document = api.get("/storage")
    if as_json:
        print_json(document)
        return
    kept, deleted = reader.mapping(document, "checkpoints"), reader.mapping(document, "deleted")
    rows = [
        (
            *(reader.text(item, name) for name in ("kind", "status", "age")),
            f"{reader.whole(item, 'count'):,}",
            f"{reader.whole(item, 'pinned'):,}",
            format_size(reader.whole(item, "size_bytes") or 0),
        )
        for item in reader.objects(kept, "by")
    ]
    print_table(("KIND", "STATUS", "AGE", "KEPT", "PINNED", "SIZE"), rows, right=("KEPT", "PINNED", "SIZE"))
    people().print()
    people().print(
        f"{format_count(reader.whole(kept, 'count') or 0, 'checkpoint')},"
        f" {format_size(reader.whole(kept, 'size_bytes') or 0)},"
        f" {format_size(reader.whole(kept, 'unique_bytes') or 0)} where shared bytes count once",
        soft_wrap=True,
    )
    for item in reader.objects(deleted, "by"):
        people().print(_deleted_words(item), soft_wrap=True)


@app.command("orphans", epilog=examples("milepost storage orphans --grace 7d"))
def orphans(
    grace: GraceOption = None, directory: DirectoryOption = None, as_json: JsonOption = False
) -> None:
    """Count and name what nothing refers to any more; nothing is removed."""
    with locate(directory).api() as api:
        document = api.post("/storage/orphans", _body(grace, dry_run=True), timeout_seconds=SWEEP_SECONDS)
    _print(document, as_json=as_json)


@app.command("sweep", epilog=examples("milepost storage sweep", "milepost storage sweep --grace 7d --yes"))
def sweep(
    grace: GraceOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove what nothing refers to any more."""
    if not yes and (as_json or not sys.stdin.isatty()):
        raise UsageFaultError(
            "nobody can be asked whether to remove",
            fix="look with `milepost storage orphans`, then add --yes",
        )
    with locate(directory).api() as api:
        if not yes:
            found = api.post("/storage/orphans", _body(grace, dry_run=True), timeout_seconds=SWEEP_SECONDS)
            _print(found, as_json=False)
            wanted = f"remove {_count(found, 'orphans')}"
            if typer.prompt(f"type '{wanted}' to go on", default="", show_default=False).strip() != wanted:
                notes().print("nothing was removed")
                raise typer.Abort
        document = api.post("/storage/orphans", _body(grace, dry_run=False), timeout_seconds=SWEEP_SECONDS)
    _print(document, as_json=as_json)


def _body(grace: float | None, *, dry_run: bool) -> dict[str, object]:
    return {"grace_seconds": grace, "dry_run": dry_run}


def _print(document: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    now = SystemClock().now()
    named = reader.objects(document, "named")
    rows = [
        (
            reader.text(item, "key"),
            format_size(reader.whole(item, "size_bytes") or 0),
            format_age(reader.moment(item, "modified_at"), now),
        )
        for item in named[:SHOWN_MAX]
    ]
    if rows:
        print_table(("ORPHAN", "SIZE", "SINCE"), rows, right=("SIZE",))
        people().print()
    dry_run = bool(document.get("dry_run"))
    what = "orphans" if dry_run else "removed"
    people().print(
        f"{_amount(document, what)} {'nothing refers to' if dry_run else 'removed'}", soft_wrap=True
    )
    uploads = reader.whole(document, "abandoned_uploads") or 0
    if uploads:
        verb = "found" if dry_run else "removed"
        people().print(f"{format_count(uploads, 'upload')} that broke off {verb}", soft_wrap=True)
    people().print(
        f"{_amount(document, 'needed')} needed, {_amount(document, 'young')} too young to tell",
        soft_wrap=True,
    )


def _amount(document: dict[str, object], name: str) -> str:
    size_bytes = reader.whole(reader.mapping(document, name), "size_bytes") or 0
    return f"{format_count(_count(document, name), 'object')} ({format_size(size_bytes)})"


def _count(document: dict[str, object], name: str) -> int:
    return reader.whole(reader.mapping(document, name), "count") or 0


def _deleted_words(item: dict[str, object]) -> str:
    count, size_bytes = reader.whole(item, "count") or 0, reader.whole(item, "size_bytes") or 0
    return (
        f"deleted: {format_count(count, 'checkpoint')}, {format_size(size_bytes)},"
        f" of kind {reader.text(item, 'kind')} by {reader.text(item, 'requested_by')}"
    )
