"""Exit codes and JSON of every command on a real stack."""

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.command_line import CommandLine
from tests.e2e.market import bars, write_bars

pytestmark = pytest.mark.e2e
DATA = ("--set", "data.name=walk")


@pytest.fixture(scope="session")
def completed(milepost: CommandLine) -> str:
    """An operation that completed."""
    return milepost.json("start", "backtest", *DATA, "--follow")["operation_id"]


@pytest.fixture(scope="session")
def cancelled(milepost: CommandLine) -> str:
    """An operation that was cancelled at unit 100."""
    operation_id = milepost.json("start", "backtest", *DATA, "--stop-at-unit", "100")["operation_id"]
    milepost("wait", operation_id, code=1)
    return operation_id


def test_json_of_every_command_is_one_document(
    milepost: CommandLine, completed: str, cancelled: str, tmp_path
) -> None:
    """Nothing but JSON on stdout, with the keys that scripts rely on."""
    shown = milepost.json("show", completed)
    keys = {
        "operation_id",
        "kind",
        "status",
        "unit",
        "total_units",
        "attempt",
        "worker_id",
        "parent_id",
        "root_id",
    }
    assert keys | {"checkpoint_id", "reason"} <= shown.keys()
    checkpoint = milepost.checkpoints_of(cancelled)[0]["checkpoint_id"]
    commands = [
        ("up", "--detach"),
        ("ps",),
        ("ps", "--all", "--status", "completed", "--kind", "backtest"),
        ("show", completed),
        ("wait", completed),
        ("results", completed, "--out", str(tmp_path / "out")),
        ("checkpoints", "list"),
        ("checkpoints", "show", checkpoint),
        ("events", "show", completed),
        ("data", "list"),
        ("data", "sample", "ibm"),
        ("workers",),
        ("doctor",),
        ("spec", "example", "backtest"),
        ("spec", "schema", "backtest"),
        ("start", "backtest", *DATA, "--dry-run"),
        ("resume", cancelled, "--dry-run"),
    ]
    for command in commands:
        assert isinstance(milepost.json(*command), dict), command
    listed = milepost.json("ps", "--all")["operations"]
    assert keys <= listed[0].keys()


def test_the_example_spec_is_valid_once_its_data_is_there(milepost: CommandLine) -> None:
    """What `spec example` prints is accepted with the name of a dataset put in."""
    example = milepost("spec", "example", "backtest").out
    accepted = milepost.json("start", "backtest", "-", *DATA, "--dry-run", stdin=example)
    assert accepted["verdict"] == "accepted"


def test_a_completed_operation_exits_with_0_and_a_cancelled_one_with_1(
    milepost: CommandLine, completed: str, cancelled: str
) -> None:
    """For wait and follow alike, and the status is said."""
    assert "completed" in milepost("wait", completed).out
    assert milepost.json("wait", cancelled, code=1)["status"] == "cancelled"
    assert "was cancelled" in milepost("wait", cancelled, code=1).err
    milepost("follow", completed)
    milepost("follow", cancelled, code=1)


def test_waiting_has_an_end_when_one_is_given(milepost: CommandLine) -> None:
    """After the time exit code 1 and the state so far; the operation goes on."""
    slow = milepost.json("start", "backtest", *DATA, "--pace", "10")["operation_id"]
    document = milepost.json("wait", slow, "--timeout", "1", code=1)
    assert document["code"] == "timeout"
    assert document["operation_id"] == slow
    assert milepost.json("cancel", slow, "--follow")["status"] == "cancelled"


def test_what_does_not_exist_exits_with_3(milepost: CommandLine) -> None:
    """Operations, checkpoints, kinds and samples, by full id and by a beginning."""
    for command in (
        ("show", "op-zzzzzzzzzzzzzzzz"),
        ("show", "zzz"),
        ("wait", "op-zzzzzzzzzzzzzzzz"),
        ("follow", "op-zzzzzzzzzzzzzzzz"),
        ("cancel", "op-zzzzzzzzzzzzzzzz"),
        ("resume", "op-zzzzzzzzzzzzzzzz"),
        ("resume", "op-zzzzzzzzzzzzzzzz", "--pace", "5"),
        ("results", "op-zzzzzzzzzzzzzzzz", "--out", "x"),
        ("events", "show", "op-zzzzzzzzzzzzzzzz"),
        ("checkpoints", "show", "cp-zzzzzzzzzzzzzzzz"),
        ("spec", "example", "knitting"),
        ("data", "sample", "tsla"),
    ):
        document = milepost.json(*command, code=3)
        assert {"code", "message", "fix"} <= document.keys(), command


