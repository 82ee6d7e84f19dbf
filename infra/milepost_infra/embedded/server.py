"""What the three servers have in common: start until ready, stop in order, die, come back.

States: stopped -> starting -> ready -> stopped. Authority: the stack that owns the directory. Failures: a start
that is not ready in time is killed and raises with the server's last log lines; a server that died is found
out by whoever talks to it, and ``start`` brings it back on the same port with the same data.
"""

import signal
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Literal, TypeAlias

from milepost_infra.embedded.child_process import ChildProcess, Launch
from milepost_infra.embedded.guard import Guard
from milepost_infra.embedded.nats_users import NatsUser

ServerName: TypeAlias = Literal["nats", "postgres", "s3"]


class EmbeddedServer(ABC):
    """One real server as a child process."""

    name: ServerName
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds_max: float = 10.0
    ready_seconds_max: float = 30.0

    def __init__(self, directory: Path, log: Path, guard: Guard) -> None:
        self.directory = directory
        self.log = log
        self.child: ChildProcess | None = None
        self._guard = guard

    @abstractmethod
    async def prepare(self) -> None:
        """Write what the server reads at its start; harmless when done already."""

    @abstractmethod
    def launch(self) -> Launch:
        """Return how it is started."""

    @abstractmethod
    async def probe(self) -> bool:
        """Say whether it does its work now, by using it."""

    @abstractmethod
    async def furnish(self) -> None:
        """Make what its users expect to find in a ready server (database, bucket); harmless when there."""

    @abstractmethod
    def settings(self, user: NatsUser) -> dict[str, str]:
        """Return the environment variables that lead to it, for the bus with the password of ``user``."""

    async def start(self) -> None:
        """Start the server and wait until it is ready.

        Raises:
            ServerStartError: it ended or was not ready in time; holds its last log lines.
        """
        await self.prepare()
        child = await ChildProcess.start(self.launch(), self._guard)
        self.child = child
        try:
            await child.wait_ready(self.probe, seconds_max=self.ready_seconds_max)
        except BaseException:
            await child.kill()
            raise

    async def stop(self) -> None:
        """Stop the server in order; nothing when it does not run."""
        if self.child is not None:
            await self.child.stop(self.stop_signal, seconds_max=self.stop_seconds_max)

    async def kill(self) -> None:
        """Kill the server as ``kill -9`` does and wait until it is gone; nothing when it does not run."""
        if self.child is not None:
            await self.child.kill()
