"""Record the histories of this folder on a real stack: ``python -m tests.histories.record``.

Run it when events get a new version, and before a release; what was recorded before stays, as it is what older
versions wrote. Each history is one lineage, in the format of ``milepost events export``, with the states that
it folds to.
"""

import asyncio
import json
import signal
import sys
from pathlib import Path

import httpx
import psutil
from milepost_contracts.events import Progress, StateSnapshot
from milepost_infra.running import read_running
from milepost_orchestrator.application.replaying import state_document
from milepost_runtime.bus.connection import connect
from milepost_runtime.bus.event_log import JetStreamEventLog
from milepost_runtime.store.s3 import S3ArtifactStore

from tests.e2e.command_line import LOOKS_MAX, CommandLine
from tests.e2e.market import bars, write_bars
from tests.histories.folding import fold_history
from tests.support.stack import reachable_directory

HERE = Path(__file__).parent
DATA = ("start", "backtest", "--set", "data.name=walk")
SLOW = ("--pace", "2000", "--checkpoint-every-units", "1500")


def main() -> None:
    """Record stories as ``<name>-<story>.jsonl``: ``v1`` and all of them unless named."""
    version, *chosen = sys.argv[1:] or ["v1"]
    stories = [story for story in STORIES if not chosen or story.__name__ in chosen]
    with reachable_directory() as place:
        milepost = CommandLine(place / "stack")
        milepost("up", "--detach")
        try:
            milepost("data", "add", "walk", str(write_bars(place / "walk.csv", bars(10_000))))
            for story in stories:
                ids = story(milepost)
                path = HERE / f"{version}-{story.__name__.replace('_', '-')}.jsonl"
                milepost("events", "export", *ids, "--redact", "host", "--out", str(path))
                write_states(path)
        finally:
            milepost("down")


def write_states(path: Path) -> None:
    """Write the golden states next to a history."""
    states = {operation_id: state_document(state) for operation_id, state in fold_history(path).items()}
    path.with_suffix(".states.json").write_text(json.dumps(states, indent=1, sort_keys=True) + "\n")


def cancelled_and_resumed(milepost: CommandLine) -> list[str]:
    """Cancelled by command in the middle, resumed, completed."""
    first = milepost.json(*DATA, *SLOW, "--name", "history")["operation_id"]
    wait_for(milepost, first, StateSnapshot)
    milepost("cancel", first, "--reason", "to be recorded")
    milepost("wait", first, code=1)
    child = milepost.json("resume", first)["operation_id"]
    milepost("wait", child)
    return [first, child]


def refused(milepost: CommandLine) -> list[str]:
    """A checkpoint whose artifact is gone before the orchestrator has looked at it."""
    operation_id = milepost.json(*DATA, *SLOW)["operation_id"]
    orchestrator = psutil.Process(read_running(milepost.directory).processes["orchestrator"])
    orchestrator.send_signal(signal.SIGSTOP)
    try:
        snapshot = wait_for(milepost, operation_id, StateSnapshot)
        store = S3ArtifactStore(read_running(milepost.directory).endpoints.store)
        for artifact in snapshot.artifacts:
            store.delete_artifact(artifact.digest)
        store.close()
    finally:
        orchestrator.send_signal(signal.SIGCONT)
    milepost("wait", operation_id)
    return [operation_id]


def killed(milepost: CommandLine) -> list[str]:
    """The computing child is killed: its attempt is lost, the next one goes on."""
    operation_id = milepost.json(*DATA, *SLOW)["operation_id"]
    wait_for(milepost, operation_id, StateSnapshot)
    owner_of(milepost, operation_id).children()[0].kill()
    milepost("wait", operation_id)
    return [operation_id]


def released(milepost: CommandLine) -> list[str]:
    """The worker is told to stop: it saves and gives the operation back."""
    operation_id = milepost.json(*DATA, *SLOW)["operation_id"]
    wait_for(milepost, operation_id, StateSnapshot)
    owner_of(milepost, operation_id).terminate()
    milepost("wait", operation_id)
    return [operation_id]


