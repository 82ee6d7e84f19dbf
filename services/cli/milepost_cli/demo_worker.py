"""Stop one worker of the demonstration, found by its heartbeat, and wait until it is gone."""

import asyncio
import os
import signal
import socket

from milepost_cli import reader
from milepost_cli.api import OrchestratorApi
from milepost_cli.errors import CommandError

GONE_SECONDS = 15.0
LOOK_EVERY_SECONDS = 0.1


class WorkerNotStoppedError(CommandError):
    """The worker of the demonstration could not be stopped."""

    default_code = "demo"


async def stop_worker(api: OrchestratorApi, worker_id: str) -> int:
    """Send SIGTERM to the process of a worker of this machine, wait for its end, and return its pid.

    Raises:
        WorkerNotStoppedError: it is not among the live ones, not on this machine, or does not end.
    """
    found = [
        item
        for item in reader.objects(api.get("/workers"), "workers")
        if reader.text(item, "worker_id") == worker_id
    ]
    pid = reader.whole(found[0], "pid") if found else None
    if pid is None or reader.text(found[0], "host") != socket.gethostname():
        raise WorkerNotStoppedError(
            f"worker {worker_id} is not alive here", fix="run the demonstration again"
        )
    os.kill(pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(GONE_SECONDS):
            while not _is_gone(pid):  # noqa: ASYNC110 - no child of ours: nothing tells us of its end
                await asyncio.sleep(LOOK_EVERY_SECONDS)
    except TimeoutError as error:
        raise WorkerNotStoppedError(
            f"worker {worker_id} (pid {pid}) does not end", fix="run the demonstration again"
        ) from error
    return pid


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
