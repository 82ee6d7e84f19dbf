"""Lists of operations and checkpoints: filters, orders, pages that keep their place, and indexes for all of it."""

import base64
import itertools
import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest
from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.adapters.checkpoint_lists import checkpoints_query
from milepost_orchestrator.adapters.database import create_engine, migrate
from milepost_orchestrator.adapters.operation_lists import operation_counts_query, operations_query
from milepost_orchestrator.application.filters import (
    CheckpointFilter,
    CheckpointSort,
    OperationFilter,
    OperationSort,
    Order,
    Position,
    TimeRange,
)
from sqlalchemy import text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.orchestrator.read_model_rows import write_rows
from tests.orchestrator.running import Running, settings_of
from tests.orchestrator.stories import EPOCH

pytestmark = pytest.mark.integration
STATUSES = ("completed", "failed", "cancelled", "queued", "running")


@pytest.fixture
async def listed(running: Running) -> Running:
    """A hundred operations in the read models: number n was requested n seconds after ``EPOCH``."""
    await running.projected()
    async with running.orchestrator.engine.begin() as connection:
        await write_rows(connection, operations=100)
    return running


async def ids(running: Running, path: str = "/operations", **parameters: object) -> list[str]:
    """The ids of a whole list, page by page of seventeen."""
    key = path[1:]
    found: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(50):
        response = await running.http.get(path, params={"limit": 17, **parameters, **cursor})
        page = response.json()
        assert response.status_code == 200, page
        found += [each[f"{key[:-1]}_id"] for each in page[key]]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}
    raise AssertionError("the pages do not end")


def names(*numbers: int) -> list[str]:
    return [f"op-{number:08}" for number in numbers]


def at(seconds: int) -> str:
    return (EPOCH + timedelta(seconds=seconds)).isoformat()


# Number n: status n % 5, kind of n % 2, worker n % 4, name "Nightly n", parent n - 1 and root n // 10 * 10.
OPERATION_CASES = [
    ({"status": "failed"}, [n for n in range(99, -1, -1) if n % 5 == 1]),
    ({"status": ["failed", "running"]}, [n for n in range(99, -1, -1) if n % 5 in (1, 4)]),
    ({"kind": ["backtest"], "status": "completed"}, [n for n in range(99, -1, -1) if n % 10 == 0]),
    ({"worker_id": ["w-1", "w-3"]}, [n for n in range(99, -1, -1) if n % 2 == 1]),
    ({"name": "NIGHTLY 9"}, [*range(99, 89, -1), 9]),
    ({"name": "100%"}, []),
    ({"name": "_ightly"}, []),
    ({"reason": "Boom 1"}, [16, 11, 1]),
    ({"id_begins": "op-0000009"}, list(range(99, 89, -1))),
    ({"parent_id": "op-00000041"}, [42]),
    ({"root_id": "op-00000040"}, list(range(49, 39, -1))),
    ({"requested_since": at(10), "requested_before": at(13)}, [12, 11, 10]),
    ({"ended_before": at(1008)}, [7, 6, 5, 2, 1, 0]),
    ({"age_seconds_max": 60}, []),
]


async def test_operations_are_filtered(listed: Running) -> None:
    """Each filter leaves exactly what it says, over all pages, with counts by status that agree."""
    for parameters, expected in OPERATION_CASES:
        assert await ids(listed, **parameters) == names(*expected), parameters
        response = await listed.http.get("/operations", params={**parameters, "counts": True})
        counts = response.json()["counts"]
        wanted = parameters.get("status", list(counts))
        statuses = [wanted] if isinstance(wanted, str) else wanted
        assert sum(counts[status] for status in statuses) == len(expected), parameters


async def test_lists_are_sorted_and_paged(listed: Running) -> None:
    """Each order is total: everything once over all pages, in the order of Python's own sort."""
    keys = {
        OperationSort.REQUESTED: lambda n: 0,
        OperationSort.STARTED: lambda n: -1 if n % 5 == 3 else n // 3,
        OperationSort.ENDED: lambda n: n if n % 5 in (0, 1, 2) else -1,
        OperationSort.NAME: lambda n: f"nightly {n}",
        OperationSort.KIND: lambda n: ("backtest", "training")[n % 2],
        OperationSort.STATUS: lambda n: STATUSES[n % 5],
        CheckpointSort.SAVED: lambda n: 0,
        CheckpointSort.SIZE: lambda n: n * 37 % 50,
        CheckpointSort.UNIT: lambda n: n // 4,
    }
    assert set(keys) == {*OperationSort, *CheckpointSort}
    for (sort, key), direction in itertools.product(keys.items(), ("asc", "desc")):
        expected = sorted(range(100), key=lambda n, key=key: (key(n), n), reverse=direction == "desc")
        path = "/operations" if isinstance(sort, OperationSort) else "/checkpoints"
        found = await ids(listed, path, sort=sort.value, order=direction)
        assert [int(each[3:]) for each in found] == expected, (sort, direction)


