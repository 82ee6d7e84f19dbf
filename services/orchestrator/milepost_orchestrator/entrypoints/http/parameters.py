"""Parameters that several routes take."""

from typing import Annotated

from fastapi import Header, Query
from milepost_contracts.ids import CommandId

from milepost_orchestrator.application.queries import PAGE_MAX

IdempotencyKey = Annotated[CommandId | None, Header(alias="Idempotency-Key")]
Cursor = Annotated[int | None, Query(ge=0, description="``next_cursor`` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]
