"""The files of a sweep's report."""

from pathlib import Path

from milepost_backtester.report.writing import REPORT_FILES
from milepost_backtester.sweep.report.content import SweepContent

SWEEP_REPORT_FILES = {"report.html": REPORT_FILES["report.html"], "sweep.png": "image/png"}
"""The page and the picture; media types by name."""
WALK_PICTURES = {"equity.png": "image/png", "drawdown.png": "image/png"}
"""Of a walk beside those."""


def write_sweep_report(content: SweepContent, directory: Path) -> None:
    """Write the report's files; the same content gives the same bytes."""
    # Only here: together they take longer to import than a short sweep takes.
    from milepost_backtester.sweep.report.page import render_page  # noqa: PLC0415
    from milepost_backtester.sweep.report.pictures import draw_sweep  # noqa: PLC0415

    (directory / "report.html").write_bytes(render_page(content).encode())
    draw_sweep(content, directory)
