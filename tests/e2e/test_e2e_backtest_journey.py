"""G2 by the command line: a backtest of 10,000 bars, cancelled at 5,000, resumed, and equal."""

import hashlib
from pathlib import Path

import pytest

from tests.e2e.command_line import CommandLine

pytestmark = pytest.mark.e2e
DATA = ("--set", "data.name=walk")


def digests(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}


def test_a_backtest_cancelled_at_5000_of_10000_and_resumed_ends_equal_to_the_undisturbed_one(
    milepost: CommandLine, tmp_path: Path
) -> None:
    """Trades, equity and statistics of both are the same bytes; the checkpoint is there to be seen."""
    undisturbed = milepost.json("start", "backtest", *DATA)["operation_id"]
    cancelled = milepost.json("start", "backtest", *DATA, "--stop-at-unit", "5000", "--name", "G2")[
        "operation_id"
    ]

    assert milepost.json("wait", undisturbed)["status"] == "completed"
    ended = milepost.json("wait", cancelled, code=1)
    assert (ended["status"], ended["unit"], ended["total_units"]) == ("cancelled", 5000, 10_000)
    assert f"milepost resume {cancelled}" in ended["fix"]

    # On a slow machine a periodic one may have come due before.
    checkpoint = max(milepost.checkpoints_of(cancelled, unit=5000), key=lambda each: each["unit"])
    assert (checkpoint["unit"], checkpoint["reason"]) == (5000, "cancellation")
    shown = milepost.json("checkpoints", "show", checkpoint["checkpoint_id"])
    assert "state.json" in {artifact["name"] for artifact in shown["artifacts"]}

    resumed = milepost.json("resume", cancelled)
    assert (resumed["parent_id"], resumed["unit"]) == (cancelled, 5000)
    child = resumed["operation_id"]
    done = milepost.json("wait", child)
    assert (done["status"], done["unit"], done["parent_id"], done["root_id"]) == (
        "completed",
        10_000,
        cancelled,
        cancelled,
    )
    started = [
        event for event in milepost.json("events", "show", child)["events"] if event["event"] == "started"
    ]
    assert started[0]["data"]["unit"] == 5000
    assert started[0]["data"]["checkpoint_id"] == checkpoint["checkpoint_id"]

    for operation_id, name in ((undisturbed, "a"), (child, "b")):
        milepost("results", operation_id, "--out", str(tmp_path / name))
    left, right = digests(tmp_path / "a"), digests(tmp_path / "b")
    assert any(name.startswith("trades") for name in left)
    assert any(name.startswith("equity") for name in left)
    assert left == right


def test_a_second_resume_is_refused_with_the_child_that_won(milepost: CommandLine) -> None:
    """Exit code 4, the code and the way out; the child is named."""
    parent = milepost.json("start", "backtest", *DATA, "--stop-at-unit", "100")["operation_id"]
    milepost("wait", parent, code=1)
    child = milepost.json("resume", parent, "--pace", "20")["operation_id"]
    refused = milepost.json("resume", parent, code=4)
    assert refused["code"] == "resume-in-progress"
    assert refused["operation_id"] == child
    assert refused["fix"]
    milepost("cancel", child, "--follow")


def test_a_resume_keeps_the_parents_options_and_changes_only_what_is_asked(milepost: CommandLine) -> None:
    """The parent's checkpoint policy stays, its stop goes, the new stop counts."""
    parent = milepost.json(
        "start",
        "backtest",
        *DATA,
        "--checkpoint-every-units",
        "4000",
        "--pace",
        "100000",
        "--stop-at-unit",
        "100",
    )["operation_id"]
    milepost("wait", parent, code=1)
    child = milepost.json("resume", parent, "--pace", "0", "--stop-at-unit", "300")["operation_id"]
    events = milepost.json("events", "show", child, "--no-progress")["events"]
    options = events[0]["data"]["options"]
    assert options["checkpoint"]["every_units"] == 4000
    assert options["pace_units_per_second"] is None
    assert options["stop_at_unit"] == 300
    assert milepost.json("wait", child, code=1)["unit"] == 300


def test_an_operation_is_cancelled_exactly_after_the_unit_that_is_named(milepost: CommandLine) -> None:
    """`cancel --at-unit` while it runs, followed to its end: exit code 0, for that was wanted."""
    slow = milepost.json("start", "backtest", *DATA, "--pace", "200")["operation_id"]
    ended = milepost.json("cancel", slow, "--at-unit", "1321", "--reason", "enough", "--follow")
    assert (ended["status"], ended["unit"], ended["reason"]) == ("cancelled", 1321, "enough")


def test_the_same_command_id_starts_one_operation(milepost: CommandLine) -> None:
    """The second time it is a duplicate that names the first one's operation."""
    first = milepost.json("start", "backtest", *DATA, "--command-id", "nightly-2026-01-01")
    second = milepost.json("start", "backtest", *DATA, "--command-id", "nightly-2026-01-01")
    assert (first["verdict"], second["verdict"]) == ("accepted", "duplicate")
    assert first["operation_id"] == second["operation_id"]


def test_a_dry_run_says_the_verdict_and_starts_nothing(milepost: CommandLine) -> None:
    """Accepted or rejected, no operation appears."""
    would_be = milepost.json("start", "backtest", *DATA, "--dry-run")
    assert would_be["dry_run"] is True
    milepost("show", would_be["operation_id"], code=3)
    milepost("start", "backtest", "--set", "data.name=none", "--dry-run", code=4)


def test_a_start_that_no_worker_waits_for_says_so(milepost: CommandLine) -> None:
    """The operation waits, and the person is told what to start."""
    grid = ("--set", 'grid={"fast":[5,10]}')
    said = milepost("start", "sweep", *DATA, *grid)
    assert "no worker of the kind sweep is alive" in said.err
    assert "milepost worker sweep" in said.err
    (waiting,) = milepost.json("ps", "--kind", "sweep")["operations"]
    milepost("cancel", waiting["operation_id"], "--follow")