def prioritized(milepost: CommandLine) -> list[str]:
    """Held, put before others, released, completed."""
    milepost("dispatch", "hold", "backtest", "--reason", "to be recorded")
    try:
        operation_id = milepost.json(*DATA, "--name", "history", "--priority", "1")["operation_id"]
        milepost("prioritize", operation_id, "5", "--reason", "to be recorded")
    finally:
        milepost("dispatch", "release", "backtest")
    milepost("wait", operation_id)
    return [operation_id]


def failed_and_retried(milepost: CommandLine) -> list[str]:
    """With one attempt allowed, a killed child is the end; a retry does it again."""
    running = read_running(milepost.directory)
    command = {
        "kind": "backtest",
        "spec": {"data": {"name": "walk"}, "strategy": {"name": "sma-cross"}},
        "options": {"max_attempts": 1, "pace_units_per_second": 2000, "checkpoint": {"every_units": 1500}},
    }
    answer = httpx.post(f"{running.http_url}/operations", json=command, trust_env=False)
    operation_id = answer.raise_for_status().json()["operation_id"]
    wait_for(milepost, operation_id, StateSnapshot)
    owner_of(milepost, operation_id).children()[0].kill()
    milepost("wait", operation_id, code=1)
    child = milepost.json("retry", operation_id)["operation_id"]
    milepost("wait", child)
    return [operation_id, child]


def kept_and_deleted(milepost: CommandLine) -> list[str]:
    """A checkpoint on request, pinned, unpinned and deleted."""
    operation_id = milepost.json(*DATA, *SLOW)["operation_id"]
    wait_for(milepost, operation_id, Progress)
    milepost("checkpoints", "now", operation_id)
    milepost("wait", operation_id)
    checkpoint_id = milepost.checkpoints_of(operation_id)[-1]["checkpoint_id"]
    milepost("checkpoints", "pin", checkpoint_id, "--reason", "to be recorded")
    milepost("checkpoints", "unpin", checkpoint_id)
    milepost("checkpoints", "delete", checkpoint_id)
    return [operation_id]


def archived(milepost: CommandLine) -> list[str]:
    """Archived after it was cancelled, resumed from there, and archived once more."""
    first = milepost.json(*DATA, "--stop-at-unit", "5000")["operation_id"]
    milepost("wait", first, code=1)
    archive(milepost, first)
    child = milepost.json("resume", first)["operation_id"]
    milepost("wait", child)
    archive(milepost, first)
    return [first, child]


def archive(milepost: CommandLine, operation_id: str) -> None:
    """Archive what has ended; the operation must be among it, which its checkpoint may put off."""
    for _ in range(LOOKS_MAX):
        done = milepost.json("archive", "--older-than", "0s")
        if operation_id in {each["operation_id"] for each in done["archived"]}:
            return
    raise RuntimeError(f"{operation_id} stays: {done['skipped']}")


def owner_of(milepost: CommandLine, operation_id: str) -> psutil.Process:
    """The host process of the worker that has the operation."""
    claims = milepost.json("events", "show", operation_id, "--type", "claimed")["events"]
    return psutil.Process(claims[-1]["data"]["pid"])


def wait_for(milepost: CommandLine, operation_id: str, event: type):
    """Wait on the log for an event."""
    bus = read_running(milepost.directory).endpoints.bus

    async def wait():
        connection = await connect(bus, name="recording")
        try:
            async with asyncio.timeout(60):
                async for entry in JetStreamEventLog(connection, bus).tail(operation_id=operation_id):
                    if isinstance(entry.event, event):
                        return entry.event
        finally:
            await connection.close()

    return asyncio.run(wait())


STORIES = (
    cancelled_and_resumed,
    refused,
    killed,
    released,
    failed_and_retried,
    kept_and_deleted,
    prioritized,
    archived,
)

if __name__ == "__main__":
    main()
