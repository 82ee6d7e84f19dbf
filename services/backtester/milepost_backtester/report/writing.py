"""The report's files."""

from pathlib import Path

from milepost_backtester.report.content import ReportContent

REPORT_FILES = {
    "report.html": "text/html; charset=utf-8",
    "equity.png": "image/png",
    "drawdown.png": "image/png",
}
"""The page and the pictures; media types by name."""


def write_report(content: ReportContent, directory: Path) -> None:
    """Write the report's files; the same content gives the same bytes."""
    # Only here: together they take longer to import than a short backtest takes.
    from milepost_backtester.report.page import render_page  # noqa: PLC0415
    from milepost_backtester.report.pictures import draw_pictures  # noqa: PLC0415

    (directory / "report.html").write_bytes(render_page(content).encode())
    draw_pictures(content, directory)
