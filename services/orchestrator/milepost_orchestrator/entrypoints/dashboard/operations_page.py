"""The list of operations: counts by status as filters, a search, sorted columns, pages, and rows that are live."""

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from milepost_orchestrator.application.filters import OperationSort
from milepost_orchestrator.application.live_reader import Interest, LiveReader
from milepost_orchestrator.application.queries import PAGE_MAX
from milepost_orchestrator.entrypoints.dashboard.navigation import PREFIX
from milepost_orchestrator.entrypoints.dashboard.operations_live import OperationRows, OperationsView
from milepost_orchestrator.entrypoints.dashboard.rendering import Renderer
from milepost_orchestrator.entrypoints.dashboard.search import (
    QUALIFIERS,
    SEARCH_CHARACTERS_MAX,
    Search,
    parse_search,
    toggled,
    without,
)
from milepost_orchestrator.entrypoints.dashboard.shared_parts import Part, SharedParts
from milepost_orchestrator.entrypoints.http.authorization import may_act
from milepost_orchestrator.entrypoints.http.paging import CURSOR_CHARACTERS_MAX, cursor_of, order_of
from milepost_orchestrator.entrypoints.http.parameters import Direction
from milepost_orchestrator.entrypoints.http.ports import HttpPorts
from milepost_orchestrator.entrypoints.http.streams import SEQUENCE_MAX, LastEventId

PATH = f"{PREFIX}/operations"
LIVE_PATH = f"{PATH}/live"
ROWS_DEFAULT = 50
_UNSPOKEN = {"q": "", "sort": "requested", "order": "desc", "limit": ROWS_DEFAULT}
"""What an address does not say."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the list."""

    title: str
    css: str
    sort: str | None = None


COLUMNS = (
    Column("Status", "col-status", "status"),
    Column("Operation", "col-name", "name"),
    Column("Progress", "col-progress"),
    Column("Rate", "col-rate number"),
    Column("Time left", "col-left number"),
    Column("Worker", "col-worker"),
    Column("Requested", "col-requested col-time number", "requested"),
    Column("Ended", "col-ended col-time number", "ended"),
)


class ListPage(BaseModel):
    """What the address of a list says; every state of it is an address."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)
    q: str = Field(default="", max_length=SEARCH_CHARACTERS_MAX, pattern=r"^[^\x00]*$")
    """The search."""
    sort: OperationSort = OperationSort.REQUESTED
    order: Direction = Direction.DESCENDING
    cursor: Annotated[str, Field(max_length=CURSOR_CHARACTERS_MAX)] | None = None
    limit: int = Field(default=ROWS_DEFAULT, ge=1, le=PAGE_MAX)

    def path(self, **other: str | None) -> str:
        """Return the address with something changed; a page other than the first only when asked for."""
        values = {
            "q": self.q,
            "sort": self.sort.value,
            "order": self.order.value,
            "limit": self.limit,
            **other,
        }
        told = {key: value for key, value in values.items() if value != _UNSPOKEN.get(key)}
        return f"{PATH}?{urlencode(told)}" if told else PATH

    def sorted_path(self, sort: str) -> str:
        """Return the address sorted by a column, the other way round when it is already."""
        other_way = self.sort == sort and self.order is Direction.DESCENDING
        return self.path(sort=sort, order="asc" if other_way else "desc")

    def status_search(self, status: str) -> str:
        """Return the search with a status added, or taken away."""
        return toggled(self.q, "status", status)

    @property
    def all_search(self) -> str:
        """The search without a status."""
        return without(self.q, "status")

    @property
    def statuses(self) -> frozenset[str]:
        """The statuses that are looked for."""
        return frozenset(parse_search(self.q).values.get("status", ()))


class LivePage(ListPage):
    """The address of a list's event stream."""

    after: int | None = Field(default=None, ge=0, le=SEQUENCE_MAX)
    """The sequence that the page was made of."""


def operations_page(ports: HttpPorts, renderer: Renderer) -> APIRouter:
    """Return the routes of the list and of its changes."""
    router = APIRouter()
    rows = {acting: OperationRows(renderer, may_act=acting) for acting in (False, True)}
    shared = SharedParts(ports.clock, lambda: ports.projector.position)

    @router.get(PATH)
    async def operations(request: Request, page: Annotated[ListPage, Query()]) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        search = parse_search(page.q)
        context: dict[str, Any] = {"place": "operations", "page": page, "search": search}
        context |= {"qualifiers": QUALIFIERS, "may_act": may_act(request)}
        if search.problems:
            return renderer.page(request, "operations.html", {**context, "live_path": None}, status=422)
        begin = page.path(cursor=page.cursor, after=str(ports.projector.position))
        live_path = begin.replace(PATH, LIVE_PATH, 1)
        found = await read_list(ports, page, search)
        return renderer.page(
            request, "operations.html", {**context, **found, "live_path": live_path, "live": False}
        )

    @router.get(LIVE_PATH)
    async def live(  # pyright: ignore[reportUnusedFunction] - a route
        request: Request, page: Annotated[LivePage, Query()], last_event_id: LastEventId = None
    ) -> Response:
        search = parse_search(page.q)
        acting = may_act(request)

        async def make() -> Part:
            found = await read_list(ports, page, search)
            context = {"page": page, "search": search, "may_act": acting, **found}
            html = renderer.part("operations_list.html", context)
            return Part(html, frozenset(each["operation_id"] for each in found["operations"]))

        view = OperationsView(f"{page.path(cursor=page.cursor)} {acting}", rows[acting], shared, make)
        after = page.after if last_event_id is None else last_event_id
        reader = LiveReader(ports.live, ports.fleet, Interest(), ports.clock, after=after, view=view)
        return ports.streams.respond(reader)

    return router


async def read_list(ports: HttpPorts, page: ListPage, search: Search) -> dict[str, Any]:
    """Return one page of operations and how many there are of each status."""
    order = order_of(page.sort, descending=page.order is Direction.DESCENDING, cursor=page.cursor)
    wanted = search.query().filter(ports.clock.now())
    found = await ports.queries.list_operations(wanted, order, limit=page.limit)
    counts = await ports.queries.count_operations(wanted)
    return {
        "operations": found.documents,
        "counts": counts,
        "matching": sum(counts[status] for status in page.statuses or counts),
        "next_cursor": cursor_of(order, found.next_position),
        "columns": COLUMNS,
    }
