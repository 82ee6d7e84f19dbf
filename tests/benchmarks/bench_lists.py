"""Lists and details over HTTP when there are a hundred thousand ended operations and ten thousand that run.

The rows are written by SQL (``tests/orchestrator/read_model_rows.py``), each operation with an attempt and a
checkpoint. One orchestrator in this process, one request after another: the aim is 100 ms at the 95th percentile.
"""

import tempfile
from pathlib import Path

from milepost_infra.endpoints import StackEndpoints
from milepost_runtime.clock import SystemClock
from rich.table import Table
from sqlalchemy import text

from tests.benchmarks.bench_operations import _p50, _p95
from tests.orchestrator.read_model_rows import write_rows
from tests.orchestrator.running import Running, run_orchestrator

FINISHED = 100_000
RUNNING = 10_000
ROUNDS = 40
_STATES = """
UPDATE operations SET
    status = CASE WHEN requested_sequence >= :finished THEN 'running'
                  WHEN status IN ('queued', 'running') THEN 'completed' ELSE status END,
    started_at = COALESCE(started_at, requested_at),
    ended_at = CASE WHEN requested_sequence < :finished THEN COALESCE(ended_at, requested_at) END
"""
REQUESTS = {
    "operations, newest": "/operations",
    "operations, with counts": "/operations?counts=true",
    "operations, running": "/operations?status=running",
    "operations, failed of a kind": "/operations?status=failed&kind=training",
    "operations, by end, oldest first": "/operations?sort=ended&order=asc",
    "operations, part of a name": "/operations?name=nightly%2010{n}",
    "operations, a word that no name has": "/operations?name=nowhere",
    "operations, of a worker": "/operations?worker_id=w-1&sort=started",
    "operations, part of a reason": "/operations?reason=boom%2010{n}",
    "operations, a word that no reason has": "/operations?reason=nothing",
    "operations, of a queue that is empty": "/operations?queue=nowhere",
    "operations, by name, from the middle": "/operations?sort=name&order=asc&name=nightly%205",
    "operations, ended in an hour": "/operations?ended_since=2026-11-23T05:00Z&ended_before=2026-11-23T06:00Z",
    "operations, beginning of an id": "/operations?id_begins=op-000{n}",
    "checkpoints, newest": "/checkpoints",
    "checkpoints, largest of a reason": "/checkpoints?sort=size&reason=manual",
    "checkpoints, of a worker": "/checkpoints?worker_id=w-1",
    "checkpoints, of a word that no name has": "/checkpoints?name=nowhere",
    "checkpoints, refused": "/checkpoints?status=refused",
    "checkpoints, of a lineage": "/checkpoints?root_id=op-000{n}0",
    "one operation": "/operations/op-000{n}1",
    "one operation's lineage": "/operations/op-000{n}1/lineage",
    "one checkpoint": "/checkpoints/cp-000{n}1",
}


async def measure(tenant: StackEndpoints) -> list[Table]:
    """Return a table with a row for each request."""
    with tempfile.TemporaryDirectory() as directory:
        async with run_orchestrator(tenant, Path(directory)) as running:
            await _fill(running)
            table = Table("request", "p50 ms", "p95 ms", title="lists", title_justify="left")
            for words, path in REQUESTS.items():
                seconds = await _seconds(running, path)
                table.add_row(words, f"{_p50(seconds) * 1000:.1f}", f"{_p95(seconds) * 1000:.1f}")
    return [table]


async def _fill(running: Running) -> None:
    async with running.orchestrator.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        for first in range(0, FINISHED + RUNNING, RUNNING):
            await write_rows(connection, operations=first + RUNNING, first=first)
        await connection.execute(text(_STATES), {"finished": FINISHED})
        await connection.execute(text("VACUUM ANALYZE"))


async def _seconds(running: Running, path: str) -> list[float]:
    clock = SystemClock()
    found: list[float] = []
    for number in range(ROUNDS):
        begun = clock.monotonic_seconds()
        answer = await running.http.get(path.format(n=f"{1_000 + number * 97:04}"))
        found.append(clock.monotonic_seconds() - begun)
        assert answer.status_code == 200, (path, answer.text)
    return found
