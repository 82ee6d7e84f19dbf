"""Work held back, released, limited, and cancelled and resumed many at a time, by the command line."""

import pytest

from tests.e2e.command_line import LOOKS_MAX, CommandLine

pytestmark = pytest.mark.e2e

START = ("start", "backtest", "--set", "data.name=walk", "--pace", "2000", "--name")


def test_held_cancelled_and_resumed_by_filter_and_released(milepost: CommandLine) -> None:
    """What is held waits and says for whom; by filter it is counted, cancelled and resumed; released it runs."""
    milepost("dispatch", "hold", "backtest", "--reason", "the machine moves")
    try:
        assert "held" in milepost("dispatch", "show").out
        assert milepost.json("dispatch", "hold", "backtest", code=4)["code"] == "already-held"
        started = [milepost.json(*START, f"night {number}")["operation_id"] for number in range(2)]
        held = "kind backtest is held by /cli: the machine moves"
        assert held in milepost("show", started[0]).out
        assert " ".join(milepost("ps", "--name", "night").out.split()).count("held by /cli:") == 2
        assert f"waits: {held}" in milepost("wait", started[0], "--timeout", "0.2", code=1).err
        named = ("--name", "night")
        counted = milepost("bulk", "cancel", *named, "--dry-run").out
        assert "2 fit; 2 accepted; nothing was done" in counted
        assert milepost.json("bulk", "cancel", *named, code=2)["code"] == "count-needed"
        assert milepost.json("bulk", "cancel", *named, "--expect", "3", code=4)["code"] == "count-differs"
        assert "all 2 accepted" in milepost("bulk", "cancel", *named, "--expect", "2").out
        for operation_id in started:
            milepost("wait", operation_id, code=1)
        partly = milepost("bulk", "resume", *named, "--status", "cancelled", "--yes")
        assert "all 2 accepted" in partly.out
        again = milepost("bulk", "resume", *named, "--status", "cancelled", "--yes", code=1)
        assert "2 of 2 were refused; 0 were accepted" in again.err
        assert "resume-in-progress" in str(
            milepost.json("bulk", "resume", *named, "--status", "cancelled", "--dry-run")["codes"]
        )
        listed = milepost.json("ps", "--name", "night", "--all")["operations"]
        children = [each["operation_id"] for each in listed if each["operation_id"] not in started]
        assert len(children) == 2
        milepost("bulk", "cancel", *named, "--yes", "--deadline", "30s")
        for operation_id in children:
            milepost("wait", operation_id, code=1)
        waiting = milepost.json(*START, "day")["operation_id"]
    finally:
        milepost("dispatch", "release", "backtest")
    milepost("wait", waiting)
    assert "nothing is held" in milepost("dispatch", "show").err


def test_a_schedule_starts_pauses_and_is_deleted(milepost: CommandLine) -> None:
    """Every second one: listed with what it started; paused it waits; deleted it is not found."""
    made = milepost.json(
        "schedule", "add", "backtest", "--set", "data.name=walk", "--cron", "* * * * * *", "--name", "often"
    )
    schedule_id = made["operation_id"]
    try:
        for _ in range(LOOKS_MAX):
            (listed,) = milepost.json("schedule", "list")["schedules"]
            if listed["last"] is not None:
                break
        milepost("schedule", "pause", schedule_id, "--reason", "enough")
        assert "paused" in milepost("schedule", "list").out
        assert milepost.json("schedule", "pause", schedule_id, code=4)["code"] == "schedule-unchanged"
        assert "enough" in milepost("schedule", "show", schedule_id).out
        milepost("wait", listed["last"]["operation_id"])
    finally:
        milepost("schedule", "delete", schedule_id)
    assert milepost.json("schedule", "delete", schedule_id, code=3)["code"] == "schedule-not-found"
    refused = milepost.json("schedule", "add", "backtest", "--cron", "x", "--set", "data.name=walk", code=4)
    assert refused["problems"][0]["field"] == "timing.cron"


@pytest.mark.long
def test_what_a_drained_worker_runs_goes_on_elsewhere_and_ends_equal(milepost: CommandLine) -> None:
    """Released with a checkpoint it ends at the other worker, digest for digest; the drained one takes nothing."""
    slow = ("start", "backtest", "--set", "data.name=walk", "--pace", "600", "--name", "moved")
    disturbed = milepost.json(*slow)["operation_id"]
    milepost.until_running(disturbed)
    first = milepost.json("show", disturbed)["worker_id"]
    milepost("workers", "drain", first, "--release", "--reason", "new disks")
    try:
        assert milepost.json("workers", "drain", first, code=4)["code"] == "drain-unchanged"
        milepost("wait", disturbed)
        undisturbed = milepost.json("start", "backtest", "--set", "data.name=walk", "--name", "still")
        milepost("wait", undisturbed["operation_id"])
        assert "nothing: drained by /cli: new disks" in " ".join(milepost("workers").out.split())
    finally:
        milepost("workers", "undrain", first)
    moved, still = (milepost.json("show", each) for each in (disturbed, undisturbed["operation_id"]))
    one, other = moved["attempts"]
    assert (one["worker_id"], one["outcome"]) == (first, "released")
    assert one["reason"] == "worker drained by /cli: new disks"
    assert (other["outcome"], still["worker_id"]) == ("completed", other["worker_id"])
    assert other["worker_id"] != first
    digests = [
        {each["name"]: each["digest"] for each in operation["results"]} for operation in (moved, still)
    ]
    assert digests[0] == digests[1]


def test_a_limit_is_set_shown_and_taken_away(milepost: CommandLine) -> None:
    """A kind runs so many at a time until it is `none` again; nonsense is a usage error."""
    milepost("dispatch", "limit", "backtest", "1", "--reason", "one is enough")
    assert "1 at a time" in milepost("dispatch", "show").out
    milepost("dispatch", "limit", "backtest", "none")
    milepost("dispatch", "limit", "backtest", "many", code=2)
