"""G1 by the command line: a training of 100 epochs, cancelled at 30, resumed, and equal."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command_line import CommandLine
from tests.e2e.market import bars, write_bars
from tests.support.stack import reachable_directory

pytestmark = pytest.mark.e2e

SPEC = {
    "data": {"name": "walk"},
    "task": {
        "name": "bars",
        "parameters": {
            "features": {"returns": [1, 3], "rsi": 6},
            "window": 5,
            "model": {"family": "mlp", "hidden_size": 8, "layers": 1, "dropout": 0.1},
        },
    },
    "epochs": 100,
    "batch_size": 64,
    "scheduler": {"name": "cosine"},
    "device": "cpu",
}


@pytest.fixture(scope="module")
def trainers() -> Iterator[CommandLine]:
    """The command, with a stack of two workers for trainings and 300 bars called `walk`."""
    with reachable_directory() as place:
        command = CommandLine(place / "stack")
        command("up", "--detach", "--workers", "training=2")
        try:
            command("data", "add", "walk", str(write_bars(place / "walk.csv", bars(300))))
            (place / "spec.json").write_text(json.dumps(SPEC))
            yield command
        finally:
            command("down")


def start(milepost: CommandLine, *arguments: str) -> str:
    spec = str(milepost.directory.parent / "spec.json")
    return milepost.json("start", "training", spec, *arguments)["operation_id"]


def digests(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}


def test_a_training_cancelled_at_30_of_100_and_resumed_ends_equal_to_the_undisturbed_one(
    trainers: CommandLine, tmp_path: Path
) -> None:
    """Weights, history and metrics of both are the same bytes; the checkpoint is there with its artifacts."""
    undisturbed = start(trainers)
    cancelled = start(trainers, "--stop-at-unit", "30", "--name", "G1")

    assert trainers.json("wait", undisturbed)["status"] == "completed"
    ended = trainers.json("wait", cancelled, code=1)
    assert (ended["status"], ended["unit"], ended["total_units"]) == ("cancelled", 30, 100)
    assert f"milepost resume {cancelled}" in ended["fix"]

    newest = trainers.checkpoints_of(cancelled, reason="cancellation")[0]
    assert (newest["unit"], newest["reason"]) == (30, "cancellation")
    shown = trainers.json("checkpoints", "show", newest["checkpoint_id"])
    assert {"state.json", "model.safetensors"} <= {artifact["name"] for artifact in shown["artifacts"]}

    child = trainers.json("resume", cancelled)["operation_id"]
    done = trainers.json("wait", child)
    assert (done["status"], done["unit"], done["parent_id"]) == ("completed", 100, cancelled)
    events = trainers.json("events", "show", child)["events"]
    (started,) = [event["data"] for event in events if event["event"] == "started"]
    assert (started["unit"], started["checkpoint_id"]) == (30, newest["checkpoint_id"])
    assert started["environment_differences"] == []

    for operation_id, name in ((undisturbed, "a"), (child, "b")):
        trainers("results", operation_id, "--out", str(tmp_path / name))
    left, right = digests(tmp_path / "a"), digests(tmp_path / "b")
    assert {"model.safetensors", "history.parquet", "metrics.json"} <= set(left)
    assert left == right


def test_a_training_that_diverges_says_why_and_exits_with_one(trainers: CommandLine) -> None:
    """`wait`, `follow` and `show` tell the reason; the failure's checkpoint is of the last good unit."""
    optimizer = json.dumps({"name": "sgd", "learning_rate": 1000, "momentum": 0.9})
    label = json.dumps({"name": "return"})
    overrides = ("--set", f"optimizer={optimizer}", "--set", f"task.parameters.label={label}")
    failed = start(trainers, *overrides, "--set", "checkpoint.unit=step")
    ended = trainers.json("wait", failed, code=1)
    assert (ended["status"], ended["failure"]["error_type"]) == ("failed", "DivergedError")
    assert "not finite" in trainers("follow", failed, code=1).err
    assert "not finite" in trainers("show", failed).out
    newest = trainers.checkpoints_of(failed, reason="failure")[0]
    assert (newest["reason"], newest["unit"]) == ("failure", ended["unit"])
