"""What a person sees in a terminal, and what signals do."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.e2e.command_line import CommandLine
from tests.support.stack import reachable_directory

pytestmark = pytest.mark.e2e
DATA = ("--set", "data.name=walk")
SEEN_SECONDS = 60.0


def seen_in_a_terminal(milepost: CommandLine, *arguments: str) -> tuple[int, str]:
    """Run a command on a pseudo terminal of 160 columns; return its exit code and all it drew."""
    master, slave = pty.openpty()
    environment = {**milepost.environment(), "TERM": "xterm", "COLUMNS": "160"}
    process = subprocess.Popen(
        milepost.words(*arguments), stdin=slave, stdout=slave, stderr=slave, env=environment, close_fds=True
    )
    os.close(slave)
    drawn = b""
    deadline = time.monotonic() + SEEN_SECONDS
    try:
        while select.select([master], [], [], deadline - time.monotonic())[0]:
            try:
                part = os.read(master, 65536)
            except OSError:  # Linux says so when the other side is closed
                break
            if not part:
                break
            drawn += part
        return process.wait(SEEN_SECONDS), drawn.decode(errors="replace")
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_follow_draws_a_bar_with_progress_rate_and_time_left(milepost: CommandLine) -> None:
    """Units of total and percent, bars a second, time left, newest checkpoint and its age."""
    operation_id = milepost.json(
        "start",
        "backtest",
        *DATA,
        "--pace",
        "1500",
        "--checkpoint-every-units",
        "2000",
        "--stop-at-unit",
        "9000",
    )["operation_id"]
    code, drawn = seen_in_a_terminal(milepost, "follow", operation_id)
    assert code == 1
    assert "of 10,000 bars (" in drawn
    assert "bars/s" in drawn
    assert "left" in drawn
    assert re.search(r"checkpoint at \d,000", drawn)
    assert f"milepost resume {operation_id}" in drawn


def test_interrupted_following_leaves_the_operation_alone(milepost: CommandLine) -> None:
    """Ctrl-C ends the watching with 130; the operation goes on."""
    operation_id = milepost.json("start", "backtest", *DATA, "--pace", "1000")["operation_id"]
    watcher = milepost.spawn("follow", operation_id, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert watcher.stdout is not None
    with watcher.stdout:
        assert "requested" in watcher.stdout.readline()
        watcher.send_signal(signal.SIGINT)
        assert watcher.wait(SEEN_SECONDS) == 130
    assert milepost.json("show", operation_id)["status"] in ("queued", "running")
    milepost("cancel", operation_id, "--follow")


def test_a_worker_in_the_foreground_joins_and_leaves_on_sigterm(milepost: CommandLine) -> None:
    """It appears among the workers and ends with 0."""
    process = milepost.spawn(
        "worker",
        "backtest",
        "--worker-id",
        "extra-1",
        "--json",
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: "extra-1" in {worker["worker_id"] for worker in milepost.json("workers")["workers"]})
        process.terminate()
        assert process.wait(SEEN_SECONDS) == 0
        assert process.stdout is not None
        with process.stdout:
            assert json.loads(process.stdout.read())["worker_id"] == "extra-1"
        until(
            lambda: "extra-1" not in {worker["worker_id"] for worker in milepost.json("workers")["workers"]}
        )
    finally:
        process.kill()
        process.wait()


def test_up_in_the_foreground_runs_until_ctrl_c_and_leaves_no_process(tmp_path: Path) -> None:
    """One JSON document when it is ready, exit code 0, and every process of it is gone."""
    with reachable_directory() as place:
        milepost = CommandLine(place / "stack")
        process = milepost.spawn(
            "up", "--workers", "backtest=1", "--json", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        with process.stdout, ended(process):
            document = json.loads("".join(iter(lambda: next_line(process), "}\n")) + "}")
            assert document["workers"] == ["backtest-1"]
            assert milepost.json("doctor")["ok"] is True
            process.send_signal(signal.SIGINT)
            assert process.wait(SEEN_SECONDS) == 0
        assert [pid for pid in document["processes"].values() if psutil.pid_exists(pid)] == []
        milepost("ps", code=5)


@pytest.mark.long
def test_an_interrupted_demonstration_leaves_no_process(tmp_path: Path) -> None:
    """Ctrl-C in the middle stops its stack."""
    with reachable_directory() as place:
        milepost = CommandLine(place / "elsewhere")
        process = milepost.spawn(
            "demo", "--directory", str(place / "demo"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert process.stderr is not None
        with process.stderr, ended(process):
            said = next(line for line in process.stderr if "Add real prices" in line)
            assert said
            supervisor = psutil.Process(
                json.loads((place / "demo" / "stack.json").read_text())["supervisor"]["pid"]
            )
            family = [supervisor, *supervisor.children(recursive=True)]
            process.send_signal(signal.SIGINT)
            process.stderr.read()
            assert process.wait(SEEN_SECONDS) == 130
        assert [member for member in family if member.is_running()] == []


def next_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "it ended before it was ready"
    return line


@contextmanager
def ended(process: "subprocess.Popen[str]") -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()
        process.wait()


def until(condition, seconds: float = SEEN_SECONDS) -> None:
    """Ask again and again; each question takes a moment of its own."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
