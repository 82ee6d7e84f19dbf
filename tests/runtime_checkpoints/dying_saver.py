"""Saves checkpoints in real processes and kills them with SIGKILL; run by ``test_checkpoints_killed.py``.

``save-and-die``: save checkpoint 10, then die. ``load``: load it in a process of its own and say what came back.
``every-step``: fork a warmed process again and again; each child saves checkpoint 20 over a good checkpoint 10
and kills itself before its n-th step, n = 1, 2, ... until a save gets through. A step is any file-system or
network event that the interpreter audits (PEP 578), each fsync, and each piece of a file that is being written.
After each kill the parent looks at what a new process would find. One JSON line for each kill goes to stdout.
"""

import itertools
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from milepost_contracts.checkpoints import CheckpointReason, Manifest
from milepost_runtime.checkpoints.service import CheckpointService
from milepost_runtime.checkpoints.spool import Spool
from milepost_runtime.settings import StoreSettings
from milepost_runtime.store.directory import DirectoryArtifactStore
from milepost_runtime.store.port import ArtifactStore
from milepost_runtime.store.s3 import S3ArtifactStore

from tests.runtime_checkpoints.samples import data_at, state_at, trades_at

STEPS = ("open", "os.", "shutil.", "socket.", "http.client.", "milepost.")
OPERATION = "op-1"


def main() -> None:
    command, root, stride = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if command == "save-and-die":
        save(make_service(root), 10)
        os.kill(os.getpid(), signal.SIGKILL)
    elif command == "load":
        print(json.dumps(what_is_found(make_service(root), root)))
    else:
        kill_at_every_step(root, stride)


def make_store(root: Path) -> ArtifactStore:
    if "MILEPOST_S3_ENDPOINT" in os.environ:
        return S3ArtifactStore(StoreSettings.from_environment())
    return DirectoryArtifactStore(root / "store")


def make_service(root: Path) -> CheckpointService:
    return CheckpointService(make_store(root), Spool(root / "spool"))


def save(service: CheckpointService, unit: int) -> Manifest:
    return service.save_checkpoint(
        OPERATION,
        f"cp-{unit}",
        data_at(unit),
        kind="backtest",
        attempt=1,
        total_units=100,
        reason=CheckpointReason.PERIODIC,
        saved_at=datetime(2026, 11, 1, 12, unit, tzinfo=UTC),
    )


def kill_at_every_step(root: Path, stride: int) -> None:
    save(make_service(root), 20)  # so that nothing is imported or cached for the first time in a child
    reset(make_service(root))
    save(make_service(root), 10)
    step = 1
    while True:
        child = os.fork()
        if child == 0:
            save_and_die_at(root, step)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        finding = what_is_found(make_service(root), root)
        save(make_service(root), 20)  # the next process does it again, over whatever is left
        again = what_is_found(make_service(root), root)
        reset(make_service(root))
        print(
            json.dumps({"step": step, "killed": killed, "status": status, "found": finding, "again": again})
        )
        if not killed:
            return
        step += stride


def save_and_die_at(root: Path, step: int) -> None:
    """In the child: save, and kill this process just before its ``step``-th step."""
    service = make_service(root)
    steps = itertools.count(1)  # files are fsynced by several threads
    fsync: Callable[[int], None] = os.fsync

    def count(event: str, arguments: object) -> None:
        if event.startswith(STEPS) and next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted_fsync(descriptor: int) -> None:
        count("os.fsync", ())
        fsync(descriptor)

    os.fsync = counted_fsync
    sys.addaudithook(count)
    status = 1
    try:
        save(service, 20)
        status = 0
    finally:
        os._exit(status)  # a forked child must not run the parent's exit handlers


def reset(service: CheckpointService) -> None:
    service.delete_checkpoint(OPERATION, "cp-20")


def what_is_found(service: CheckpointService, root: Path) -> dict[str, object]:
    """What a process that starts now finds: checkpoints on record, and the newest good one."""
    spool = Spool(root / "spool")
    spool.remove_torn()
    staged = [spool.load(path).unit for path in spool.pending(OPERATION)]
    manifests = service.list_manifests(OPERATION)
    with tempfile.TemporaryDirectory(dir=root) as directory:
        found = service.newest_good(reversed(manifests), Path(directory))
        assert found.loaded is not None
        unit = found.loaded.unit
        intact = (
            found.loaded.state() == state_at(unit)
            and found.loaded.path("trades.parquet").read_bytes() == trades_at(unit)
            and found.loaded.path("equity.parquet").read_bytes() == trades_at(unit + 1)
        )
    return {
        "on_record": [manifest.unit for manifest in manifests],
        "staged": staged,
        "loaded": unit,
        "intact": intact,
        "skipped": [str(error) for error in found.skipped],
    }


if __name__ == "__main__":
    main()
