"""Tables for people: aligned, without frames, so that they can be cut and searched."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from milepost_cli.output import people

WRAPPED_COLUMNS_MIN = 24


def print_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str | None]],
    *,
    right: Sequence[str] = (),
    wrap: Sequence[str] = (),
    console: Console | None = None,
) -> None:
    """Print rows under headings.

    Columns named in ``right`` hold numbers and are aligned to the right; those in ``wrap`` hold sentences and are
    wrapped where the terminal is narrow. All others stay whole, whatever it takes: an id in two pieces is none.
    """
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for place, heading in enumerate(headings):
        longest = max(cell_len(each) for each in (heading, *(row[place] or "" for row in rows)))
        wraps = heading in wrap
        table.add_column(
            Text(heading),
            justify="right" if heading in right else "left",
            no_wrap=not wraps,
            min_width=min(longest, WRAPPED_COLUMNS_MIN) if wraps else longest,
        )
    for row in rows:
        table.add_row(*(Text(cell if cell else "-") for cell in row))
    (console or people()).print(table, crop=False)
