"""The address of a list of operations: every state of the page is one."""

from typing import Annotated
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field

from milepost_orchestrator.application.filters import OperationSort
from milepost_orchestrator.application.queries import PAGE_MAX
from milepost_orchestrator.entrypoints.dashboard.navigation import PREFIX
from milepost_orchestrator.entrypoints.dashboard.search import (
    SEARCH_CHARACTERS_MAX,
    parse_search,
    toggled,
    without,
    without_each,
)
from milepost_orchestrator.entrypoints.http.paging import CURSOR_CHARACTERS_MAX
from milepost_orchestrator.entrypoints.http.parameters import Direction
from milepost_orchestrator.entrypoints.http.streams import SEQUENCE_MAX

PATH = f"{PREFIX}/operations"
LIVE_PATH = f"{PATH}/live"
COLUMNS_PATH = f"{PATH}/columns"
ROWS_DEFAULT = 50
COLUMNS_PATTERN = r"^[a-z.]{0,200}$"
_UNSPOKEN = {"q": "", "sort": "requested", "order": "desc", "limit": ROWS_DEFAULT}
"""What an address does not say."""


class ListPage(BaseModel):
    """What the address of a list says."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)
    q: str = Field(default="", max_length=SEARCH_CHARACTERS_MAX, pattern=r"^[^\x00]*$")
    """The search."""
    sort: OperationSort = OperationSort.REQUESTED
    order: Direction = Direction.DESCENDING
    cursor: Annotated[str, Field(max_length=CURSOR_CHARACTERS_MAX)] | None = None
    limit: int = Field(default=ROWS_DEFAULT, ge=1, le=PAGE_MAX)
    columns: Annotated[str, Field(pattern=COLUMNS_PATTERN)] | None = None
    """Names of columns; those that are remembered, else the usual ones, when absent."""

    def path(self, **other: str | None) -> str:
        """Return the address with something changed; a page other than the first only when asked for."""
        values = {
            "q": self.q,
            "sort": self.sort.value,
            "order": self.order.value,
            "limit": self.limit,
            "columns": self.columns,
            **other,
        }
        told = {key: value for key, value in values.items() if value not in (None, _UNSPOKEN.get(key))}
        return f"{PATH}?{urlencode(told)}" if told else PATH

    def sorted_path(self, sort: str) -> str:
        """Return the address sorted by a column, the other way round when it is already."""
        other_way = self.sort == sort and self.order is Direction.DESCENDING
        return self.path(sort=sort, order="asc" if other_way else "desc")

    def status_search(self, status: str) -> str:
        """Return the search with a status added, or taken away."""
        return toggled(self.q, "status", status)

    @property
    def wider(self) -> list[tuple[str, str]]:
        """Each word of the search, and the address without it."""
        return [(word, self.path(q=rest)) for word, rest in without_each(self.q)]

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


class ChosenColumns(ListPage):
    """What the form of the columns sends."""

    column: list[str] = Field(default=[], max_length=50)
    usual: bool = False
    """The usual ones again."""
