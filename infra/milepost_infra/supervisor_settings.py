"""What a supervisor runs, and how each service is started."""

import hashlib
import os
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from milepost_runtime.errors import SettingsError

from milepost_infra.embedded.child_process import Launch
from milepost_infra.embedded.ports import HOST
from milepost_infra.endpoints import StackEndpoints

WORKERS_MAX = 64
ORCHESTRATOR_COMMAND = (sys.executable, "-m", "milepost_orchestrator.entrypoints.main")
WORKER_COMMAND = (sys.executable, "-m", "milepost_runtime.worker")


@dataclass(frozen=True, slots=True)
class SupervisorSettings:
    """What to run, and where."""

    directory: Path
    workers: Mapping[str, int] = field(default_factory=dict[str, int])
    """How many workers of each kind."""
    http_port: int | None = None
    """The last start's port, or a free one, when absent."""
    orchestrator_command: tuple[str, ...] = ORCHESTRATOR_COMMAND
    worker_command: tuple[str, ...] = WORKER_COMMAND
    """``--kind``, ``--worker-id`` and ``--directory`` are added."""
    external: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    """Settings as in the environment; servers whose address they name are used and not started."""

    def __post_init__(self) -> None:
        if any(count < 0 for count in self.workers.values()) or sum(self.workers.values()) > WORKERS_MAX:
            raise SettingsError(f"workers must be 0 to {WORKERS_MAX} in all, not {dict(self.workers)}")
        for command in (self.orchestrator_command, self.worker_command):
            if not command or shutil.which(command[0]) is None:
                raise SettingsError(f"there is no program {command[:1]}")


def orchestrator_launch(settings: SupervisorSettings, endpoints: StackEndpoints, http_port: int) -> Launch:
    """Return how the orchestrator is started."""
    return _launch(
        settings,
        "orchestrator",
        settings.orchestrator_command,
        endpoints.environment() | {"MILEPOST_HTTP_HOST": HOST, "MILEPOST_HTTP_PORT": str(http_port)},
    )


def worker_launches(
    settings: SupervisorSettings, endpoints: StackEndpoints, *, shared_bus: bool
) -> list[Launch]:
    """Return how the workers are started; their names are their worker ids.

    On a ``shared_bus`` the ids carry a part of their own, since other machines have workers there too.
    """
    place = hashlib.sha256(f"{socket.gethostname()}\0{settings.directory.absolute()}".encode()).hexdigest()
    suffix = f"-{place[:6]}" if shared_bus else ""
    launches: list[Launch] = []
    for kind, count in settings.workers.items():
        for number in range(1, count + 1):
            worker_id = f"{kind}-{number}{suffix}"
            disk = settings.directory.absolute() / "workers" / worker_id
            arguments = ("--kind", kind, "--worker-id", worker_id, "--directory", str(disk))
            # Workers need the bus and the store only.
            environment = endpoints.environment() | {"MILEPOST_DATABASE_URL": ""}
            launches.append(_launch(settings, worker_id, (*settings.worker_command, *arguments), environment))
    return launches


def _launch(
    settings: SupervisorSettings, name: str, command: tuple[str, ...], environment: dict[str, str]
) -> Launch:
    directory = settings.directory.absolute()
    return Launch(
        name=name,
        command=(shutil.which(command[0]) or command[0], *command[1:]),
        directory=directory,
        log=directory / "logs" / f"{name}.log",
        environment=environment,
    )
