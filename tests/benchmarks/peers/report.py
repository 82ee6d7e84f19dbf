"""The figures as tables, with ratios to what the machine allows."""

from collections.abc import Mapping
from statistics import median

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tests.benchmarks.peers.limits import Limits
from tests.benchmarks.peers.measuring import STEPS_BETWEEN_SAVES, Samples, percentile_95
from tests.benchmarks.peers.workload import Size

MEGABYTE = 1e6


def limits_table(size: Size, limits: list[Limits]) -> Table:
    """Return what the machine allows for the state's bytes."""
    table = _table(f"{size.name} parameters: the machine", ("median ms", "best ms"))
    rows = {
        "copy in memory": [one.copy for one in limits],
        "copy into fresh memory": [one.copy_fresh for one in limits],
        "write, buffered + fsync": [one.write_buffered for one in limits],
        "write, O_DIRECT + fsync": [one.write_direct for one in limits],
        "read, buffered, cold": [one.read_cold for one in limits],
        "read, O_DIRECT": [one.read_direct for one in limits],
        "read, buffered, warm": [one.read_warm for one in limits],
        "SHA-256 in memory": [one.digest for one in limits],
    }
    for name, values in rows.items():
        known = [value for value in values if value is not None]
        if known:
            table.add_row(name, _milliseconds(median(known)), _milliseconds(min(known)))
    return table


def cost_table(size: Size, limits: list[Limits], contenders: Mapping[str, Samples]) -> Table:
    """Return what saving costs the training, one row for each contender."""
    table = _table(
        _title(size, contenders),
        ("stall ms", "p95", "of copy", "cost ms", f"% every {STEPS_BETWEEN_SAVES} steps"),
    )
    copy_seconds = median([one.copy for one in limits])
    for name, found in contenders.items():
        table.add_row(
            name,
            _milliseconds(median(found.stall)),
            _milliseconds(percentile_95(found.stall)),
            _ratio(median(found.stall) / copy_seconds),
            _milliseconds(median(found.cost)),
            f"{found.cost_percent:.1f}",
        )
    return table


def files_table(
    size: Size, limits: list[Limits], contenders: Mapping[str, Samples], remarks: Mapping[str, str]
) -> Table:
    """Return how soon a save is safe and how fast it loads, one row for each contender."""
    table = _table(
        f"{size.name} parameters: the files",
        ("durable ms", "of disk", "load cold ms", "of disk", "warm ms", "MB"),
    )
    table.caption = _caption(contenders, remarks)
    write_seconds = median([one.write for one in limits])
    read_seconds = median([one.read for one in limits])
    for name, found in contenders.items():
        table.add_row(
            name,
            _milliseconds(median(found.durable)),
            _ratio(median(found.durable) / write_seconds),
            _milliseconds(median(found.load_cold)),
            _ratio(median(found.load_cold) / read_seconds),
            _milliseconds(median(found.load_warm)),
            f"{found.file_bytes / MEGABYTE:.1f}",
        )
    return table


def _table(title: str, headings: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left", box=SIMPLE_HEAD)
    table.add_column("contender", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _title(size: Size, contenders: Mapping[str, Samples]) -> str:
    every = list(contenders.values())
    step_seconds = median([step for found in every for step in found.quiet_step])
    return (
        f"{size.name} parameters, AdamW, state {every[0].state_bytes / MEGABYTE:.1f} MB, "
        f"step {_milliseconds(step_seconds)} ms, {len(every[0].stall)} saves each"
    )


def _caption(contenders: Mapping[str, Samples], remarks: Mapping[str, str]) -> str:
    late = [
        f"{name}: {found.late} of {len(found.stall)} saves outlasted the disturbed steps; their cost is too low"
        for name, found in contenders.items()
        if found.late
    ]
    return "\n".join([f"{name}: {remark}" for name, remark in remarks.items()] + late)


def _milliseconds(seconds: float) -> str:
    value = seconds * 1e3
    if abs(value) < 1:
        return f"{value:.2f}"
    return f"{value:.1f}" if abs(value) < 100 else f"{value:,.0f}"


def _ratio(value: float) -> str:
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