def test_what_is_refused_exits_with_4_and_names_every_problem(milepost: CommandLine, completed: str) -> None:
    """Wrong specs, unknown data, and operations that are over."""
    refused = milepost.json(
        "start",
        "backtest",
        *DATA,
        "--set",
        "strategy.name=sma-cross",
        "--set",
        "strategy.parameters.fast=50",
        "--set",
        "strategy.parameters.slow=30",
        "--set",
        "initial_cash=-1",
        "--set",
        "nonsense=1",
        code=4,
    )
    assert refused["code"] == "invalid-spec"
    fields = {problem["field"] for problem in refused["problems"]}
    assert any("initial_cash" in field for field in fields)
    assert any("nonsense" in field for field in fields)
    assert milepost.json("start", "backtest", "--set", "data.name=none", code=4)["code"] == "unknown-dataset"
    assert milepost.json("start", "knitting", code=4)["code"] == "unknown-kind"
    assert milepost.json("cancel", completed, code=4)["code"] == "not-cancellable"
    assert milepost.json("resume", completed, code=4)["code"] == "not-resumable"


def test_results_are_verified_and_never_overwrite_silently(
    milepost: CommandLine, completed: str, cancelled: str, tmp_path: Path
) -> None:
    """Equal files stay, different ones are refused, a cancelled operation has none."""
    out = tmp_path / "out"
    files = milepost.json("results", completed, "--out", str(out))["files"]
    assert {path.name for path in out.iterdir()} == {file["name"] for file in files}
    assert {file["state"] for file in milepost.json("results", completed, "--out", str(out))["files"]} == {
        "unchanged"
    }
    (out / files[0]["name"]).write_text("mine")
    assert milepost.json("results", completed, "--out", str(out), code=1)["code"] == "would-overwrite"
    milepost("results", completed, "--out", str(out), "--force")
    assert milepost.json("results", cancelled, "--out", str(out), code=1)["code"] == "no-results"


def test_follow_prints_one_json_document_for_each_event(milepost: CommandLine, completed: str) -> None:
    """From the first event to the last one."""
    lines = [json.loads(line) for line in milepost("follow", completed, "--json").out.splitlines()]
    assert lines[0]["event"] == "requested"
    assert lines[-1]["event"] == "completed"
    sequences = [line["sequence"] for line in lines]
    assert sequences == sorted(set(sequences))


def test_doubtful_data_is_added_with_its_doubts_or_refused_when_asked(
    milepost: CommandLine, tmp_path
) -> None:
    """A spike is named with its row; the bars are added, unless doubts are to be refused."""
    rows = bars(40)
    for column in range(1, 5):
        rows[20][column] *= 10
    path = write_bars(tmp_path / "spike.csv", rows)
    refused = milepost.json("data", "add", "doubtful", str(path), "--refuse-doubtful", code=4)
    assert refused["code"] == "doubtful-data"
    added = milepost.json("data", "add", "doubtful", str(path))
    assert added["doubts"] == refused["problems"]
    assert added["doubts"][0]["field"].startswith("row 22")
    assert "spike" in milepost("data", "add", "doubtful", str(path)).err


def test_data_with_faults_is_refused_and_every_fault_is_named_with_its_row(
    milepost: CommandLine, tmp_path
) -> None:
    """Duplicate, unsorted, missing, not positive and inconsistent values; nothing is added."""
    rows = bars(40)
    rows[5][0] = rows[4][0]
    rows[10][1] = ""
    rows[15][4] = -1.0
    rows[20][2], rows[20][3] = rows[20][3], rows[20][2]
    rows[30], rows[31] = rows[31], rows[30]
    path = write_bars(tmp_path / "faulty.csv", rows)
    refused = milepost.json("data", "add", "faulty", str(path), code=4)
    assert refused["code"] == "invalid-data"
    said = " / ".join(f"{problem['field']}: {problem['message']}" for problem in refused["problems"])
    # Row 1 is the header, so the bar with index 5 stands in row 7.
    for row in (7, 12, 17, 22, 33):
        assert f"row {row}" in said, said
    names = {dataset["name"] for dataset in milepost.json("data", "list")["datasets"]}
    assert "faulty" not in names
    shown = milepost("data", "add", "faulty", str(path), code=4).err
    assert "row 7" in shown
    missing = tmp_path / "missing.csv"
    missing.write_text("timestamp,open,high\n2020-01-01,1,1\n")
    columns = milepost.json("data", "add", "faulty", str(missing), code=4)
    assert "close" in json.dumps(columns)
    milepost("data", "add", "faulty", str(tmp_path / "not-there.csv"), code=2)
    milepost("data", "add", "Not A Name", str(path), code=2)


def test_no_secret_is_printed(milepost: CommandLine) -> None:
    """Neither `up`, nor `doctor`, nor an error shows a password."""
    stack = json.loads((milepost.directory / "stack.json").read_text())
    endpoints = stack["endpoints"]
    secrets = {
        endpoints["MILEPOST_S3_SECRET_KEY"],
        urlsplit(endpoints["MILEPOST_NATS_URL"]).password,
        urlsplit(endpoints["MILEPOST_DATABASE_URL"]).password,
    }
    assert all(secrets), "there are some to be kept"
    for command in (
        ("up", "--detach"),
        ("up", "--detach", "--json"),
        ("doctor",),
        ("doctor", "--json"),
        ("workers",),
    ):
        said = milepost(*command)
        assert not any(secret in said.out + said.err for secret in secrets)
