"""`milepost archive` by the command line: what ended leaves the log, and nobody sees it."""

from pathlib import Path

import pytest
from milepost_runtime.history.files import read_history

from tests.e2e.command_line import LOOKS_MAX, CommandLine

pytestmark = pytest.mark.e2e


def exported(milepost: CommandLine, operation_id: str, path: Path) -> list[object]:
    """The operation's events as `events export` writes them, but not where they were moved to."""
    milepost("events", "export", operation_id, "--out", str(path))
    with path.open("rb") as file:
        return [stored for stored in read_history(file)[1] if stored.name != "archived"]


def archived(milepost: CommandLine, operation_id: str) -> int:
    """Archive; return how many events there were, once its checkpoint is on record."""
    for _ in range(LOOKS_MAX):
        done = milepost.json("archive", "--older-than", "0s")
        found = {each["operation_id"]: each["events"] for each in done["archived"]}
        if operation_id in found:
            return found[operation_id]
    raise AssertionError(f"{operation_id} stays: {done['skipped']}")


def test_archived_operation_is_shown_folded_exported_and_rebuilt(
    milepost: CommandLine, tmp_path: Path
) -> None:
    """As before it left the log: its end, its state as of any event, its events byte for byte, its rows."""
    words = ("start", "backtest", "--set", "data.name=walk", "--stop-at-unit", "5000")
    operation_id = milepost.json(*words)["operation_id"]
    milepost("wait", operation_id, code=1)
    milepost.checkpoints_of(operation_id, unit=5000)
    count = archived(milepost, operation_id)
    after = exported(milepost, operation_id, tmp_path / "after.jsonl")
    assert len(after) == count > 5
    shown = milepost.json("show", operation_id)
    assert (shown["status"], shown["unit"]) == ("cancelled", 5000)
    middle = after[count // 2].sequence
    past = milepost.json("events", "fold", operation_id, "--sequence", str(middle))
    assert (past["sequence"], past["events"]) == (middle, count // 2 + 1)
    verified = milepost.json("projections", "verify")
    assert verified["equal"] is True
