"""The report: one page that needs nothing else, and pictures; equal runs give equal bytes."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from milepost_backtester.report.content import ReportContent
from milepost_backtester.report.page import month_table, render_page
from milepost_backtester.report.writing import REPORT_FILES, write_report
from milepost_backtester.statistics import MonthReturn
from milepost_runtime.digests import digest_of_file

from tests.backtester.report_doubles import SPEC, crossed, shares, walk

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
PAGE_BYTES_MAX = 1_000_000
VOID = {"meta", "path", "link", "br"}
ANOTHER_PROCESS = """
import sys
from pathlib import Path
from milepost_backtester.report.writing import write_report
from tests.backtester.report_doubles import crossed, shares
write_report(crossed(shares()), Path(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def page() -> str:
    return render_page(crossed(shares()))


class Outline(HTMLParser):
    """Collects what a browser would see, and refuses tags that do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def outline(page: str) -> Outline:
    found = Outline()
    found.feed(page)
    found.close()
    assert found.open == []
    return found


def test_the_page_asks_nothing_of_anybody(page: str) -> None:
    """No address, no file beside it, no import: the page forbids itself every request."""
    found = outline(page)
    names = {name for name, _ in found.attributes}
    assert not names & {"src", "href", "srcset", "action", "data", "poster", "ping"}
    assert "://" not in page
    assert "url(" not in page
    assert "@import" not in page
    assert any(value and value.startswith("default-src 'none'") for _, value in found.attributes)


def test_the_page_tells_of_the_whole_run(page: str) -> None:
    """Headline, both charts with their marks, months, every statistic and the spec are there."""
    words = [" ".join(part.split()) for part in outline(page).words]
    for expected in ("sma-cross on goog", "Equity", "goog", "Monthly returns", "Statistics", "Spec"):
        assert expected in words
    for expected in ("Sharpe ratio", "Expected shortfall 5 %", "SQN", "Turnover", "Beta", "2008", "Oct"):
        assert expected in words
    for style in ("equity", "drawdown", "price", "bought", "sold", "won", "lost"):
        assert f'class="{style}"' in page
    assert '"quantity": 100.0' in "".join(words)


def test_both_themes_and_paper_have_their_colours(page: str) -> None:
    """The page follows the reader's light or dark setting and prints in light."""
    assert "@media (prefers-color-scheme: dark)" in page
    assert "@media print" in page


def test_words_from_outside_stay_words() -> None:
    """Markup in a title, a symbol or a spec is shown, not executed."""
    hostile = "</script><script>alert(1)</script><b>"
    content = crossed(shares(), title=hostile, spec={**SPEC, "note": hostile})
    page = render_page(content)
    assert "<script>alert" not in page
    assert "<b>" not in page.split("</style>")[1].split("<script")[0]
    assert hostile in outline(page).words


def test_equal_runs_give_equal_files(tmp_path: Path) -> None:
    """A second process, with another order of hashes, writes the same bytes."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    write_report(crossed(shares()), here)
    subprocess.run(
        [sys.executable, "-c", ANOTHER_PROCESS, str(there)],
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "4711"},
    )
    assert {path.name for path in here.iterdir()} == set(REPORT_FILES)
    for name in REPORT_FILES:
        assert digest_of_file(here / name) == digest_of_file(there / name)


def test_pictures_are_pictures_without_a_time(tmp_path: Path) -> None:
    """Both pictures are PNG files with nothing in them but the picture."""
    write_report(crossed(shares()), tmp_path)
    for name in ("equity.png", "drawdown.png"):
        content = (tmp_path / name).read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert b"tEXt" not in content
        assert b"tIME" not in content


def test_a_million_bars_fit_into_a_page() -> None:
    """However long the run and however many its trades, the page stays under a megabyte."""
    page = render_page(crossed(walk(1_000_000), units=1.0, fast=5, slow=20))
    assert len(page.encode()) < PAGE_BYTES_MAX


def ruined() -> ReportContent:
    return crossed(walk(5_000), units=100_000.0)


def still() -> ReportContent:
    times, opens, closes = walk(500)
    return crossed((times, np.full_like(opens, 5.0), np.full_like(closes, 5.0)))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(crossed(walk(1)), id="one bar"),
        pytest.param(crossed(walk(2)), id="two bars"),
        pytest.param(crossed(walk(20)), id="no trade"),
        pytest.param(still(), id="nothing moves"),
        pytest.param(ruined(), id="ruined"),
    ],
)
def test_odd_runs_have_a_page_and_pictures(content: ReportContent, tmp_path: Path) -> None:
    """What is undefined is a dash with its reason; no number is drawn that is none."""
    write_report(content, tmp_path)
    page = (tmp_path / "report.html").read_text()
    outline(page)
    assert "undefined: " in page
    body = page.split("</style>")[1].split("<script>")[0]
    assert re.search(r"\b(nan|inf|infinity)\b", body, re.IGNORECASE) is None


def test_months_are_chained_to_years() -> None:
    """The whole of a year is the product of its months; a year with a month after ruin has none."""
    table = month_table([MonthReturn(2023, 11, 0.1), MonthReturn(2023, 12, 0.1), MonthReturn(2024, 1, None)])
    assert [(year, whole.value) for year, _, whole in table] == [
        (2023, "21.0\N{NARROW NO-BREAK SPACE}%"),
        (2024, "\N{EN DASH}"),
    ]
    assert table[0][1][10] is not None
    assert table[0][1][0] is None
