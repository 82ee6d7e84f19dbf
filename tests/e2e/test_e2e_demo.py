"""`milepost demo`, as `make demo` runs it."""

import json

import pytest

from tests.e2e.command_line import CommandLine
from tests.support.stack import reachable_directory

pytestmark = pytest.mark.e2e


def test_the_demonstration_says_equal_yes() -> None:
    """Both runs equal, the resumed one on another worker, results left behind, nothing left running."""
    with reachable_directory() as place:
        milepost = CommandLine(place / "demo")
        said = milepost("demo", "--directory", str(place / "demo"))
        assert "equal: yes" in said.out
        assert "where to look next" in said.err
        for run in ("undisturbed", "resumed"):
            names = {path.name for path in (place / "demo" / "results" / run).iterdir()}
            assert any(name.startswith("trades") for name in names)
        milepost("ps", code=5)


@pytest.mark.long
def test_a_kept_demonstration_can_be_looked_at_and_stopped() -> None:
    """`--keep` leaves the stack, `--json` says what happened, `milepost down` ends it."""
    with reachable_directory() as place:
        milepost = CommandLine(place / "demo")
        document = json.loads(milepost("demo", "--directory", str(place / "demo"), "--keep", "--json").out)
        try:
            assert document["equal"] is True
            assert document["cancelled"]["unit"] * 2 == document["resumed"]["total_units"]
            assert document["resumed"]["parent_id"] == document["cancelled"]["operation_id"]
            assert document["resumed"]["worker_id"] != document["cancelled"]["worker_id"]
            assert all(file["equal"] for file in document["files"])
            statuses = {item["status"] for item in milepost.json("ps")["operations"]}
            assert statuses == {"completed", "cancelled"}
        finally:
            milepost("down")
