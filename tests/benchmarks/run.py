"""Run every benchmark on one embedded stack and print one table a part: ``make bench``.

Figures are for people: nothing here passes or fails. Each part measures Milepost next to a limit of the same
machine (reading and decoding, copying the same bytes, writing the same file) in the same run, so the ratios
can be compared across machines although the figures cannot. How they are measured: docs/benchmarks.md.

A part is a module with ``measure``, which returns rows or whole tables. Of the tenant's endpoints (its first
argument, whatever the name), ``quick``, ``large``, ``directory`` and ``say`` it takes what it needs.
"""

import argparse
import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

from milepost_runtime.logs import configure_logging
from rich.console import Console
from rich.table import Table

from tests.support.stack import chosen_stack, fresh_tenant

Row: TypeAlias = tuple[str, float, str]
Found: TypeAlias = list[Row] | list[Table]
PARTS = {
    "operations": "tests.benchmarks.bench_operations",
    "bus": "tests.benchmarks.bench_bus",
    "projector": "tests.benchmarks.bench_projector",
    "latency": "tests.benchmarks.bench_latency",
    "lists": "tests.benchmarks.bench_lists",
    "rebuild": "tests.benchmarks.bench_rebuild",
    "archive": "tests.benchmarks.bench_archive",
    "dashboard": "tests.benchmarks.bench_dashboard",
    "scrub": "tests.benchmarks.bench_scrub",
    "checkpoint": "tests.benchmarks.bench_checkpoint",
    "checkpoint_peers": "tests.benchmarks.bench_checkpoint_peers",
    "backtester": "tests.benchmarks.bench_backtester",
    "backtest_stops": "tests.benchmarks.bench_backtest_stops",
    "backtest_peers": "tests.benchmarks.bench_backtest_peers",
    "sweep": "tests.benchmarks.bench_sweep",
    "trainer_speed": "tests.benchmarks.bench_trainer_speed",
}


def main() -> None:
    """Run the chosen parts and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, in the parts that know how")
    parser.add_argument("--large", action="store_true", help="also sizes that take minutes, in some parts")
    parser.add_argument(
        "--directory", type=Path, help="where large files are written, instead of the temporary one"
    )
    configure_logging("bench", level=logging.WARNING)
    chosen = parser.parse_args()
    options = {"quick": chosen.quick, "large": chosen.large, "directory": chosen.directory}
    asyncio.run(_run(chosen.parts or list(PARTS), options))


async def _run(parts: list[str], options: dict[str, Any]) -> None:
    console = Console()
    async with chosen_stack() as stack:
        for part in parts:
            measure: Callable[..., Found | Awaitable[Found]] = import_module(PARTS[part]).measure
            async with fresh_tenant(stack) as tenant:
                with console.status(f"measuring {part}") as status:
                    options["say"] = lambda text, status=status, part=part: status.update(f"{part}: {text}")
                    found = _call(measure, tenant, options)
                    if inspect.isawaitable(found):
                        found = await found
            console.print(*([_table(part, found)] if isinstance(found[0], tuple) else found), sep="\n")


def _call(
    measure: Callable[..., Found | Awaitable[Found]], tenant: object, options: dict[str, Any]
) -> Found | Awaitable[Found]:
    wanted = inspect.signature(measure).parameters
    given = {name: options[name] for name in wanted.keys() & options.keys()}
    return measure(*[tenant] * (len(wanted) - len(given)), **given)


def _table(part: str, rows: list[Row]) -> Table:
    table = Table("what", "figure", "unit", title=part, title_justify="left")
    table.columns[1].justify = "right"
    for name, value, unit in rows:
        table.add_row(name, f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}", unit)
    return table


if __name__ == "__main__":
    main()
