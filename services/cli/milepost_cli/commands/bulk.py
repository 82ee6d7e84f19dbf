"""``milepost bulk cancel``, ``resume`` and ``delete-checkpoints``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from milepost_cli import reader
from milepost_cli.api import Parameters
from milepost_cli.errors import CommandError
from milepost_cli.list_options import (
    REASONS,
    STATUSES,
    KindsOption,
    NameOption,
    NewerOption,
    OlderOption,
    RootOption,
    StatusesOption,
    WorkersOption,
    one_of,
    parse_age,
)
from milepost_cli.location import locate
from milepost_cli.lookup import operation_id_of
from milepost_cli.options import CommandIdOption, DirectoryOption, JsonOption, ReasonOption, examples, new_app
from milepost_cli.output import notes, people, print_json

app = new_app()
ExpectOption = Annotated[
    int | None, typer.Option("--expect", min=0, help="Do it only if exactly so many fit.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do it however many fit.")]
DryRunOption = Annotated[
    bool,
    typer.Option("--dry-run", help="Say how many fit, the first of them and their verdicts; do nothing."),
]


@app.callback()
def bulk() -> None:
    """Cancel, resume or delete checkpoints by filter, many at a time."""


@app.command(
    "cancel",
    epilog=examples(
        "milepost bulk cancel --kind training --dry-run",
        "milepost bulk cancel --name nightly --expect 12 --reason 'wrong data'",
        "milepost bulk cancel --older-than 2d --yes --deadline 1m",
    ),
)
def cancel(
    status: StatusesOption = [],  # noqa: B006 - typer copies it
    kind: KindsOption = [],  # noqa: B006
    worker: WorkersOption = [],  # noqa: B006
    name: NameOption = None,
    root: RootOption = None,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    reason: ReasonOption = None,
    deadline: Annotated[
        float | None,
        typer.Option(metavar="TIME", parser=parse_age, help="End by force what has not stopped by then."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Do not wait for the ends of units.")] = False,
    expect: ExpectOption = None,
    yes: YesOption = False,
    command_id: CommandIdOption = None,
    dry_run: DryRunOption = False,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cancel every operation that fits; queued and running ones unless --status says others."""
    wanted = _operations(directory, status, kind, worker, name, root, older_than, newer_than)
    body = {"reason": reason, "deadline_seconds": deadline, "force": force, **_count(expect, yes=yes)}
    _run("cancel", wanted, {**body, "dry_run": dry_run}, command_id, directory, as_json=as_json)