async def test_a_word_in_the_order_of_names(listed: Running) -> None:
    """Every name with it once over all pages, in both directions; also beside another filter."""
    in_order = sorted(range(100), key=lambda number: f"nightly {number}")
    assert await ids(listed, name="NIGHTLY", sort="name", order="asc") == names(*in_order)
    assert await ids(listed, name="nightly", sort="name") == names(*in_order[::-1])
    assert await ids(listed, name="y 7", sort="name", order="asc") == names(7, *range(70, 80))
    failed = [number for number in (7, *range(70, 80)) if STATUSES[number % 5] == "failed"]
    assert await ids(listed, name="y 7", sort="name", order="asc", status="failed") == names(*failed)


async def test_checkpoints_are_filtered(listed: Running) -> None:
    """By lineage, reasons, worker, part of the operation's name, age and time."""

    async def found(**parameters: object) -> list[int]:
        return [int(each[3:]) for each in await ids(listed, "/checkpoints", **parameters)]

    assert await found(root_id="op-00000040") == list(range(49, 39, -1))
    assert await found(reason=["failure", "manual"]) == [n for n in range(99, -1, -1) if n % 3 in (1, 2)]
    assert await found(worker_id="w-2", saved_before=at(12)) == [10, 6, 2]
    assert await found(name="nightly 7") == [*range(79, 69, -1), 7]
    assert await found(id_begins="cp-0000001", saved_since=at(15)) == [19, 18, 17, 16, 15]
    assert await found(status="refused") == []
    assert await found(age_seconds_min=1) == list(range(99, -1, -1))


