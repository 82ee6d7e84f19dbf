"""The figures as sheets, with ratios to what the machine allows; a sheet is a table on the screen or in a page."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tests.benchmarks.peers.limits import Limits
from tests.benchmarks.peers.measuring import STEPS_BETWEEN_SAVES, Samples, percentile_95
from tests.benchmarks.peers.workload import Size

MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Sheet:
    """A title, a heading for each column, rows of text, and remarks below."""

    title: str
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    remarks: tuple[str, ...] = ()

    def table(self) -> Table:
        """Return it for the screen."""
        table = Table(
            title=self.title,
            title_justify="left",
            caption="\n".join(self.remarks),
            caption_justify="left",
            box=SIMPLE_HEAD,
        )
        table.add_column(self.headings[0], no_wrap=True)
        for heading in self.headings[1:]:
            table.add_column(heading, justify="right")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """Return it for a page."""
        rule = ("---", *["---:"] * (len(self.headings) - 1))
        lines = [f"| {' | '.join(row)} |" for row in (self.headings, rule, *self.rows)]
        return "\n".join([f"**{self.title}**", "", *lines, "", *self.remarks])


def limits_sheet(size: Size, limits: list[Limits]) -> Sheet:
    """Return what the machine allows for the state's bytes."""
    measured = {
        "copy in memory": [one.copy for one in limits],
        "copy into fresh memory": [one.copy_fresh for one in limits],
        "write, buffered + fsync": [one.write_buffered for one in limits],
        "write, O_DIRECT + fsync": [one.write_direct for one in limits],
        "read, buffered, cold": [one.read_cold for one in limits],
        "read, O_DIRECT": [one.read_direct for one in limits],
        "read, buffered, warm": [one.read_warm for one in limits],
        "SHA-256 in memory": [one.digest for one in limits],
    }
    rows: list[tuple[str, ...]] = []
    for name, values in measured.items():
        known = [value for value in values if value is not None]
        if known:
            rows.append((name, _milliseconds(median(known)), _milliseconds(min(known))))
    return Sheet(f"{size.name} parameters: the machine", ("limit", "median ms", "best ms"), rows)


def cost_sheet(size: Size, limits: list[Limits], contenders: Mapping[str, Samples]) -> Sheet:
    """Return what saving costs the training, one row for each contender."""
    copy_seconds = median([one.copy for one in limits])
    rows = [
        (
            name,
            _milliseconds(median(found.stall)),
            _milliseconds(percentile_95(found.stall)),
            _milliseconds(median(found.at_save)),
            _milliseconds(median(found.waited)),
            _ratio(median(found.stall) / copy_seconds),
            _milliseconds(median(found.cost)),
            f"{found.cost_percent:.1f}",
        )
        for name, found in contenders.items()
    ]
    headings = (
        "contender",
        "stall ms",
        "p95",
        "at the save",
        "waited",
        "of copy",
        "cost ms",
        f"% every {STEPS_BETWEEN_SAVES} steps",
    )
    return Sheet(_title(size, contenders), headings, rows)


def files_sheet(
    size: Size, limits: list[Limits], contenders: Mapping[str, Samples], remarks: Mapping[str, str]
) -> Sheet:
    """Return how soon a save is safe and how fast it loads, one row for each contender."""
    write_seconds = median([one.write for one in limits])
    read_seconds = median([one.read for one in limits])
    rows = [
        (
            name,
            _milliseconds(median(found.durable)),
            _ratio(median(found.durable) / write_seconds),
            _milliseconds(median(found.load_cold)),
            _ratio(median(found.load_cold) / read_seconds),
            _milliseconds(median(found.load_warm)),
            f"{found.file_bytes / MEGABYTE:.1f}",
        )
        for name, found in contenders.items()
    ]
    headings = ("contender", "durable ms", "of disk", "load cold ms", "of disk", "warm ms", "MB")
    return Sheet(f"{size.name} parameters: the files", headings, rows, _remarks(contenders, remarks))


def _title(size: Size, contenders: Mapping[str, Samples]) -> str:
    every = list(contenders.values())
    step_seconds = median([step for found in every for step in found.quiet_step])
    return (
        f"{size.name} parameters, AdamW, state {every[0].state_bytes / MEGABYTE:.1f} MB, "
        f"step {_milliseconds(step_seconds)} ms, {len(every[0].stall)} saves each"
    )


def _remarks(contenders: Mapping[str, Samples], remarks: Mapping[str, str]) -> tuple[str, ...]:
    late = [
        f"{name}: {found.late} of {len(found.stall)} saves outlasted the disturbed steps, so cost too little here"
        for name, found in contenders.items()
        if found.late
    ]
    return (*[f"{name}: {remark}." for name, remark in remarks.items()], *[f"{text}." for text in late])


def _milliseconds(seconds: float) -> str:
    value = seconds * 1e3
    if abs(value) < 1:
        return f"{value:.2f}"
    return f"{value:.1f}" if abs(value) < 100 else f"{value:,.0f}"


def _ratio(value: float) -> str:
    return f"{value:.4f}" if value < 0.1 else f"{value:.2f}"
