"""Run every benchmark on one embedded stack and print one table a part: ``make bench``.

Figures are for people: nothing here passes or fails. Each part measures Milepost next to a limit of the same
machine (reading and decoding, copying the same bytes, writing the same file) in the same run, so the ratios
can be compared across machines although the figures cannot.
"""

import argparse
import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import TypeAlias

from milepost_runtime.logs import configure_logging
from rich.console import Console
from rich.table import Table

from tests.support.stack import chosen_stack, fresh_tenant

Row: TypeAlias = tuple[str, float, str]
PARTS = {
    "operations": "tests.benchmarks.bench_operations",
    "bus": "tests.benchmarks.bench_bus",
    "projector": "tests.benchmarks.bench_projector",
    "checkpoint": "tests.benchmarks.bench_checkpoint",
    "backtester": "tests.benchmarks.bench_backtester",
}


def main() -> None:
    """Run the chosen parts and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; default: all")
    configure_logging("bench", level=logging.WARNING)
    chosen: list[str] = parser.parse_args().parts or list(PARTS)
    asyncio.run(_run(chosen))


async def _run(chosen: list[str]) -> None:
    console = Console()
    async with chosen_stack() as stack:
        for part in chosen:
            measure: Callable[..., list[Row] | Awaitable[list[Row]]] = import_module(PARTS[part]).measure
            async with fresh_tenant(stack) as tenant:
                with console.status(f"measuring {part}"):
                    rows = measure(tenant) if inspect.signature(measure).parameters else measure()
                    if inspect.isawaitable(rows):
                        rows = await rows
            console.print(_table(part, rows))


def _table(part: str, rows: list[Row]) -> Table:
    table = Table("what", "figure", "unit", title=part, title_justify="left")
    table.columns[1].justify = "right"
    for name, value, unit in rows:
        table.add_row(name, f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}", unit)
    return table


if __name__ == "__main__":
    main()
