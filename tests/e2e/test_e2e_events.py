"""`milepost events` by the command line: show, step, fold, export, import, diff."""

import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.command_line import CommandLine

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def ended(milepost: CommandLine) -> tuple[str, str]:
    """A backtest that was cancelled and resumed, and its child, both ended."""
    words = ("start", "backtest", "--set", "data.name=walk", "--stop-at-unit", "5000")
    first = milepost.json(*words)["operation_id"]
    milepost("wait", first, code=1)
    milepost.checkpoints_of(first, unit=5000)
    child = milepost.json("resume", first)["operation_id"]
    milepost("wait", child)
    return first, child


def test_show_filters_and_follows(milepost: CommandLine, ended: tuple[str, str]) -> None:
    """Side, type and sequence choose; --follow shows what was and waits for more until Ctrl-C."""
    first, _ = ended
    control = milepost.json("events", "show", first, "--side", "control")["events"]
    assert {event["side"] for event in control} == {"control"}
    only = milepost.json("events", "show", first, "--type", "claimed", "--type", "cancelled")["events"]
    assert [event["event"] for event in only] == ["claimed", "cancelled"]
    last = only[-1]["sequence"]
    assert milepost.json("events", "show", first, "--from", str(last + 10_000))["events"] == []
    assert milepost.json("events", "show", first, "--type", "nothing", code=2)["code"] == "usage"
    assert milepost.json("events", "show", first, "--since", "soon", code=2)["code"] == "usage"

    following = milepost.spawn("events", "show", first, "--follow", "--json", stdout=subprocess.PIPE)
    try:
        assert json.loads(following.stdout.readline())["event"] == "requested"
        following.send_signal(signal.SIGINT)
        following.communicate(timeout=30)
    finally:
        following.kill()
    assert following.returncode == 130


def test_step_and_fold_agree(milepost: CommandLine, ended: tuple[str, str]) -> None:
    """The state after each step is the state as of its sequence, and the last one is what is shown."""
    first, _ = ended
    lines = milepost("events", "step", first, "--no-progress", "--json").out.splitlines()
    steps = [json.loads(line) for line in lines]
    assert steps[0]["event"]["event"] == "requested"
    assert {"path": "status", "before": "queued", "after": "running"} in steps[1]["changes"]
    for step in (steps[1], steps[-1]):
        past = milepost.json("events", "fold", first, "--sequence", str(step["event"]["sequence"]))
        assert past["state"] == step["state"]
    shown = milepost.json("show", first)
    assert {name: shown[name] for name in ("status", "unit", "child_id")} == {
        name: steps[-1]["state"][name] for name in ("status", "unit", "child_id")
    }
    words = milepost("events", "step", first, "--no-progress").out
    assert "queued" in words
    assert '-> "running"' in words
    folded = milepost("events", "fold", first).out.splitlines()
    assert next(line.split() for line in folded if line.startswith("status")) == ["status", "cancelled"]
    assert milepost.json("events", "fold", first, "--sequence", "0", code=3)["code"] == "operation-not-found"


def test_step_goes_by_keys_in_a_terminal(milepost: CommandLine, ended: tuple[str, str]) -> None:
    """n, b, f, G, g, s and q move as they say, and every screen tells the event and what it changed."""
    first, _ = ended
    master, slave = pty.openpty()
    environment = {**milepost.environment(), "TERM": "xterm", "COLUMNS": "160"}
    process = subprocess.Popen(
        milepost.words("events", "step", first, "--no-progress"),
        stdin=slave, stdout=slave, stderr=slave, env=environment, close_fds=True,
    )  # fmt: skip
    os.close(slave)
    try:
        drawn = ""

        def press(key: str, until: str) -> None:
            nonlocal drawn
            os.write(master, key.encode())
            seen = ""
            while until not in seen:
                seen += os.read(master, 65536).decode(errors="replace")
            drawn += seen

        press("", "requested")
        press("n", "claimed")
        press("b", "requested")
        press("b", "nothing further")
        press("f", "claimed")
        press("s", '"operation_id"')
        press("G", "[")
        press("?", "q quit")
        os.write(master, b"q")
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)
    assert "running" in drawn


def test_export_import_and_diff(milepost: CommandLine, ended: tuple[str, str], tmp_path: Path) -> None:
    """The same events give the same file; it reads as the log does, brings nothing new, differs when changed."""
    first, child = ended
    paths = [tmp_path / name for name in ("a.jsonl", "b.jsonl", "redacted.jsonl")]
    said = milepost.json("events", "export", first, child, "--out", str(paths[0]))
    milepost("events", "export", child, first, "--out", str(paths[1]))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert said["operations"] == 2

    of_log = milepost.json("events", "show", first)
    assert milepost.json("events", "show", str(paths[0]), "--operation", first) == of_log
    assert milepost.json("events", "show", str(paths[0]), code=2)["code"] == "usage"
    assert milepost.json("events", "import", str(paths[0]))["events_written"] == 0

    fields = ("spec.data.name", "inputs.*.name", "host", "source")
    words = tuple(word for field in fields for word in ("--redact", field))
    milepost("events", "export", first, "--out", str(paths[2]), *words)
    hidden = paths[2].read_text()
    assert "walk" not in hidden
    assert '"redacted":["spec.data.name","inputs.*.name","host","source"]' in hidden
    conflict = milepost.json("events", "import", str(paths[2]), code=1)
    assert "other events" in conflict["message"]
    assert milepost.json("events", "export", first, "--redact", "pid", code=1)["code"] == "redaction"

    equal = milepost.json("events", "diff", first, str(tmp_path / "only.jsonl"), code=3)
    assert equal["code"] == "no-file"
    milepost("events", "export", first, "--out", str(tmp_path / "only.jsonl"))
    assert milepost.json("events", "diff", first, str(tmp_path / "only.jsonl"), "--exact")["equal"] is True
    changed = milepost.json("events", "diff", first, str(paths[2]), code=1)
    assert changed["differences"][0]["differences"][0]["path"] == "spec.data.name"
    assert "cancelled" in milepost("events", "diff", first, child, code=1).out

    damaged = tmp_path / "damaged.jsonl"
    damaged.write_text(paths[0].read_text().replace("5000", "5001"))
    assert milepost.json("events", "import", str(damaged), code=1)["code"] == "history-damaged"
