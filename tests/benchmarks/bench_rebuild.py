"""Logs of growing size into read models: events a second, and the memory of the process that does it.

Each size is a log of its own (``tests/support/generated_log.py``), ten ended operations for each one that runs.
Time must grow as the number of events does, and memory not at all once the state cache is full. Ten million events
are only rebuilt, not projected before and compared: they take some ten minutes and as many GB of disk, which are
free again at the end. ``python -m tests.benchmarks.run rebuild --large``.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from milepost_infra.endpoints import StackEndpoints
from milepost_runtime.clock import SystemClock
from rich.table import Table

from tests.support.generated_log import LogPlan, write_log
from tests.support.stack import fresh_tenant

PLANS = (LogPlan(1_000, 100, 85), LogPlan(3_000, 300, 85), LogPlan(10_000, 1_000, 85))
LARGE = (LogPlan(30_000, 3_000, 85), LogPlan(100_000, 10_000, 85))
PROJECTED_EVENTS_MAX = 5_000_000


async def measure(tenant: StackEndpoints, large: bool, say: Callable[[str], None]) -> list[Table]:
    """Return a table with a row for each size."""
    clock = SystemClock()
    columns = ("operations", "events", "written /s", "projected /s", "rebuilt /s")
    memory = ("compared in s", "memory MB", "of it idle")
    table = Table(*columns, *memory, title="rebuild", title_justify="left")
    for plan in (*PLANS, *LARGE) if large else PLANS:
        async with fresh_tenant(tenant) as own:
            say(f"writing {plan.events:,} events")
            begun = clock.monotonic_seconds()
            await write_log(own.bus, plan)
            written = clock.monotonic_seconds() - begun
            projected = None
            if plan.events <= PROJECTED_EVENTS_MAX:
                say(f"projecting {plan.events:,} events")
                projected = await _fold(own, "project")
            say(f"rebuilding from {plan.events:,} events")
            rebuilt = await _fold(own, "rebuild" if projected else "fill")
        table.add_row(*_cells(plan, written, projected, rebuilt))
    for column in table.columns:
        column.justify = "right"
    return [table]


def _cells(
    plan: LogPlan, written_seconds: float, projected: dict[str, Any] | None, rebuilt: dict[str, Any]
) -> list[str]:
    filled = rebuilt["filled_seconds"]
    return [
        f"{plan.operations:,}",
        f"{plan.events:,}",
        f"{plan.events / written_seconds:,.0f}",
        f"{plan.events / projected['seconds']:,.0f}" if projected else "",
        f"{plan.events / filled:,.0f}",
        f"{rebuilt['seconds'] - filled:.1f}" if projected else "",
        ", ".join(f"{each['peak_bytes'] / 1e6:.0f}" for each in (projected, rebuilt) if each),
        f"{rebuilt['idle_bytes'] / 1e6:.0f}",
    ]


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
