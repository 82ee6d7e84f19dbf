"""Computing children forked off a process that has done their imports: a few milliseconds instead of seconds.

States of the server: not started -> importing -> serving -> retired, when it refuses because its imports are
outdated, or is dead: it goes when what was forked off it has ended, and the next request has another one started.
Authority: this host alone. Failures: whoever gets no process here starts one of its own, which says itself what is
wrong; a server that never forked anything is not tried again, nor is any on other platforms than Linux, where
libraries that were imported before a fork may not work after it.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Self


class ForkedProcess:
    """One process; ``returncode`` is None while it runs, negative after a signal."""

    def __init__(self, pid: int, status: asyncio.StreamReader, pipe: asyncio.ReadTransport) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._pipe = pipe
        self._ending = asyncio.create_task(self._listen(status))

    async def wait(self) -> int:
        """Return its exit code once it has ended."""
        return await asyncio.shield(self._ending)

    async def _listen(self, status: asyncio.StreamReader) -> int:
        said = await status.readline()
        if not said:  # a server that dies takes its processes with it, a moment later
            await _killed(self.pid)
        self.returncode = int(said) if said else -signal.SIGKILL
        self._pipe.close()
        return self.returncode


async def _killed(pid: int) -> None:
    """Kill a process that is nobody's child here, and return when it is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, gone.set)
    try:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        await gone.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


class Forks:
    """The server of one host, started when it is needed."""

    def __init__(self, modules: Sequence[str]) -> None:
        """``modules``: what it imports."""
        self._modules = tuple(modules)
        self._server: _Server | None = None
        self._starting = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()
        self._useful = bool(modules) and sys.platform == "linux"

    async def fork(self, message: str, files: Sequence[int]) -> ForkedProcess | None:
        """Return a process that was forked with these descriptors; None where one has to be started instead."""
        if not self._useful:
            return None
        async with self._starting:
            if self._server is None:
                self._server = await _Server.start(self._modules)
            server = self._server
        process = await server.fork(message, files)
        if process is None and self._server is server:
            self._server = None
            self._useful = bool(server.processes)
            retiring = asyncio.create_task(server.retire())
            self._retiring.add(retiring)
            retiring.add_done_callback(self._retiring.discard)
        return process

    async def close(self) -> None:
        """End the server; what was forked off it has to have ended, or does with it."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.close()
        if self._retiring:
            await asyncio.wait(self._retiring)


class _Server:
    """A server that was started."""

    def __init__(self, process: asyncio.subprocess.Process, connection: socket.socket) -> None:
        self._process = process
        self._connection = connection
        self.processes: list[ForkedProcess] = []
        """Those that it has forked and that run, and the last one."""

    @classmethod
    async def start(cls, modules: Sequence[str]) -> Self:
        """Start it; its imports go on meanwhile."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as unless_started, theirs:
            unless_started.callback(ours.close)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-u",  # what a child prints before a crash must not be lost in a buffer
                "-m",
                "milepost_runtime.worker.fork_server",
                f"--fd={theirs.fileno()}",
                f"--host-pid={os.getpid()}",
                *modules,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
            unless_started.pop_all()
        return cls(process, ours)

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
        try:
            said = await status.readline()
        except asyncio.CancelledError:
            pipe.close()
            raise
        if not said:
            pipe.close()
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
