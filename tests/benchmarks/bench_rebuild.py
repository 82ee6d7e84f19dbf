"""Logs of growing size into read models: events a second, and the memory of the process that does it.

Each size is a log of its own (``tests/support/generated_log.py``), ten ended operations for each one that runs.
Time must grow as the number of events does, and memory not at all once the state cache is full. Ten million events
take a while: ``python -m tests.benchmarks.run rebuild --large``.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from milepost_infra.endpoints import StackEndpoints
from milepost_runtime.bus.connection import connect
from milepost_runtime.bus.topology import ensure_topology
from rich.table import Table

from tests.support.generated_log import LogPlan, write_log
from tests.support.stack import fresh_tenant

PLANS = (LogPlan(1_000, 100, 85), LogPlan(3_000, 300, 85), LogPlan(10_000, 1_000, 85))
LARGE = LogPlan(100_000, 10_000, 85)


async def measure(tenant: StackEndpoints, large: bool, say: Callable[[str], None]) -> list[Table]:
    """Return a table with a row for each size."""
    table = Table("operations", "events", "projected /s", "rebuilt /s", "compared in s", "memory MB", "of it idle",
                  title="rebuild", title_justify="left")  # fmt: skip
    for plan in (*PLANS, LARGE) if large else PLANS:
        async with fresh_tenant(tenant) as own:
            say(f"writing {plan.events:,} events")
            await _write(own, plan)
            say(f"projecting {plan.events:,} events")
            projected = await _fold(own, "project")
            say(f"rebuilding from {plan.events:,} events")
            rebuilt = await _fold(own, "rebuild")
        table.add_row(*_cells(plan, projected, rebuilt))
    for column in table.columns:
        column.justify = "right"
    return [table]


def _cells(plan: LogPlan, projected: dict[str, Any], rebuilt: dict[str, Any]) -> list[str]:
    filled = rebuilt["filled_seconds"]
    return [
        f"{plan.operations:,}",
        f"{plan.events:,}",
        f"{plan.events / projected['seconds']:,.0f}",
        f"{plan.events / filled:,.0f}",
        f"{rebuilt['seconds'] - filled:.1f}",
        f"{projected['peak_bytes'] / 1e6:.0f}, {rebuilt['peak_bytes'] / 1e6:.0f}",
        f"{rebuilt['idle_bytes'] / 1e6:.0f}",
    ]


async def _write(tenant: StackEndpoints, plan: LogPlan) -> None:
    connection = await connect(tenant.bus, name="benchmark")
    try:
        await ensure_topology(connection, tenant.bus)
        await write_log(connection, tenant.bus, plan)
    finally:
        await connection.close()


async def _fold(tenant: StackEndpoints, what: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.fold_log", what,
        env={**os.environ, **tenant.environment()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    told, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"fold_log {what} ended with {process.returncode}")
    return json.loads(told.splitlines()[-1])
