"""Checkpoints by the command line: saved while a backtest runs, pinned, deleted."""

import pytest

from tests.e2e.command_line import CommandLine

pytestmark = pytest.mark.e2e


def test_a_checkpoint_is_saved_now_pinned_unpinned_and_deleted(milepost: CommandLine) -> None:
    """Reason `manual` while it runs; not deleted while it runs nor while pinned; then gone, and said so."""
    started = milepost.json("start", "backtest", "--set", "data.name=walk", "--pace", "200")
    operation_id = started["operation_id"]
    with milepost.spawn("follow", operation_id) as following:
        milepost.until_running(operation_id)
        asked = milepost("checkpoints", "now", operation_id, "--reason", "before the move")
        assert "asked for a checkpoint" in asked.out + asked.err
        found = milepost.checkpoints_of(operation_id, reason="manual")
        (manual,) = [each for each in found if each["reason"] == "manual"]
        checkpoint_id = manual["checkpoint_id"]
        refused = milepost.json("checkpoints", "delete", checkpoint_id, code=4)
        assert refused["code"] == "checkpoint-in-use"
        milepost("checkpoints", "pin", checkpoint_id, "--reason", "for the paper")
        milepost("cancel", operation_id, "--follow")
        following.wait(timeout=60)
    assert milepost.json("checkpoints", "delete", checkpoint_id, code=4)["code"] == "checkpoint-pinned"
    assert "pinned" in milepost("checkpoints", "show", checkpoint_id).out
    milepost("checkpoints", "unpin", checkpoint_id)
    assert milepost.json("checkpoints", "delete", checkpoint_id, "--dry-run")["dry_run"] is True
    milepost("checkpoints", "delete", checkpoint_id)
    names = [event["event"] for event in milepost.json("events", "show", operation_id)["events"]]
    wanted = ["checkpoint-requested", "checkpoint-pinned", "checkpoint-unpinned", "checkpoint-deleted"]
    assert [name for name in names if name in wanted] == wanted
    assert milepost.json("checkpoints", "now", operation_id, code=4)["code"] == "not-running"
