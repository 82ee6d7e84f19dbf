"""Cleanups by the command line, as a newcomer would do them."""

import pytest

from tests.e2e.command_line import CommandLine

pytestmark = pytest.mark.e2e


def test_a_cleanup_is_looked_at_refused_without_a_yes_and_done(milepost: CommandLine) -> None:
    """The list of the dry run is what goes; nobody to ask is an error that says what to do."""
    deleted_before = milepost.json("storage", "show")["deleted"]["count"]
    started = milepost.json(
        *("start", "backtest", "--set", "data.name=walk"),
        *("--pace", "1500", "--checkpoint-every-units", "1600", "--stop-at-unit", "7000"),
    )
    operation_id = started["operation_id"]
    milepost("wait", operation_id, code=1)  # cancelled, as it was asked to be
    # Two stay at most, and on any machine more than two of the five that are due are saved.
    before = {each["checkpoint_id"] for each in milepost.checkpoints_of(operation_id, unit=7000)}
    rules = ("--keep-newest", "1", "--keep-best", "equity", "--operation", operation_id)
    would = milepost.json("cleanup", *rules, "--dry-run")
    assert would["dry_run"] is True
    assert would["deleted_count"] >= 1
    said = milepost("cleanup", *rules, "--dry-run")
    assert "would be deleted" in said.out
    assert "among the newest" in said.out
    assert milepost.json("cleanup", *rules, code=2)["fix"] == "look first with --dry-run, then add --yes"
    done = milepost.json("cleanup", *rules, "--yes", "--reason", "tidy")
    assert (done["deleted"], done["skipped"]) == (would["deleted"], would["skipped"])
    gone = {each["checkpoint_id"] for each in done["deleted"]}
    kept = {each["checkpoint_id"] for each in done["skipped"]}
    assert (gone & kept, gone | kept) == (set(), before)
    assert {each["checkpoint_id"] for each in milepost.checkpoints_of(operation_id)} == kept
    assert "a cleanup needs a rule" in milepost("cleanup", "--yes", code=2).err
    shown = milepost.json("storage", "show")
    assert shown["deleted"]["count"] - deleted_before == len(gone)
    assert "by /cli" in milepost("storage", "show").out
    found = milepost("storage", "orphans").out
    assert "too young to tell" in found
    assert milepost.json("storage", "sweep", "--yes")["removed"]["count"] == 0  # the grace is a day
    assert milepost.json("storage", "sweep", code=2)["code"] == "usage"
