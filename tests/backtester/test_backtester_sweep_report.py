"""The report of a sweep: ranked combinations, the figure over the grid, folds; equal sweeps give equal bytes."""

import os
import re
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from milepost_backtester.report.figures import entry_of
from milepost_backtester.sweep.figures import NAMES, FigureRow, FigureTable, ranking
from milepost_backtester.sweep.report.content import SweepContent, axis_of
from milepost_backtester.sweep.report.page import render_page
from milepost_backtester.sweep.report.surface import COLUMNS_MAX, LEVELS, Surface, shades_of, surfaces_of
from milepost_backtester.sweep.report.writing import SWEEP_REPORT_FILES, write_sweep_report
from milepost_contracts.specs.sweep import RANKABLE
from milepost_runtime.digests import canonical_json, digest_of_file

from tests.backtester.sweep_doubles import WALK, Workplace
from tests.backtester.test_backtester_report import PAGE_BYTES_MAX, outline
from tests.support.bridge import host_of

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
ANOTHER_PROCESS = """
import sys
from pathlib import Path
from milepost_backtester.sweep.report.writing import write_sweep_report
from tests.backtester.test_backtester_sweep_report import swept
write_sweep_report(swept(fast=[3, 5, 8], slow=[10, 20]), Path(sys.argv[1]))
"""


def swept(
    *, values: list[float] | None = None, direction: Any = "highest", **grid: list[Any]
) -> SweepContent:
    """Return a sweep over every combination of a grid; the figure ranked by counts up unless it is given."""
    combinations = [
        dict(zip(sorted(grid), found, strict=True))
        for found in product(*(grid[name] for name in sorted(grid)))
    ]
    ranked = values or [float(place) for place in range(len(combinations))]
    table = FigureTable(len(combinations))
    for value in ranked:
        row = np.where([name == "sharpe" for name in NAMES], value, 1.0)
        table.append(FigureRow(row, canonical_json({"sharpe": "why"}).decode() if value != value else "{}"))
    return SweepContent(
        title="sma-cross on goog, sweep",
        timestamp=np.arange(50, dtype=np.int64) * 86_400 * 10**9,
        axes=tuple(axis_of(name, combinations) for name in sorted(grid)),
        figures=table,
        rank_by="sharpe",
        direction=direction,
        order=ranking(np.array(ranked), direction),
        left_out={"not fast < slow": 4},
        spec={"initial_cash": 1000.0, "note": "</script><script>alert(1)"},
    )


def cells(surface: Surface) -> list[list[float]]:
    return surface.values.tolist()


def words_of(content: SweepContent) -> list[str]:
    return [" ".join(part.split()) for part in outline(render_page(content)).words]


def test_two_parameters_are_a_heatmap_with_the_best_marked() -> None:
    """Rows and columns are the parameters' values in order, each cell is its combination's figure."""
    (surface,) = surfaces_of(swept(fast=[8, 3, 5], slow=[20, 10]))
    assert (surface.across.name, surface.across.labels) == ("fast", ("3", "5", "8"))
    assert surface.up is not None
    assert (surface.up.name, surface.up.labels) == ("slow", ("10", "20"))
    assert cells(surface) == [[3.0, 5.0, 1.0], [2.0, 4.0, 0.0]]
    assert surface.best == (0, 1)


def test_more_parameters_are_a_heatmap_of_each_pair_over_the_best_of_the_rest() -> None:
    """Three parameters give three heatmaps, each cell the best of what the third one allows."""
    values = [1.0, 7.0, 4.0, 2.0, 9.0, 0.0, 5.0, 6.0]
    content = swept(a=[1, 2], b=[1, 2], c=[1, 2], values=values)
    pairs = {
        (found.across.name, found.up.name if found.up else ""): cells(found) for found in surfaces_of(content)
    }
    assert pairs == {
        ("a", "b"): [[7.0, 9.0], [4.0, 6.0]],
        ("a", "c"): [[4.0, 9.0], [7.0, 6.0]],
        ("b", "c"): [[9.0, 5.0], [7.0, 6.0]],
    }
    lowest = surfaces_of(swept(a=[1, 2], b=[1, 2], c=[1, 2], values=values, direction="lowest"))
    assert cells(lowest[0]) == [[1.0, 0.0], [2.0, 5.0]]


def test_one_parameter_is_a_line() -> None:
    """A parameter alone, and one beside parameters of a single value, is drawn as a line."""
    content = swept(fast=[3, 5, 8], slow=[20])
    (surface,) = surfaces_of(content)
    assert surface.up is None
    assert cells(surface) == [[0.0, 1.0, 2.0]]
    assert "Sharpe ratio by fast" in words_of(content)


