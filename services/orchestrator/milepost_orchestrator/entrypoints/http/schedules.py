"""Schedules: what there are, and the commands that make, pause, unpause and delete them."""

from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Body, Query, Response
from fastapi.responses import JSONResponse
from milepost_contracts.ids import ScheduleId
from milepost_contracts.model import ContractModel
from milepost_contracts.schedules import (
    CreateSchedule,
    DeleteSchedule,
    PauseSchedule,
    Reason,
    UnpauseSchedule,
)

from milepost_orchestrator.application.answers import Sender
from milepost_orchestrator.application.schedules import schedule_document
from milepost_orchestrator.entrypoints.http.authorization import CommandSender
from milepost_orchestrator.entrypoints.http.commanding import send, summary_of
from milepost_orchestrator.entrypoints.http.parameters import Flag
from milepost_orchestrator.entrypoints.http.ports import HttpPorts
from milepost_orchestrator.entrypoints.http.problems import not_found

LOCATION = "/schedules"
Change: TypeAlias = type[PauseSchedule] | type[UnpauseSchedule] | type[DeleteSchedule]


class AboutSchedule(ContractModel):
    """What a command about a schedule holds beside its id."""

    reason: Reason | None = None
    dry_run: Flag = False


def schedules(ports: HttpPorts) -> APIRouter:
    """Return the routes about schedules."""
    router = APIRouter(prefix=LOCATION)

    async def change(kind: Change, schedule_id: str, given: AboutSchedule, sender: Sender) -> Response:
        command = kind(schedule_id=schedule_id, reason=given.reason, dry_run=given.dry_run)
        return await send(ports.handler, command, sender, created=False, location=f"{LOCATION}/{schedule_id}")

    @router.get("", summary="Every schedule with its next time and what the last one led to.")
    async def list_schedules() -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction] - a route
        now = ports.clock.now()
        return {"schedules": [schedule_document(each, now) for each in await ports.schedules.all()]}

    @router.get("/{schedule_id}", summary="One schedule.")
    async def show(schedule_id: ScheduleId) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        found = await ports.schedules.load(schedule_id)
        if found is None or found.deleted:
            return not_found("schedule", schedule_id, "list them with `milepost schedule list`")
        return JSONResponse(schedule_document(found, ports.clock.now()))

    @router.post("", status_code=201, summary=summary_of(CreateSchedule))
    async def create(command: CreateSchedule, sender: CommandSender) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        return await send(ports.handler, command, sender, created=True, location=LOCATION)

    @router.post("/{schedule_id}/pause", summary=summary_of(PauseSchedule))
    async def pause(  # pyright: ignore[reportUnusedFunction] - a route
        schedule_id: ScheduleId,
        sender: CommandSender,
        body: Annotated[AboutSchedule | None, Body()] = None,
    ) -> Response:
        return await change(PauseSchedule, schedule_id, body or AboutSchedule(), sender)

    @router.post("/{schedule_id}/unpause", summary=summary_of(UnpauseSchedule))
    async def unpause(  # pyright: ignore[reportUnusedFunction] - a route
        schedule_id: ScheduleId,
        sender: CommandSender,
        body: Annotated[AboutSchedule | None, Body()] = None,
    ) -> Response:
        return await change(UnpauseSchedule, schedule_id, body or AboutSchedule(), sender)

    @router.delete("/{schedule_id}", summary=summary_of(DeleteSchedule))
    async def delete(  # pyright: ignore[reportUnusedFunction] - a route
        schedule_id: ScheduleId,
        sender: CommandSender,
        given: Annotated[AboutSchedule, Query()],
    ) -> Response:
        return await change(DeleteSchedule, schedule_id, given, sender)

    return router
