"""``milepost projections quarantine``: events that could not be applied."""

import asyncio
import json
from collections.abc import Sequence
from typing import Annotated

import typer
from milepost_orchestrator.application.quarantine import Quarantined, Retried
from milepost_orchestrator.projections_bootstrap import open_projections

from milepost_cli.bus import SOURCE
from milepost_cli.errors import CommandError, NotFoundError
from milepost_cli.location import StackLocation, locate
from milepost_cli.options import DirectoryOption, JsonOption, examples, new_app
from milepost_cli.output import people, print_facts, print_json
from milepost_cli.projection_settings import projection_settings
from milepost_cli.quiet import silence_logs
from milepost_cli.tables import print_table

app = new_app()
LISTED_MAX = 1000


@app.callback()
def quarantine() -> None:
    """See the events that could not be applied, and try them again."""


@app.command("list", epilog=examples("milepost projections quarantine list"))
def list_quarantine(directory: DirectoryOption = None, as_json: JsonOption = False) -> None:
    """List the events that could not be read or applied; their operations are told without them."""
    found = asyncio.run(_list(locate(directory)))
    if as_json:
        print_json({"quarantine": [_document(each) for each in found]})
        return
    rows = [(str(e.sequence), e.operation_id, e.side, e.name, e.error.splitlines()[0]) for e in found]
    print_table(
        ("SEQUENCE", "OPERATION", "SIDE", "EVENT", "ERROR"), rows, right=("SEQUENCE",), wrap=("ERROR",)
    )


@app.command("show", epilog=examples("milepost projections quarantine show 57"))
def show_quarantine(
    sequence: Annotated[int, typer.Argument(help="Its position in the log.")],
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one event that could not be applied: the reason, and what was written."""
    found = [each for each in asyncio.run(_list(locate(directory))) if each.sequence == sequence]
    if not found:
        raise NotFoundError(
            f"no event at {sequence} is in quarantine",
            fix="`milepost projections quarantine list` lists them",
            code="event-not-found",
        )
    document = _document(found[0])
    if as_json:
        print_json(document)
        return
    print_facts({name: str(value) for name, value in document.items() if name != "payload"})
    people().print(document["payload"], soft_wrap=True)


@app.command(
    "retry",
    epilog=examples("milepost projections quarantine retry", "milepost projections quarantine retry op-abc"),
)
def retry_quarantine(
    operation: Annotated[
        str | None, typer.Argument(metavar="ID", help="Only this operation's events; all when absent.")
    ] = None,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try again to apply what was set aside, after a fix or an upgrade. An orchestrator does so when it starts.

    Exits with 1 when something is still refused.
    """
    done = asyncio.run(_retry(locate(directory), operation))
    refused = sum(len(each.refused) for each in done)
    if as_json:
        print_json(
            {
                "applied": [sequence for each in done for sequence in each.applied],
                "refused": [sequence for each in done for sequence in each.refused],
            }
        )
        raise typer.Exit(1 if refused else 0)
    people().print(f"{sum(len(each.applied) for each in done)} applied, {refused} still refused")
    if refused:
        raise CommandError(
            f"{refused} events are still refused",
            code="still-refused",
            fix="`milepost projections quarantine list` says why",
        )


async def _list(location: StackLocation) -> list[Quarantined]:
    silence_logs()
    async with open_projections(projection_settings(location)) as parts:
        return await parts.quarantined(LISTED_MAX)


async def _retry(location: StackLocation, operation_id: str | None) -> Sequence[Retried]:
    silence_logs()
    async with open_projections(projection_settings(location)) as parts:
        return await parts.redeliver(operation_id, SOURCE)


def _document(found: Quarantined) -> dict[str, object]:
    payload = found.payload.decode(errors="replace")
    try:
        readable: object = json.loads(payload)
    except ValueError:
        readable = payload
    return {
        "sequence": found.sequence,
        "operation_id": found.operation_id,
        "side": found.side,
        "event": found.name,
        "error": found.error,
        "payload": readable,
    }
