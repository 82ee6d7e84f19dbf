"""One child of ours: started guarded, watched for its end, stopped within bounds.

States: absent -> running -> ended. Authority: only the owner of the object starts and stops the process; the
guard ends it when we die. Failures: a child that ignores its stop signal is killed with everything it
started; a child that ends by itself is seen through ``wait_ended``.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from milepost_infra.child_log import rotate, tail
from milepost_infra.embedded.guard import Guard
from milepost_infra.errors import ServerStartError
from milepost_infra.processes import ProcessMark, kill_all, mark_process

LAUNCHER = Path(__file__).with_name("launcher.py")
PROBE_SECONDS = 0.02
KILL_SECONDS_MAX = 10.0


@dataclass(frozen=True, slots=True)
class UnprivilegedUser:
    """Whom a server runs as when we are root."""

    uid: int
    gid: int
    name: str


@dataclass(frozen=True, slots=True)
class Launch:
    """How a child is started."""

    name: str
    command: Sequence[str]
    """The program by its absolute path, and its arguments."""
    directory: Path
    """Working directory."""
    log: Path
    """Standard output and error are appended here."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Added to our own environment."""
    death_signal: signal.Signals = signal.SIGKILL
    """What the kernel sends when we die; a kind of stop that cannot hang."""
    user: UnprivilegedUser | None = None


class ChildProcess:
    """A running child."""

    def __init__(self, launch: Launch, process: asyncio.subprocess.Process, guard: Guard) -> None:
        self.launch = launch
        try:
            self.mark = mark_process(process.pid)
        except psutil.NoSuchProcess:
            # Ended and reaped already; this mark fits no process.
            self.mark = ProcessMark(pid=process.pid, start=-1.0)
        self._process = process
        self._guard = guard
        guard.watch(self.mark)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended (negative: the signal), None while it runs."""
        return self._process.returncode

    @classmethod
    async def start(cls, launch: Launch, guard: Guard) -> "ChildProcess":
        """Spawn the child; that it is ready is another matter (``wait_ready``)."""
        rotate(launch.log)
        user = launch.user
        death_signal = int(launch.death_signal) if guard.name == "kernel" else 0
        command = list(launch.command)
        if death_signal or user is not None:
            ids = (user.uid, user.gid) if user is not None else (-1, -1)
            numbers = [str(number) for number in (death_signal, os.getpid(), *ids)]
            command = [sys.executable, "-I", "-S", str(LAUNCHER), *numbers, *command]
        with launch.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=launch.directory,
                env={**os.environ, **launch.environment},
                # Ctrl-C in the terminal is for us; we then stop the children in their order.
                start_new_session=True,
            )
        return cls(launch, process, guard)

    async def wait_ended(self) -> int:
        """Wait until the child has ended; return its exit code."""
        return await self._process.wait()

    async def wait_ready(self, probe: Callable[[], Awaitable[bool]], *, seconds_max: float) -> None:
        """Wait until ``probe`` says yes.

        Raises:
            ServerStartError: the child ended first, or the time is over; holds its last log lines.
        """
        ended = asyncio.create_task(self.wait_ended())
        try:
            async with asyncio.timeout(seconds_max):
                while not await probe():
                    await asyncio.wait([ended], timeout=PROBE_SECONDS)
                    if ended.done():
                        raise self._start_error(f"it ended with code {ended.result()}")
        except TimeoutError as error:
            raise self._start_error(f"it was not ready within {seconds_max:g} s") from error
        finally:
            ended.cancel()
            with suppress(asyncio.CancelledError):
                await ended

    async def stop(self, stop_signal: signal.Signals, *, seconds_max: float) -> None:
        """Ask the child to stop and wait; kill it when it takes longer than ``seconds_max``."""
        if self.exit_code is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(stop_signal)
            try:
                await asyncio.wait_for(self._process.wait(), seconds_max)
            except TimeoutError:
                await self.kill()
        self._guard.forget(self.mark)

    async def kill(self) -> None:
        """Kill the child and everything it started (kill -9) and wait until all are gone."""
        family: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(self.pid).children(recursive=True)
        with suppress(ProcessLookupError):
            self._process.kill()
        await asyncio.to_thread(kill_all, family)
        await asyncio.wait_for(self._process.wait(), KILL_SECONDS_MAX)
        self._guard.forget(self.mark)

    def last_log_lines(self) -> str:
        """Return the end of the child's log."""
        return tail(self.launch.log)

    def _start_error(self, what: str) -> ServerStartError:
        lines = self.last_log_lines()
        return ServerStartError(f"{self.launch.name}: {what}; log {self.launch.log}:\n{lines}")
