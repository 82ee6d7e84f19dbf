"""What the demonstration found: a table of digests, both equity curves, and the one word that counts."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import cast

import pyarrow.parquet as parquet

from milepost_cli.demo import Comparison, DemoOutcome
from milepost_cli.formatting import format_digest, format_duration, format_summary
from milepost_cli.operation_view import OperationView
from milepost_cli.output import people
from milepost_cli.tables import print_table

CURVE_WIDTH = 60
SUMMARY_SHOWN = ("trades", "final_equity", "sharpe")
_BLOCKS = "▁▂▃▄▅▆▇█"


def outcome_document(outcome: DemoOutcome) -> dict[str, object]:
    """Return the JSON form."""
    return {
        "equal": outcome.equal,
        "undisturbed": outcome.undisturbed.document(),
        "cancelled": outcome.cancelled.document(),
        "resumed": outcome.resumed.document(),
        "files": [
            {"name": item.name, "undisturbed": item.undisturbed, "resumed": item.resumed, "equal": item.equal}
            for item in outcome.files
        ],
        "results": str(outcome.out),
    }


def print_outcome(outcome: DemoOutcome, seconds: float) -> None:
    """Print the table, the curves and whether both runs are equal."""
    console = people()
    console.print()
    print_table(
        ("RUN", "OPERATION", "WORKER", "BARS", "SUMMARY"),
        [_run_row(*row) for row in _runs(outcome)],
        wrap=("SUMMARY",),
    )
    console.print()
    print_table(
        ("FILE", "UNDISTURBED", "CANCELLED AND RESUMED", "EQUAL"), [_file_row(item) for item in outcome.files]
    )
    console.print()
    for label, name in (("undisturbed", "undisturbed"), ("resumed    ", "resumed")):
        curve = equity_curve(outcome.out / name)
        if curve:
            console.print(f"equity, {label}  {sparkline(curve, CURVE_WIDTH)}", soft_wrap=True)
    console.print()
    console.print(
        f"equal: {'yes' if outcome.equal else 'NO'}",
        style="bold green" if outcome.equal else "bold red",
        end="",
    )
    console.print(f"  ({format_duration(seconds)})")


def equity_curve(directory: Path) -> list[float]:
    """Return the equity at each bar, as the results hold it; empty when there is no such file."""
    for path in sorted(directory.glob("equity*.parquet")):
        file = parquet.ParquetFile(path)
        if "equity" in file.schema_arrow.names:
            return cast("list[float]", file.read(columns=["equity"]).column(0).to_pylist())
    return []


def sparkline(values: Sequence[float], width: int) -> str:
    """Return the values as a row of blocks, the mean of each stretch a block high."""
    if not values:
        return ""
    count = min(width, len(values))
    bounds = [index * len(values) // count for index in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(bounds)]
    low, high = min(means), max(means)
    step = (high - low) / (len(_BLOCKS) - 1)
    return "".join(_BLOCKS[round((value - low) / step) if step else 0] for value in means)


def _runs(outcome: DemoOutcome) -> list[tuple[str, OperationView, int]]:
    return [
        ("undisturbed", outcome.undisturbed, 0),
        ("cancelled", outcome.cancelled, 0),
        ("resumed", outcome.resumed, outcome.cancelled.unit),
    ]


def _run_row(label: str, view: OperationView, first: int) -> tuple[str | None, ...]:
    words = format_summary({key: view.summary[key] for key in SUMMARY_SHOWN if key in view.summary})
    return label, view.operation_id, view.worker_id, f"{first:,} to {view.unit:,}", words


def _file_row(item: Comparison) -> tuple[str, ...]:
    shown = (format_digest(item.undisturbed), format_digest(item.resumed))
    return item.name, *shown, "yes" if item.equal else "NO"
