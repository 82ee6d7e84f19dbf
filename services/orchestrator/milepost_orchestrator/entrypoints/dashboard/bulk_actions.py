"""Commands to the selected operations, or to all that fit the search: asked about first, confirmed by typing.

States: targets -> dry run over all of them, each verdict shown -> the number that would be done is typed -> dry
run again; sent only when that number is still the one that was typed -> each verdict shown, refusals by name.
Authority: the log, for each target; the read models only say which are meant. Failures: cut off some are done and
the others not; the same form sent again goes on with the rest, as the ids of the single commands follow from its
own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse
from milepost_contracts.commands import DeleteCheckpoint, ResumeOperation
from milepost_contracts.failures import Problem
from milepost_contracts.ids import CommandId, OperationId
from milepost_contracts.verdicts import Rejected
from milepost_runtime.clock import random_id
from pydantic import TypeAdapter, ValidationError

from milepost_orchestrator.application.answers import Answer, Sender, invalid_command, rejected
from milepost_orchestrator.application.bulk import EACH, Bulk, Count, Target
from milepost_orchestrator.application.filters import CheckpointFilter, OperationFilter
from milepost_orchestrator.domain.bulk import TARGETS_MAX
from milepost_orchestrator.domain.operation import Status
from milepost_orchestrator.entrypoints.dashboard.actions import (
    SOURCE,
    form_of,
    problems_of,
    require_own_page,
)
from milepost_orchestrator.entrypoints.dashboard.cancel_form import cancel_command
from milepost_orchestrator.entrypoints.dashboard.navigation import PREFIX
from milepost_orchestrator.entrypoints.dashboard.rendering import Renderer
from milepost_orchestrator.entrypoints.dashboard.search import parse_search
from milepost_orchestrator.entrypoints.http.authorization import person_of
from milepost_orchestrator.entrypoints.http.ports import HttpPorts

PATH = f"{PREFIX}/bulk"
SHOWN_MAX = 100
EVERY_STATUS = tuple(status.value for status in Status)
_IDS: TypeAdapter[tuple[str, ...]] = TypeAdapter(tuple[OperationId, ...])
_COMMAND_ID: TypeAdapter[str] = TypeAdapter(CommandId)


@dataclass(frozen=True, slots=True)
class Manner:
    """One thing that can be done to many, in words."""

    name: str
    thing: str
    would: str
    done: str
    none: str
    """Why there is nothing to ask about."""


MANNERS = {
    each.name: each
    for each in (
        Manner("cancel", "operation", "would be cancelled", "being cancelled", "is queued or running"),
        Manner("resume", "operation", "would be resumed", "resumed", "is cancelled or failed"),
        Manner("delete", "checkpoint", "would be deleted", "deleted", "has a checkpoint"),
    )
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Every verdict, parted."""

    taken: Sequence[tuple[Target, Answer]]
    refused: Sequence[tuple[Target, Rejected]]


def bulk_actions(ports: HttpPorts, renderer: Renderer) -> APIRouter:
    """Return the routes: a preview and the deed for each of ``MANNERS``."""
    router = APIRouter(prefix=PATH, dependencies=[Depends(require_own_page)])
    bulk = Bulk(ports.queries, ports.handler)

    async def outcome(targets: Sequence[Target], sender: Sender, *, dry_run: bool) -> Outcome:
        answers = [each async for each in bulk.run(targets, sender, dry_run=dry_run)]
        refused = [(target, answer) for target, answer in answers if isinstance(answer, Rejected)]
        return Outcome([each for each in answers if not isinstance(each[1], Rejected)], refused)

    def refusal(verdict: Rejected) -> Response:
        return HTMLResponse(renderer.text("notice.html", {"verdict": verdict, "words": ""}))

    async def act(request: Request, manner: Manner, *, preview: bool) -> Response:
        form = await form_of(request)
        try:
            sender = Sender(command_id_of(form), person_of(request).source(SOURCE))
            targets = await targets_of(bulk, ports, manner, form)
        except ValidationError as error:
            words = "what was entered cannot be used"
            return refusal(invalid_command(random_id("cmd"), words, problems_of(error)))
        if isinstance(targets, Rejected):
            return refusal(targets)
        too_many = bulk.refusal(targets, Count(any=True))
        if too_many is not None:
            return refusal(rejected(sender.command_id, too_many))
        found = await outcome(targets, sender, dry_run=True)
        is_confirmed = not preview and is_typed(form.get("confirm", ""), manner, len(found.taken))
        if is_confirmed:
            found = await outcome(targets, sender, dry_run=False)
        context: dict[str, Any] = {
            "manner": manner,
            "found": found,
            "done": is_confirmed,
            "differs": not is_confirmed and "confirm" in form and not preview,
            "command_id": sender.command_id,
            "shown_max": SHOWN_MAX,
        }
        return HTMLResponse(renderer.text("bulk_outcome.html", context))

    def add(manner: Manner) -> None:
        async def preview(request: Request) -> Response:
            return await act(request, manner, preview=True)

        async def do(request: Request) -> Response:
            return await act(request, manner, preview=False)

        router.post(f"/{manner.name}/preview")(preview)
        router.post(f"/{manner.name}")(do)

    for manner in MANNERS.values():
        add(manner)
    return router


def is_typed(text: str, manner: Manner, count: int) -> bool:
    """Say whether the number was typed, by itself or after the word: ``12`` or ``cancel 12``."""
    return count > 0 and text.split() in ([str(count)], [manner.name, str(count)])


def command_id_of(form: Mapping[str, str]) -> str:
    """Return the id that the form has from its preview, else a new one; raises ``ValidationError``."""
    return _COMMAND_ID.validate_python(form.get("command_id", random_id("cmd")))


async def targets_of(
    bulk: Bulk, ports: HttpPorts, manner: Manner, form: Mapping[str, str]
) -> Sequence[Target] | Rejected:
    """Return each target with its command, or what is wrong with the selection; raises ``ValidationError``."""
    wanted = wanted_of(ports, form)
    if isinstance(wanted, Rejected):
        return wanted
    match manner.name:
        case "cancel":
            return await bulk.cancels(wanted, cancel_command({**form, "operation_id": EACH}))
        case "resume":
            return await bulk.resumes(wanted, ResumeOperation(operation_id=EACH))
        case _:
            fields = {"operation_id": EACH, "checkpoint_id": "cp-each", "reason": form.get("reason")}
            command = DeleteCheckpoint.model_validate(fields)
            return await bulk.deletions(CheckpointFilter(operations=wanted), command)


def wanted_of(ports: HttpPorts, form: Mapping[str, str]) -> OperationFilter | Rejected:
    """Return which operations are meant: those that were selected, whatever they are, or all that match."""
    if "matching" in form:
        search = parse_search(form.get("q", ""))
        if search.problems:
            return invalid_command(random_id("cmd"), "the search cannot be understood", search.problems)
        return search.query().filter(ports.clock.now())
    ids = _IDS.validate_python(tuple(form.get("ids", "").split())[: TARGETS_MAX + 1])
    if not ids:
        nothing = Problem(field="ids", message="select some rows, or all that match")
        return invalid_command(random_id("cmd"), "nothing is selected", (nothing,))
    return OperationFilter(operation_ids=ids, statuses=EVERY_STATUS)
