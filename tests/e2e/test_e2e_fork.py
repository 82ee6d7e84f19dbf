"""Forks by the command line: the difference is shown, and counts from the checkpoint on."""

import pytest

from tests.e2e.command_line import CommandLine

pytestmark = pytest.mark.e2e
DATA = ("--set", "data.name=walk")


def test_a_completed_backtest_is_forked_with_another_commission(milepost: CommandLine) -> None:
    """Costs differ after the checkpoint only, `show` says what was changed, and the parent stays as it was."""
    parent = milepost.json("start", "backtest", *DATA, "--checkpoint-every-units", "4000")["operation_id"]
    whole = milepost.json("wait", parent)
    checkpoint = next(
        each["checkpoint_id"] for each in milepost.checkpoints_of(parent, unit=4000) if each["unit"] == 4000
    )
    change = ("fork", parent, "--set", "commission_rate=0.01", "--checkpoint", checkpoint)
    would = milepost.json(*change, "--dry-run")
    assert would["changes"] == [{"field": "commission_rate", "before": 0.001, "after": 0.01}]
    child = milepost.json(*change)["operation_id"]
    ended = milepost.json("wait", child)
    assert (ended["status"], ended["unit"], ended["relation"]) == ("completed", 10_000, "fork")
    assert ended["summary"]["fees"] > whole["summary"]["fees"]
    shown = milepost("show", child).out
    assert f"forked from {parent}" in " ".join(shown.split())
    assert "commission_rate 0.001 -> 0.01" in shown
    assert milepost.json("show", child)["changes"] == would["changes"]
    assert milepost.json("show", parent)["children"] == [child]
    assert milepost.json("show", parent)["child_id"] is None


def test_a_fork_of_what_the_state_rests_on_is_refused(milepost: CommandLine) -> None:
    """Exit code 2 as for any bad spec; each field is named with what may change instead."""
    parent = milepost.json("start", "backtest", *DATA, "--stop-at-unit", "50")["operation_id"]
    milepost("wait", parent, code=1)
    refused = milepost.json("fork", parent, "--set", "initial_cash=5", code=4)
    assert refused["code"] == "not-changeable"
    assert [each["field"] for each in refused["problems"]] == ["changes.initial_cash"]
    assert "commission_rate" in refused["fix"]
    assert milepost.json("retry", parent, code=4)["code"] == "not-retryable"
