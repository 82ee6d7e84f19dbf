"""The docs stay true: links lead somewhere, and every requirement names a test that exists."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    """Every relative link of every page names a file of the repository."""
    missing = [
        link for link in LINK.findall(page.read_text()) if not (page.parent / link.partition("#")[0]).exists()
    ]
    assert missing == []


def test_requirements_name_tests_that_exist() -> None:
    """Every test that docs/requirements.md names is defined in the file it names."""
    named = TEST.findall((ROOT / "docs" / "requirements.md").read_text())
    assert len(named) > 20
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).exists() or f"def {name}(" not in (ROOT / path).read_text()
    ]
    assert missing == []


def test_every_requirement_has_a_row() -> None:
    """All rows A1 to G3 are there, proven or said to be open."""
    text = (ROOT / "docs" / "requirements.md").read_text()
    counts = {"A": 3, "B": 4, "C": 6, "D": 6, "E": 10, "F": 3, "G": 3}
    missing = [
        f"{letter}{number}"
        for letter, count in counts.items()
        for number in range(1, count + 1)
        if not re.search(rf"^\| {letter}{number} \|", text, re.MULTILINE)
    ]
    assert missing == []


def test_every_adr_is_listed() -> None:
    """The index of decisions names each of them."""
    index = (ROOT / "docs" / "adr" / "README.md").read_text()
    files = {path.name for path in (ROOT / "docs" / "adr").glob("0*.md")}
    assert files == set(re.findall(r"\((0\d+-[\w-]+\.md)\)", index))
