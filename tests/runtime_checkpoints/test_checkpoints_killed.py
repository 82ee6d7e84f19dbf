"""Real processes killed with SIGKILL while and after they save."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from milepost_runtime.settings import StoreSettings

pytestmark = pytest.mark.faults

REPOSITORY = Path(__file__).parents[2]


def run(command: str, root: Path, *, store: StoreSettings | None = None, stride: int = 1):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MILEPOST_")}
    if store is not None:
        environment |= {
            "MILEPOST_S3_ENDPOINT": store.endpoint,
            "MILEPOST_S3_ACCESS_KEY": store.access_key,
            "MILEPOST_S3_SECRET_KEY": store.secret_key,
            "MILEPOST_S3_BUCKET": store.bucket,
            "MILEPOST_S3_REGION": store.region,
        }
    return subprocess.run(
        [sys.executable, "-m", "tests.runtime_checkpoints.dying_saver", command, str(root), str(stride)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def assert_saved_data_outlives_its_process(root: Path, store: StoreSettings | None) -> None:
    assert run("save-and-die", root, store=store).returncode == -signal.SIGKILL
    loading = run("load", root, store=store)
    assert loading.returncode == 0, loading.stderr
    assert json.loads(loading.stdout) == {
        "on_record": [10],
        "staged": [],
        "loaded": 10,
        "intact": True,
        "skipped": [],
    }


def assert_no_kill_leaves_a_torn_checkpoint(finished: subprocess.CompletedProcess[str]) -> list[dict]:
    assert finished.returncode == 0, finished.stderr
    rounds = [json.loads(line) for line in finished.stdout.splitlines()]
    *killed, last = rounds
    assert (last["killed"], last["status"]) == (False, 0), "the last save gets through"
    for one in killed:
        assert one["killed"], one
        assert one["found"]["on_record"] in ([10], [10, 20]), one
        assert one["found"]["loaded"] == one["found"]["on_record"][-1], one
        assert one["found"]["staged"] in ([], [20]), one
    for one in rounds:
        assert one["found"]["intact"], one
        assert one["found"]["skipped"] == [], one
        assert (one["again"]["on_record"], one["again"]["intact"]) == ([10, 20], True), one
    return killed


def test_saved_checkpoint_outlives_its_process(tmp_path):
    """Save, kill -9, start again, load: the data is intact and every digest verified."""
    assert_saved_data_outlives_its_process(tmp_path, None)


def test_saved_checkpoint_outlives_its_process_in_s3(tmp_path, tenant):
    """The same with a real S3 server."""
    assert_saved_data_outlives_its_process(tmp_path, tenant.store)


def test_kill_at_every_step(tmp_path):
    """Killed before each single step of a save, what loads is the checkpoint before or the whole new one."""
    killed = assert_no_kill_leaves_a_torn_checkpoint(run("every-step", tmp_path))
    assert len(killed) > 60
    assert {one["found"]["loaded"] for one in killed} == {10, 20}
    assert [one["found"]["loaded"] for one in killed] == sorted(one["found"]["loaded"] for one in killed)


def test_kill_at_steps_of_a_save_to_s3(tmp_path, tenant):
    """The same with a real S3 server, at every third step."""
    killed = assert_no_kill_leaves_a_torn_checkpoint(
        run("every-step", tmp_path, store=tenant.store, stride=3)
    )
    assert len(killed) > 20
    assert {one["found"]["loaded"] for one in killed} == {10, 20}