async def test_pages_keep_their_place(listed: Running) -> None:
    """What is added, and what changes its status, between two pages is neither shown twice nor hides another."""
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for number in itertools.count(100):
        page = (await listed.http.get("/operations", params={"sort": "ended", "limit": 9, **cursor})).json()
        seen += [each["operation_id"] for each in page["operations"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
        async with listed.orchestrator.engine.begin() as connection:
            await write_rows(connection, operations=number + 1, first=number)
            await connection.execute(
                text("UPDATE operations SET status = 'failed', unit = 1 WHERE operation_id = :id"),
                {"id": seen[0]},
            )
    assert len(seen) == len(set(seen))
    assert set(names(*range(100))) <= set(seen)


FORGED = [
    b"",
    b"7",
    b"[]",
    b"\xff",
    json.dumps(["started", True, "yesterday", 3]).encode(),
    json.dumps(["started", True, "2026-13-45 00:00:00+00", 3]).encode(),
    json.dumps(["started", True, None, 3]).encode(),
    json.dumps(["started", True, "-infinity", 2**63]).encode(),
    json.dumps(["name", True, "nightly", 3]).encode(),
    json.dumps(["started", False, "-infinity", 3]).encode(),
]


async def test_a_cursor_of_something_else_is_refused(running: Running) -> None:
    """Damaged, forged or of another order: a problem document that names the cursor, never a fault of ours."""
    for content in FORGED:
        cursor = base64.urlsafe_b64encode(content).decode()
        response = await running.http.get("/operations", params={"sort": "started", "cursor": cursor or "="})
        assert response.status_code == 422, content
        assert [problem["field"] for problem in response.json()["problems"]] == ["cursor"]


# --- indexes --------------------------------------------------------------------------------------

MANY = 30_000
MIDDLE = {
    OperationSort.REQUESTED: Position(15_000, 15_000),
    OperationSort.STARTED: Position((EPOCH + timedelta(seconds=3000)).isoformat(), 15_000),
    OperationSort.ENDED: Position((EPOCH + timedelta(seconds=3000)).isoformat(), 15_000),
    OperationSort.NAME: Position("nightly 5", 15_000),
    OperationSort.KIND: Position("training", 15_000),
    OperationSort.STATUS: Position("failed", 15_000),
    CheckpointSort.SAVED: Position(15_000, 15_000),
    CheckpointSort.SIZE: Position(25, 15_000),
    CheckpointSort.UNIT: Position(3000, 15_000),
}
OPERATION_FILTERS = {
    "operation_ids": (OperationFilter(operation_ids=("op-00000040", "op-00000041")), "operations_pkey"),
    "statuses": (OperationFilter(statuses=("failed",)), "operations_status|operations_newest"),
    "kinds": (OperationFilter(kinds=("nothing",)), "operations_kind"),
    "queues": (OperationFilter(queues=("nowhere",)), "operations_queue"),
    "worker_ids": (OperationFilter(worker_ids=("w-nobody",)), "operations_worker"),
    "id_begins": (OperationFilter(id_begins="op-0000123"), "operations_id_begins"),
    "parent_id": (OperationFilter(parent_id="op-00000040"), "operations_parent"),
    "root_id": (OperationFilter(root_id="op-00000040"), "operations_root"),
    "name": (OperationFilter(name="no such name"), "operations_named"),
    "reason": (OperationFilter(reason="no such reason"), "operations_reasons"),
    "requested": (
        OperationFilter(requested=TimeRange(before=EPOCH + timedelta(seconds=9))),
        "operations_requested_at",
    ),
    "started": (OperationFilter(started=TimeRange(before=EPOCH)), "operations_started_at"),
    "ended": (
        OperationFilter(ended=TimeRange(before=EPOCH + timedelta(seconds=1009))),
        "operations_ended_at",
    ),
}
CHECKPOINT_FILTERS = {
    "operations": (
        CheckpointFilter(operations=OperationFilter(worker_ids=("w-nobody",))),
        "operations_worker",
    ),
    "operation_id": (CheckpointFilter(operation_id="op-00000040"), "checkpoints_operation|checkpoints_pkey"),
    "root_id": (CheckpointFilter(root_id="op-00000040"), "operations_root"),
    "kinds": (CheckpointFilter(kinds=("nothing",)), "checkpoints_kind"),
    "reasons": (CheckpointFilter(reasons=("shutdown",)), "checkpoints_reason"),
    "statuses": (CheckpointFilter(statuses=("refused",)), "checkpoints_status"),
    "worker_ids": (CheckpointFilter(worker_ids=("w-nobody",)), "attempts_worker"),
    "id_begins": (CheckpointFilter(id_begins="cp-0000123"), "checkpoints_id_begins"),
    "name": (CheckpointFilter(name="no such name"), "operations_named"),
    "saved": (
        CheckpointFilter(saved=TimeRange(before=EPOCH + timedelta(seconds=9))),
        "checkpoints_saved_at",
    ),
}


async def test_lists_read_an_index_and_not_the_table(tenant: StackEndpoints) -> None:
    """EXPLAIN of every order from the middle, of every filter in every order: an index, never the whole."""
    settings = settings_of(tenant).database
    engine = create_engine(settings)
    try:
        await migrate(engine, settings)
        async with engine.begin() as connection:
            await write_rows(connection, operations=MANY)
        async with engine.connect() as connection:
            await (await connection.execution_options(isolation_level="AUTOCOMMIT")).execute(
                text("VACUUM ANALYZE operations, checkpoints, attempts")
            )
            for sort, descending in itertools.product(OperationSort, (True, False)):
                order = Order(sort, descending, MIDDLE[sort])
                plan = await explain(connection, operations_query(OperationFilter(), order, limit=51))
                assert_indexed(plan, "operations_", sort)
            for sort, descending in itertools.product(CheckpointSort, (True, False)):
                order = Order(sort, descending, MIDDLE[sort])
                plan = await explain(connection, checkpoints_query(CheckpointFilter(), order, limit=51))
                assert_indexed(plan, "checkpoints_", sort)
            for name, (wanted, indexes) in OPERATION_FILTERS.items():
                for order in (Order(sort) for sort in OperationSort):
                    plan = await explain(connection, operations_query(wanted, order, limit=51))
                    assert_filtered(plan, indexes, (name, order.sort))
            for name, (wanted, indexes) in CHECKPOINT_FILTERS.items():
                for order in (Order(sort) for sort in CheckpointSort):
                    plan = await explain(connection, checkpoints_query(wanted, order, limit=51))
                    assert_filtered(plan, indexes, (name, order.sort))
            named = Order(OperationSort.NAME, False, MIDDLE[OperationSort.NAME])
            plan = await explain(
                connection, operations_query(OperationFilter(name="nightly"), named, limit=51)
            )
            assert "Index Only Scan using operations_named" in plan, plan
            assert "Seq Scan" not in plan, plan
            plan = await explain(connection, operation_counts_query(OperationFilter(kinds=("backtest",))))
            assert "Index Only Scan using operations_kind_status" in plan, plan
    finally:
        await engine.dispose()


async def explain(connection: AsyncConnection, query: object) -> str:
    compiled = query.compile(dialect=postgresql.asyncpg.dialect(), compile_kwargs={"literal_binds": True})
    found = await connection.execute(text("EXPLAIN " + str(compiled).replace(":", "\\:").replace("%%", "%")))
    return "\n".join(found.scalars())


def assert_filtered(plan: str, indexes: str, asked: object) -> None:
    """The filter's own index serves the filter, or the order's index the order; a table is never read through."""
    assert "Seq Scan" not in plan, (asked, plan)
    in_order = "Sort" not in plan and "using operations_" in plan
    assert in_order or any(index in plan for index in indexes.split("|")), (asked, plan)


def test_every_filter_is_explained() -> None:
    """No filter of a list can be added without saying which index answers it."""
    assert OPERATION_FILTERS.keys() == {field.name for field in fields(OperationFilter)}
    assert CHECKPOINT_FILTERS.keys() == {field.name for field in fields(CheckpointFilter)}


def assert_indexed(plan: str, prefix: str, sort: object) -> None:
    assert "Sort" not in plan, (sort, plan)
    assert "Seq Scan" not in plan, (sort, plan)
    assert f"using {prefix}" in plan, (sort, plan)
    assert "Index Cond" in plan, (sort, plan)


def test_epoch_is_in_the_past() -> None:
    """The ages above are those of rows that were requested before this test runs."""
    assert datetime.now(UTC) > EPOCH + timedelta(minutes=5)
