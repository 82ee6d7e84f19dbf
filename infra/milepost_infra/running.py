"""A running stack as others see it: ``stack.json`` in its directory.

Authority: the supervisor writes the file once everything is ready, whenever a pid changes, and removes it
last. Failures: a file left by a killed supervisor is told from a live one by pid and start of that process.
"""

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from milepost_infra.child_log import tail
from milepost_infra.endpoints import StackEndpoints
from milepost_infra.errors import SupervisorError
from milepost_infra.private_files import write_private
from milepost_infra.processes import ProcessMark, find_process, kill_all, wait_ended

FILE_NAME = "stack.json"
STOP_SECONDS_MAX = 120.0


@dataclass(frozen=True, slots=True)
class RunningStack:
    """A stack that is ready: where it is and which processes it has."""

    directory: Path
    endpoints: StackEndpoints
    http_url: str
    """The orchestrator, such as ``http://127.0.0.1:8080``."""
    supervisor: ProcessMark
    processes: dict[str, int]
    """Pids by name: ``nats``, ``postgres``, ``s3`` where embedded, ``orchestrator``, and each worker's id."""

    def save(self) -> None:
        """Write ``stack.json``, atomically, mode 0600: it holds the credentials."""
        document = {
            "endpoints": self.endpoints.environment(),
            "http_url": self.http_url,
            "supervisor": asdict(self.supervisor),
            "processes": self.processes,
        }
        write_private(self.directory / FILE_NAME, json.dumps(document, indent=2) + "\n")


def read_running(directory: Path) -> RunningStack | None:
    """Return the stack that runs in ``directory``, None when none does.

    Raises:
        SupervisorError: the file is there and its process lives, but the file cannot be read.
    """
    path = directory.absolute() / FILE_NAME
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        mark = ProcessMark(**document["supervisor"])
        if find_process(mark) is None:
            return None
        return RunningStack(
            directory=path.parent,
            endpoints=StackEndpoints.from_environment(document["endpoints"]),
            http_url=document["http_url"],
            supervisor=mark,
            processes=document["processes"],
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise SupervisorError(
            f"{path} is not a file of this version; end its processes and remove it"
        ) from error


def stop(directory: Path, *, seconds_max: float = STOP_SECONDS_MAX) -> bool:
    """Stop the stack that runs in ``directory`` and wait until it is gone; say whether one ran. Blocking.

    Workers are asked first and save their checkpoints. When that takes longer than ``seconds_max`` everything
    is killed.
    """
    running = read_running(directory)
    if running is None:
        return False
    supervisor = find_process(running.supervisor)
    if supervisor is None:
        return True
    family = [supervisor]
    with contextlib.suppress(psutil.NoSuchProcess):
        family += supervisor.children(recursive=True)
        supervisor.terminate()
    late = wait_ended([supervisor], seconds_max=seconds_max)
    if late:
        kill_all(family)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(supervisor.pid, os.WNOHANG)  # ours, when the same process started it
    (running.directory / FILE_NAME).unlink(missing_ok=True)
    return True


def supervisor_log(directory: Path) -> str:
    """Return the last lines of the supervisor's log."""
    return tail(directory.absolute() / "logs" / "supervisor.log")
