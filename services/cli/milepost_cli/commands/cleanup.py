"""``milepost cleanup``: delete old checkpoints by rules, shown before and confirmed."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Annotated

import typer
from milepost_contracts.cleanup import CleanedUp, CleanUpCheckpoints, KeepBest
from milepost_runtime.clock import random_id
from pydantic import ValidationError

from milepost_cli.bus import Bus, open_bus
from milepost_cli.cleaning import Cleaning, print_cleaning, progress_of, total_words
from milepost_cli.errors import UsageFaultError
from milepost_cli.list_options import KindsOption, OlderOption
from milepost_cli.location import StackLocation, locate
from milepost_cli.lookup import operation_id_of
from milepost_cli.options import DirectoryOption, JsonOption, examples, new_app
from milepost_cli.output import notes, print_json
from milepost_cli.run_options import faults_of

app = new_app()


@app.command(
    epilog=examples(
        "milepost cleanup --older-than 30d --keep-newest 2 --dry-run",
        "milepost cleanup --keep-best equity --keep-newest 1 --kind backtest",
        "milepost cleanup --keep-best val_loss --lowest --best-count 3 --yes",
    )
)
def cleanup(
    older_than: OlderOption = None,
    keep_newest: Annotated[
        int | None, typer.Option(min=0, help="Of each operation keep so many of the highest units.")
    ] = None,
    keep_best: Annotated[
        str | None, typer.Option(metavar="METRIC", help="Keep the best by a metric of their summaries.")
    ] = None,
    best_count: Annotated[int, typer.Option(min=1, help="How many of the best, of each operation.")] = 1,
    lowest: Annotated[bool, typer.Option("--lowest", help="Low values are the good ones.")] = False,
    kind: KindsOption = [],  # noqa: B006 - typer copies it
    operation: Annotated[str | None, typer.Option(help="Only of this operation.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; kept with each deletion.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be deleted and what kept; do nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete the checkpoints that nothing needs and no rule keeps.

    Pinned ones stay, and every one that something may still have to go on from; each is named with the reason.
    """
    location = locate(directory)
    operation_id = None
    if operation is not None:
        with location.api() as api:
            operation_id = operation_id_of(api, operation)
    try:
        rules = CleanUpCheckpoints(
            older_than_seconds=older_than,
            keep_newest=keep_newest,
            keep_best=KeepBest(metric=keep_best, count=best_count, lowest=lowest) if keep_best else None,
            kinds=tuple(kind),
            operation_id=operation_id,
            reason=reason,
        )
    except ValidationError as error:
        raise faults_of(error) from error
    if not (dry_run or yes) and (as_json or not sys.stdin.isatty()):
        raise UsageFaultError(
            "nobody can be asked whether to delete",
            fix="look first with --dry-run, then add --yes",
        )
    done = asyncio.run(_clean_up(rules, location, dry_run=dry_run, asked=not yes, as_json=as_json))
    if as_json:
        print_json(done.document())
    else:
        print_cleaning(done)


async def _clean_up(
    rules: CleanUpCheckpoints, location: StackLocation, *, dry_run: bool, asked: bool, as_json: bool
) -> Cleaning:
    async with open_bus(location) as bus:
        plan = await _all_steps(bus, rules.model_copy(update={"dry_run": True}), lambda _: None)
        if dry_run or not plan.deleted:
            return plan
        if asked and not as_json:
            _confirm(plan)
        with nullcontext(None) if as_json else progress_of(plan) as advance:
            return await _all_steps(bus, rules, advance or (lambda _: None))


async def _all_steps(bus: Bus, rules: CleanUpCheckpoints, advance: Callable[[CleanedUp], None]) -> Cleaning:
    """Send the command until everything was looked at; each step is a command of its own."""
    command_id = random_id("cmd")
    done = Cleaning(dry_run=rules.dry_run)
    while True:
        step = await bus.clean_up(rules, f"{command_id}-{done.steps}")
        done.add(step)
        advance(step)
        if step.next_after is None:
            return done
        rules = rules.model_copy(update={"after": step.next_after})


def _confirm(plan: Cleaning) -> None:
    """Have the number typed: a habit of saying yes does not delete anything.

    Raises:
        Abort: something else was typed.
    """
    print_cleaning(plan)
    wanted = f"delete {len(plan.deleted)}"
    typed = typer.prompt(f"type '{wanted}' to delete {total_words(plan)}", default="", show_default=False)
    if typed.strip() != wanted:
        notes().print("nothing was deleted")
        raise typer.Abort
