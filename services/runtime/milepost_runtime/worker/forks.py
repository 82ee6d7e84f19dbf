"""Computing children forked off a process that has done their imports: a few milliseconds instead of seconds.

States of the server: not started -> importing -> serving -> retired, when it refuses because its imports are
outdated, or is dead: it goes when what was forked off it has ended, and the next request has another one started.
Authority: this host alone. Failures: whoever gets no process here starts one of its own, and the server's reason
is in the host's log; when one does not answer in time, or several have forked nothing, no more are
tried, nor is any on other platforms than Linux, where libraries that were imported before a fork may
not work after it.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Self

import structlog

from milepost_runtime.worker.child_output import ChildOutput

log = structlog.get_logger()
FRUITLESS_MAX = 3
"""Servers in a row that forked nothing, before there are no more: an upgrade under way spoils one, not three."""


class ForkedProcess:
    """One process; ``returncode`` is None while it runs, negative after a signal."""

    def __init__(self, pid: int, status: asyncio.StreamReader, pipe: asyncio.ReadTransport) -> None:
        """``pid``: that of a process which the server has not reaped, or will say that it has."""
        self.pid = pid
        self.returncode: int | None = None
        self._pipe = pipe
        self._descriptor = _opened(pid)
        self._ending = asyncio.create_task(self._listen(status))

    async def wait(self) -> int:
        """Return its exit code once it has ended."""
        return await asyncio.shield(self._ending)

    async def _listen(self, status: asyncio.StreamReader) -> int:
        said = await status.readline()
        if self._descriptor is not None:
            if not said:  # a server that dies takes its processes with it, a moment later
                await _killed(self._descriptor)
            os.close(self._descriptor)
        self.returncode = int(said) if said else -signal.SIGKILL
        self._pipe.close()
        return self.returncode


def _opened(pid: int) -> int | None:
    """Return a descriptor of a process, which stays its own, as a number does not; None when it is gone."""
    with contextlib.suppress(ProcessLookupError):
        return os.pidfd_open(pid)
    return None


def _can_open_processes() -> bool:
    """Say whether this system has descriptors of processes, and lets us have them."""
    if sys.platform != "linux":
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


async def _killed(descriptor: int) -> None:
    """Kill a process that is nobody's child here, and return when it is gone."""
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, gone.set)
    try:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        await gone.wait()
    finally:
        loop.remove_reader(descriptor)


class Forks:
    """The server of one host, started when it is needed."""

    def __init__(self, modules: Sequence[str], *, answer_seconds: float) -> None:
        """``modules``: what it imports. ``answer_seconds``: how long it may take, imports included, to fork."""
        self._modules = tuple(modules)
        self._answer_seconds = answer_seconds
        self._server: _Server | None = None
        self._starting = asyncio.Lock()
        self._retiring: dict[_Server, asyncio.Task[None]] = {}
        self._useful = bool(modules) and _can_open_processes()
        self._fruitless = 0

    async def fork(self, message: str, files: Sequence[int]) -> ForkedProcess | None:
        """Return a process that was forked with these descriptors; None where one has to be started instead.

        Raises:
            TimeoutError: the server does not answer. It may fork later, so the descriptors are used no more.
        """
        if not self._useful:
            return None
        async with self._starting:
            if self._server is None:
                self._server = await _Server.start(self._modules)
            server = self._server
        try:
            async with asyncio.timeout(self._answer_seconds):
                process = await server.fork(message, files)
        except TimeoutError:
            self.give_up(f"the server has not answered for {self._answer_seconds:g} s")
            raise
        if process is None:
            self._drop(server)
        return process

    def give_up(self, reason: str) -> None:
        """Fork no more."""
        log.warning("every child imports everything anew from now on", reason=reason, modules=self._modules)
        self._useful = False
        server, self._server = self._server, None
        if server is not None:
            self._retire(server)

    def _drop(self, server: "_Server") -> None:
        """Ask it no more."""
        if self._server is not server:
            return
        self._server = None
        self._retire(server)
        self._fruitless = 0 if server.processes else self._fruitless + 1
        if self._fruitless == FRUITLESS_MAX:
            self.give_up(f"{FRUITLESS_MAX} servers have forked nothing")

    async def close(self) -> None:
        """End the servers; what still runs that was forked off them ends with them."""
        servers = [*self._retiring, *([self._server] if self._server else [])]
        self._server = None
        for retiring in list(self._retiring.values()):
            retiring.cancel()
        await asyncio.gather(*(server.close() for server in servers))

    def _retire(self, server: "_Server") -> None:
        """End it when everything that it has forked is over."""
        retiring = self._retiring[server] = asyncio.create_task(server.retire())
        retiring.add_done_callback(lambda _: self._retiring.pop(server))


class _Server:
    """A server that was started."""

    def __init__(
        self, process: asyncio.subprocess.Process, connection: socket.socket, output: ChildOutput
    ) -> None:
        self._process = process
        self._connection = connection
        self._output = output
        self.processes: list[ForkedProcess] = []
        """Those that it has forked and that run, and the last one."""

    @classmethod
    async def start(cls, modules: Sequence[str]) -> Self:
        """Start it; its imports go on meanwhile."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        reading, writing = os.pipe()
        with contextlib.ExitStack() as unless_started, theirs, os.fdopen(writing, "wb") as output:
            unless_started.callback(ours.close)
            unless_started.callback(os.close, reading)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-u",  # what a child prints before a crash must not be lost in a buffer
                "-m",
                "milepost_runtime.worker.fork_server",
                f"--fd={theirs.fileno()}",
                f"--host-pid={os.getpid()}",
                *modules,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output.fileno(),
                stderr=output.fileno(),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
            unless_started.pop_all()
        return cls(process, ours, await ChildOutput.attach(reading, pid=process.pid))

    async def fork(self, message: str, files: Sequence[int]) -> ForkedProcess | None:
        """Return the process once it is there; None when the server refuses or is gone."""
        reading, writing = os.pipe()
        status = asyncio.StreamReader()
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(status), os.fdopen(reading, "rb", buffering=0)
        )
        try:
            socket.send_fds(self._connection, [message.encode()], [*files, writing])
        except OSError:
            pipe.close()
            return None
        finally:
            os.close(writing)
        said = b""
        try:
            said = await status.readline()
        finally:
            if not said:
                pipe.close()
        if not said:
            return None
        forked = ForkedProcess(int(said), status, pipe)
        self.processes = [each for each in self.processes if each.returncode is None] + [forked]
        return forked

    async def retire(self) -> None:
        """End it when everything that it has forked is over."""
        for process in self.processes:
            await process.wait()
        await self.close()

    async def close(self) -> None:
        """End it; returns when it is gone."""
        self._connection.close()
        # It may be in the middle of its imports, which nobody needs any more.
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._output.closed()