@app.command(
    "resume",
    epilog=examples(
        "milepost bulk resume --status failed --newer-than 12h --dry-run",
        "milepost bulk resume --name nightly --yes",
    ),
)
def resume(
    status: StatusesOption = [],  # noqa: B006
    kind: KindsOption = [],  # noqa: B006
    worker: WorkersOption = [],  # noqa: B006
    name: NameOption = None,
    root: RootOption = None,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    expect: ExpectOption = None,
    yes: YesOption = False,
    command_id: CommandIdOption = None,
    dry_run: DryRunOption = False,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Resume every operation that fits; cancelled and failed ones unless --status says others."""
    wanted = _operations(directory, status, kind, worker, name, root, older_than, newer_than)
    body = {**_count(expect, yes=yes), "dry_run": dry_run}
    _run("resume", wanted, body, command_id, directory, as_json=as_json)


@app.command(
    "delete-checkpoints",
    epilog=examples(
        "milepost bulk delete-checkpoints --older-than 30d --dry-run",
        "milepost bulk delete-checkpoints --operation op-abc --saved-because periodic --expect 12",
    ),
)
def delete_checkpoints(
    operation: Annotated[str | None, typer.Option(help="Only of this operation.")] = None,
    root: RootOption = None,
    kind: KindsOption = [],  # noqa: B006
    saved_because: Annotated[
        list[str], typer.Option(help=f"Only {', '.join(REASONS)}; repeatable.", show_default=False)
    ] = [],  # noqa: B006
    worker: WorkersOption = [],  # noqa: B006
    name: NameOption = None,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    reason: ReasonOption = None,
    expect: ExpectOption = None,
    yes: YesOption = False,
    command_id: CommandIdOption = None,
    dry_run: DryRunOption = False,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete every checkpoint that fits; what is pinned or in use stays, and is named."""
    for each in saved_because:
        one_of(each, REASONS, "--saved-because")
    with locate(directory).api() as api:
        wanted: Parameters = {
            "operation_id": None if operation is None else operation_id_of(api, operation),
            "root_id": None if root is None else operation_id_of(api, root),
            "kind": kind,
            "reason": saved_because,
            "worker_id": worker,
            "name": name,
            "age_seconds_min": older_than,
            "age_seconds_max": newer_than,
        }
    body = {"reason": reason, **_count(expect, yes=yes), "dry_run": dry_run}
    _run("delete-checkpoints", wanted, body, command_id, directory, as_json=as_json)


def _operations(
    directory: Path | None,
    status: list[str],
    kind: list[str],
    worker: list[str],
    name: str | None,
    root: str | None,
    older_than: float | None,
    newer_than: float | None,
) -> Parameters:
    for each in status:
        one_of(each, STATUSES, "--status")
    with locate(directory).api() as api:
        return {
            "status": status,
            "kind": kind,
            "worker_id": worker,
            "name": name,
            "root_id": None if root is None else operation_id_of(api, root),
            "age_seconds_min": older_than,
            "age_seconds_max": newer_than,
        }


def _count(expect: int | None, *, yes: bool) -> dict[str, object]:
    return {"expected_count": expect, "any_count": yes}


def _run(
    action: str,
    wanted: Parameters,
    body: dict[str, object],
    command_id: str | None,
    directory: Path | None,
    *,
    as_json: bool,
) -> None:
    headers = {"Idempotency-Key": command_id} if command_id else {}
    with locate(directory).api() as api:
        lines = api.post_lines(f"/bulk/{action}", wanted, body, headers)
        if body["dry_run"]:
            _say_dry_run(next(lines), as_json=as_json)
            return
        documents = list(_with_progress(action, lines, quiet=as_json))
    _say_outcome(documents, as_json=as_json)


def _with_progress(
    action: str, lines: Iterator[dict[str, object]], *, quiet: bool
) -> Iterator[dict[str, object]]:
    """Yield every line, with a bar of how many are decided."""
    head = next(lines)
    yield head
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=notes(), disable=quiet or not notes().is_terminal) as progress:
        task = progress.add_task(action, total=reader.whole(head, "count"))
        for line in lines:
            yield line
            if "target" in line:
                progress.advance(task)


def _say_dry_run(document: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    count = reader.whole(document, "count") or 0
    people().print(f"{count:,} fit; {_verdict_words(document)}; nothing was done")
    shown = reader.objects(document, "first")
    for each in shown:
        people().print(f"  {_target_words(each)}", soft_wrap=True)
    if count > len(shown):
        people().print(f"  and {count - len(shown):,} more")
    if count:
        notes().print(f"next: the same with --expect {count}")


def _say_outcome(documents: list[dict[str, object]], *, as_json: bool) -> None:
    """Say how it went, and fail when not all of it did.

    Raises:
        CommandError: some were refused, or the answer broke off before its end.
    """
    count = reader.whole(documents[0], "count") or 0
    command_id = reader.text(documents[0], "command_id")
    decided = [each for each in documents if "target" in each]
    refused = [each for each in decided if each["verdict"] == "rejected"]
    if as_json:
        print_json({"count": count, "command_id": command_id, "verdicts": decided})
    else:
        for each in refused:
            people().print(f"  {_target_words(each)}", soft_wrap=True)
    if "verdicts" not in documents[-1]:
        raise CommandError(
            f"the answer broke off after {len(decided)} of {count}",
            fix=f"do the same again with --yes --command-id {command_id}: it goes on with what is left",
            code="broken-off",
        )
    if refused:
        raise CommandError(
            f"{len(refused)} of {count} were refused; {count - len(refused)} were accepted",
            fix="each is named with its reason",
            code="partly-refused",
        )
    if not as_json:
        people().print(f"all {count:,} accepted" if count else "none fit; nothing was done")


def _verdict_words(document: dict[str, object]) -> str:
    verdicts = reader.mapping(document, "verdicts")
    words = [
        f"{verdicts[name]} {name}" for name in ("accepted", "duplicate", "rejected") if verdicts.get(name)
    ]
    codes = reader.mapping(document, "codes")
    reasons = ", ".join(f"{codes[code]} {code}" for code in codes)
    return (", ".join(words) or "none accepted") + (f" ({reasons})" if reasons else "")


def _target_words(each: dict[str, object]) -> str:
    words = f"{reader.text(each, 'target')}  {reader.text(each, 'verdict')}"
    if each["verdict"] != "rejected":
        return words
    return f"{words}: {reader.text(each, 'message')}; {reader.text(each, 'fix')}"
