"""Commands to many at a time: which are meant is said as for a list, how many in the body.

A dry run answers the count, the verdicts by their kind and the first few. The real one streams one JSON document
a line: the count, each verdict as it is there, and a summary at the end.
"""

import json
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response
from fastapi.responses import JSONResponse, StreamingResponse
from milepost_contracts.commands import (
    CANCEL_DEADLINE_SECONDS_MAX,
    CancelOperation,
    DeleteCheckpoint,
    ResumeOperation,
)
from milepost_contracts.model import NO_FLAG, ContractModel
from milepost_contracts.verdicts import Rejected
from pydantic import Field, StrictBool

from milepost_orchestrator.application.answers import Answer, Sender, rejected
from milepost_orchestrator.application.bulk import EACH, Bulk, Count, Target
from milepost_orchestrator.entrypoints.http.authorization import CommandSender
from milepost_orchestrator.entrypoints.http.checkpoints_reading import CheckpointsFilterQuery
from milepost_orchestrator.entrypoints.http.commanding import command_of
from milepost_orchestrator.entrypoints.http.operations_reading import OperationsFilterQuery
from milepost_orchestrator.entrypoints.http.ports import HttpPorts
from milepost_orchestrator.entrypoints.http.problems import problem_of

FIRST_SHOWN = 5
LINES = "application/x-ndjson"
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Each verdict as it is there, or what a dry run found", "content": {LINES: {}}}
}


class ToMany(ContractModel):
    """How many are meant, and what each command holds beside its target."""

    expected_count: Annotated[int | None, NO_FLAG] = Field(default=None, ge=0)
    """Nothing is done when another number fits."""
    any_count: StrictBool = False
    """As many as fit."""
    reason: str | None = Field(default=None, max_length=500)
    dry_run: StrictBool = False


class CancelMany(ToMany):
    """Cancel every operation that fits, queued and running ones unless the filter says others."""

    deadline_seconds: Annotated[float | None, NO_FLAG] = Field(
        default=None, gt=0, le=CANCEL_DEADLINE_SECONDS_MAX
    )
    force: StrictBool = False


class ResumeMany(ToMany):
    """Resume every operation that fits, cancelled and failed ones unless the filter says others."""


class DeleteManyCheckpoints(ToMany):
    """Delete every checkpoint that fits; what is pinned or in use is refused, each for itself."""


def bulk_commanding(ports: HttpPorts) -> APIRouter:
    """Return the routes for commands to many."""
    router = APIRouter(prefix="/bulk")
    bulk = Bulk(ports.queries, ports.handler)

    @router.post("/cancel", summary="Cancel every operation that fits the filter.", responses=_ANSWERS)
    async def cancel(  # pyright: ignore[reportUnusedFunction] - a route
        query: Annotated[OperationsFilterQuery, Query()],
        sender: CommandSender,
        body: Annotated[CancelMany | None, Body()] = None,
    ) -> Response:
        given = body or CancelMany()
        fields = {name: getattr(given, name) for name in ("reason", "deadline_seconds", "force")}
        command = command_of(CancelOperation, fields, operation_id=EACH)
        targets = await bulk.cancels(query.filter(ports.clock.now()), command)
        return await _answer(bulk, targets, given, sender)

    @router.post("/resume", summary="Resume every operation that fits the filter.", responses=_ANSWERS)
    async def resume(  # pyright: ignore[reportUnusedFunction] - a route
        query: Annotated[OperationsFilterQuery, Query()],
        sender: CommandSender,
        body: Annotated[ResumeMany | None, Body()] = None,
    ) -> Response:
        command = ResumeOperation(operation_id=EACH)
        targets = await bulk.resumes(query.filter(ports.clock.now()), command)
        return await _answer(bulk, targets, body or ResumeMany(), sender)

    @router.post(
        "/delete-checkpoints", summary="Delete each checkpoint that fits the filter.", responses=_ANSWERS
    )
    async def delete_checkpoints(  # pyright: ignore[reportUnusedFunction] - a route
        query: Annotated[CheckpointsFilterQuery, Query()],
        sender: CommandSender,
        body: Annotated[DeleteManyCheckpoints | None, Body()] = None,
    ) -> Response:
        given = body or DeleteManyCheckpoints()
        command = DeleteCheckpoint(operation_id=EACH, checkpoint_id="cp-each", reason=given.reason)
        targets = await bulk.deletions(query.filter(ports.clock.now()), command)
        return await _answer(bulk, targets, given, sender)

    return router


async def _answer(bulk: Bulk, targets: list[Target], given: ToMany, sender: Sender) -> Response:
    count = Count(given.expected_count, any=given.any_count or given.dry_run)
    refusal = bulk.refusal(targets, count)
    if refusal is not None:
        return problem_of(rejected(sender.command_id, refusal))
    if not given.dry_run:
        return StreamingResponse(_lines(bulk, targets, sender), media_type=LINES)
    answers = [answer async for _, answer in bulk.run(targets, sender, dry_run=True)]
    first = [_document(*each) for each in list(zip(targets, answers, strict=True))[:FIRST_SHOWN]]
    return JSONResponse({"count": len(targets), **_summary(answers), "first": first, "dry_run": True})


async def _lines(bulk: Bulk, targets: list[Target], sender: Sender) -> AsyncGenerator[bytes]:
    yield _line({"count": len(targets), "command_id": sender.command_id})
    answers: list[Answer] = []
    async for target, answer in bulk.run(targets, sender, dry_run=False):
        answers.append(answer)
        yield _line(_document(target, answer))
    yield _line(_summary(answers))


def _document(target: Target, answer: Answer) -> dict[str, Any]:
    return {"target": target.target_id, **answer.model_dump(mode="json")}


def _summary(answers: list[Answer]) -> dict[str, Any]:
    """How many verdicts of each kind, and of the refusals each reason."""
    verdicts = Counter(answer.verdict for answer in answers)
    codes = Counter(answer.code.value for answer in answers if isinstance(answer, Rejected))
    named = {name: verdicts[name] for name in ("accepted", "duplicate", "rejected")}
    return {"verdicts": named, "codes": dict(sorted(codes.items()))}


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"