def test_what_is_undefined_or_impossible_has_no_shade() -> None:
    """Undefined figures and missing combinations are told apart and are never the best."""
    content = swept(fast=[1, 2], slow=[1, 2], values=[float("nan"), 3.0, 1.0, 2.0])
    (surface,) = surfaces_of(content)
    levels = shades_of([surface], "highest").levels(surface.values)
    assert levels.tolist() == [[-1, 0], [LEVELS - 1, LEVELS // 2]]
    assert surface.best == (1, 0)
    assert 'class="undefined"' in render_page(content)
    assert 'title="undefined: why"' in render_page(content)


def test_long_axes_are_pooled_to_the_best_of_neighbours() -> None:
    """A grid finer than can be seen shows the best of each few values, and says so; the page stays small."""
    content = swept(fast=list(range(250)), slow=list(range(200)))
    (surface,) = surfaces_of(content)
    assert surface.values.shape == (50, 84)
    assert surface.values.shape[1] <= COLUMNS_MAX
    assert surface.across.labels[1] == "3\N{EN DASH}5"
    assert surface.values[1, 1] == 5 * 200 + 7
    page = render_page(content)
    assert "Of neighbouring values that share a place, the best one is shown." in page
    assert len(page.encode()) < PAGE_BYTES_MAX


def test_the_table_is_ranked() -> None:
    """The best combinations come first with their parameters; how many are not shown is said."""
    content = swept(fast=list(range(15)), slow=[7, 9])
    words = words_of(content)
    start = words.index("Combinations", words.index("Combinations") + 1)
    assert [word for word in words[start:] if word][1:][:7] == [
        "Rank",
        "fast",
        "slow",
        "Sharpe ratio",
        "Total return",
        "Annual return",
        "Maximum drawdown",
    ]
    body = render_page(content).split("<h2>Combinations</h2>")[1].split("<tbody>")[1]
    rows = [re.findall(r">([^<>]+)</t[hd]>", line) for line in body.split("</tr>")[:2]]
    assert [row[:4] for row in rows] == [["1", "14", "9", "29.000"], ["2", "14", "7", "28.000"]]
    assert "150 more are in combinations.parquet." in render_page(swept(fast=list(range(250))))


@pytest.mark.parametrize(
    "grid",
    [
        pytest.param({"fast": [3]}, id="one combination"),
        pytest.param({"short": [True, False], "name": ["<b>&", "$x$", 'a"b']}, id="words"),
        pytest.param({"rate": [0.1 + 0.2, 1e-9, -5.0]}, id="odd numbers"),
    ],
)
def test_odd_grids_have_a_page_and_a_picture(grid: dict[str, list[Any]], tmp_path: Path) -> None:
    """Any values are shown as words, never as markup or a formula."""
    write_sweep_report(swept(**grid), tmp_path)
    found = outline((tmp_path / "report.html").read_text())
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    for values in grid.values():
        for value in values:
            if isinstance(value, str):
                assert value in found.words


def test_a_sweep_in_which_nothing_is_defined_has_a_report(tmp_path: Path) -> None:
    """Without a single figure there is still a page, and no number that is none."""
    for grid in ({"fast": [3, 4]}, {"fast": [3, 4], "slow": [5]}, {"fast": [3, 4], "slow": [5, 6]}):
        count = len(grid["fast"]) * len(grid.get("slow", [1]))
        write_sweep_report(swept(values=[float("nan")] * count, **grid), tmp_path)
        body = (tmp_path / "report.html").read_text().split("</style>")[1].split("<script")[0]
        assert re.search(r"\b(nan|inf)\b", body, re.IGNORECASE) is None


def test_the_page_asks_nothing_of_anybody() -> None:
    """No address and no file beside it; markup from outside stays words."""
    page = render_page(swept(fast=[3, 5], slow=[10, 20]))
    names = {name for name, _ in outline(page).attributes}
    assert not names & {"src", "href", "srcset", "action", "data", "poster", "ping"}
    assert "://" not in page
    assert "<script>alert" not in page
    assert any(value and value.startswith("default-src 'none'") for _, value in outline(page).attributes)


def test_equal_sweeps_give_equal_files(tmp_path: Path) -> None:
    """A second process, with another order of hashes, writes the same bytes."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    write_sweep_report(swept(fast=[3, 5, 8], slow=[10, 20]), here)
    subprocess.run(
        [sys.executable, "-c", ANOTHER_PROCESS, str(there)],
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "4711"},
    )
    assert {path.name for path in here.iterdir()} == set(SWEEP_REPORT_FILES)
    for name in SWEEP_REPORT_FILES:
        assert digest_of_file(here / name) == digest_of_file(there / name)


def test_a_walk_shows_what_was_chosen_and_traded(tmp_path: Path) -> None:
    """Each fold is there with its choice and its figures in and out of sample, and the joined equity is drawn."""
    place = Workplace(tmp_path)
    job = place.job(walk_forward=WALK)
    job.run(host_of(place.sink(), job.total_units))
    directory = place.results_directory(job)
    page = (directory / "report.html").read_text()
    outline(page)
    assert 'class="division"' in page
    body = page.split("<h2>Folds</h2>")[1].split("<tbody>")[1].split("</tbody>")[0]
    rows = [re.findall(r">([^<>]+)</t[hd]>", line) for line in body.split("</tr>")[:-1]]
    folds = pq.read_table(directory / "folds.parquet").to_pylist()
    write = entry_of("sharpe")[1]
    assert [row[3:7] for row in rows] == [
        [
            str(fold["parameter_fast"]),
            str(fold["parameter_slow"]),
            write(fold["in_sample_sharpe"]),
            write(fold["out_of_sample_sharpe"]),
        ]
        for fold in folds
    ]
    for name in ("sweep.png", "equity.png", "drawdown.png"):
        assert (directory / name).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_every_figure_to_rank_by_has_words() -> None:
    """Whatever a sweep is ranked by, its report can name and write it."""
    for name in RANKABLE:
        words, write, meaning = entry_of(name)
        assert words
        assert write(1.0)
        assert meaning
