"""The list of operations: counts by status as filters, a search, columns to choose, pages, live rows."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from milepost_orchestrator.application.documents import Document
from milepost_orchestrator.application.filters import Order
from milepost_orchestrator.application.live_reader import Interest, LiveReader
from milepost_orchestrator.application.sparklines import Seen
from milepost_orchestrator.entrypoints.dashboard.columns import COLUMNS, COOKIE, Column, columns_of, told_of
from milepost_orchestrator.entrypoints.dashboard.list_address import (
    COLUMNS_PATH,
    COLUMNS_PATTERN,
    LIVE_PATH,
    PATH,
    ChosenColumns,
    ListPage,
    LivePage,
)
from milepost_orchestrator.entrypoints.dashboard.operations_live import OperationRows, OperationsView
from milepost_orchestrator.entrypoints.dashboard.rendering import Renderer
from milepost_orchestrator.entrypoints.dashboard.search import QUALIFIERS, Search, parse_search
from milepost_orchestrator.entrypoints.dashboard.shared_parts import Part, SharedParts
from milepost_orchestrator.entrypoints.http.authorization import may_act
from milepost_orchestrator.entrypoints.http.paging import cursor_of, order_of
from milepost_orchestrator.entrypoints.http.parameters import Direction
from milepost_orchestrator.entrypoints.http.ports import HttpPorts
from milepost_orchestrator.entrypoints.http.streams import LastEventId

YEAR_SECONDS = 31_536_000
USUAL_VIEWS = (
    ("At work", "status:running status:cancelling"),
    ("Waiting", "status:queued"),
    ("Failed today", "status:failed newer:24h"),
    ("To go on with", "status:cancelled status:failed"),
)
"""Views that everybody has, by their name."""
SHAPES_MAX = 64
"""So many choices of columns have their rows rendered once for all who made them."""


def operations_page(ports: HttpPorts, renderer: Renderer) -> APIRouter:
    """Return the routes of the list, of its columns and of its changes."""
    router = APIRouter()
    shared = SharedParts(ports.clock, lambda: ports.projector.position)

    @lru_cache(maxsize=SHAPES_MAX)
    def rows_of(columns: Sequence[Column], acting: bool) -> OperationRows:
        return OperationRows(renderer, ports.sparklines, columns, may_act=acting)

    @router.get(PATH)
    async def operations(request: Request, page: Annotated[ListPage, Query()]) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        remembered = request.cookies.get(COOKIE, "")
        if page.columns is None and remembered and re.fullmatch(COLUMNS_PATTERN, remembered):
            # The address says what is shown, so that it can be sent to someone else.
            return RedirectResponse(page.path(cursor=page.cursor, columns=remembered), status_code=307)
        search = parse_search(page.q)
        context: dict[str, Any] = {"place": "operations", "page": page, "search": search}
        context |= {"qualifiers": QUALIFIERS, "all_columns": COLUMNS, "may_act": may_act(request)}
        context |= {
            "columns": columns_of(page.columns),
            "columns_path": COLUMNS_PATH,
            "usual_views": USUAL_VIEWS,
        }
        if search.problems:
            return renderer.page(request, "operations.html", {**context, "live_path": None}, status=422)
        begin = page.path(cursor=page.cursor, after=str(ports.projector.position))
        live_path = begin.replace(PATH, LIVE_PATH, 1)
        found = await read_list(ports, page, search)
        return renderer.page(
            request, "operations.html", {**context, **found, "live_path": live_path, "live": False}
        )

    @router.get(COLUMNS_PATH)
    async def choose_columns(chosen: Annotated[ChosenColumns, Query()]) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        told = None if chosen.usual else told_of(chosen.column)
        answer = RedirectResponse(chosen.path(columns=told), status_code=303)
        if told is None:
            answer.delete_cookie(COOKIE)
        else:
            answer.set_cookie(COOKIE, told, max_age=YEAR_SECONDS, samesite="strict", httponly=True)
        return answer

    @router.get(LIVE_PATH)
    async def live(  # pyright: ignore[reportUnusedFunction] - a route
        request: Request, page: Annotated[LivePage, Query()], last_event_id: LastEventId = None
    ) -> Response:
        search = parse_search(page.q)
        acting = may_act(request)
        columns = columns_of(page.columns)

        async def make() -> Part:
            found = await read_list(ports, page, search)
            context = {"page": page, "search": search, "may_act": acting, "columns": columns, **found}
            return _part(renderer.part("operations_list.html", context), found["operations"])

        address = f"{page.path(cursor=page.cursor)} {acting}"
        after = page.after if last_event_id is None else last_event_id
        rows = rows_of(columns, acting)
        view = OperationsView(address, rows, shared, make, known=after or 0, owed=last_event_id)
        reader = LiveReader(ports.live, ports.fleet, Interest(), ports.clock, after=after, view=view)
        return ports.streams.respond(reader)

    return router


def _part(html: bytes, operations: Sequence[Document]) -> Part:
    waiting = {each["operation_id"]: each["waiting"]["message"] for each in operations if each["waiting"]}
    may_wait = any(each["ended_at"] is None for each in operations)
    return Part(html, frozenset(each["operation_id"] for each in operations), waiting, may_wait)


async def read_list(ports: HttpPorts, page: ListPage, search: Search) -> dict[str, Any]:
    """Return one page of operations and how many there are of each status."""
    order: Order[Any] = order_of(page.sort, descending=page.order is Direction.DESCENDING, cursor=page.cursor)
    wanted = search.query().filter(ports.clock.now())
    found = await ports.queries.list_operations(wanted, order, limit=page.limit)
    counts = await ports.queries.count_operations(wanted)
    if any(column.name == "trend" for column in columns_of(page.columns)):
        await ports.sparklines.refresh(seen_of(each) for each in found.documents)
    return {
        "operations": found.documents,
        "counts": counts,
        "matching": sum(counts[status] for status in page.statuses or counts),
        "next_cursor": cursor_of(order, found.next_position),
        "spark": ports.sparklines.kept,
    }


def seen_of(document: Document) -> Seen:
    """Return which version of an operation a list shows."""
    version = (document["last_event_at"], document["status"], document["unit"])
    return Seen(document["operation_id"], version, document["ended_at"] is not None)
