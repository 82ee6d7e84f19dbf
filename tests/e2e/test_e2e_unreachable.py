"""A stack whose parts do not answer: exit code 5, and a way on that cannot do harm."""

import json
import os
import signal

import pytest

from tests.e2e.command_line import CommandLine

pytestmark = pytest.mark.e2e
DATA = ("--set", "data.name=walk")


def test_a_command_without_a_verdict_names_the_id_to_repeat_it_with_and_then_it_took_effect_once(
    milepost: CommandLine,
) -> None:
    """A hanging orchestrator: 5; once it is back, repeating as told makes no second operation."""
    pid = json.loads((milepost.directory / "stack.json").read_text())["processes"]["orchestrator"]
    before = len(milepost.json("ps", "--all")["operations"])
    os.kill(pid, signal.SIGSTOP)
    try:
        unanswered = milepost.json("start", "backtest", *DATA, "--stop-at-unit", "5", code=5)
        assert unanswered["code"] == "no-verdict"
        assert unanswered["command_id"] in unanswered["fix"]
        assert milepost.json("ps", code=5)["code"] == "unreachable"
    finally:
        os.kill(pid, signal.SIGCONT)
    arguments = ("start", "backtest", *DATA, "--stop-at-unit", "5", "--command-id", unanswered["command_id"])
    operations = {milepost.json(*arguments)["operation_id"] for _ in range(2)}
    assert len(operations) == 1
    milepost("wait", *operations, code=1)
    assert len(milepost.json("ps", "--all")["operations"]) == before + 1
