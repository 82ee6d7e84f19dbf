"""The host's side of a computing child: start it, talk to it, end it, say how it died.

States: see ``messages``. Authority: the host; the child never outlives it (parent-death signal on Linux, the
closed socket everywhere). Failures: any end without a last word is described by ``death``.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Protocol, Self

import structlog
from milepost_contracts.failures import Failure, FailureCode
from milepost_contracts.kinds import KindDescription
from milepost_contracts.model import ContractModel

from milepost_runtime.worker.child_output import ChildOutput
from milepost_runtime.worker.forks import ForkedProcess, Forks
from milepost_runtime.worker.messages import (
    LINE_BYTES_MAX,
    TO_HOST,
    Advanced,
    Begun,
    Finished,
    Raised,
    Ready,
    Staged,
    Stopped,
    encode_line,
)

log = structlog.get_logger()
SPAWN_PAUSE_SECONDS = 1.0
CRASHES = frozenset({"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS"})
"""Signals by which native code ends its own process."""
LAST_LINES = "the last lines of its output are in the traceback"


class RunningProcess(Protocol):
    """What of ``asyncio.subprocess.Process`` is needed here."""

    @property
    def pid(self) -> int: ...  # noqa: D102 - as there

    @property
    def returncode(self) -> int | None: ...  # noqa: D102 - as there

    async def wait(self) -> int: ...  # noqa: D102 - as there


class ChildProcess:
    """One child, good for one operation."""

    def __init__(
        self,
        process: RunningProcess,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        output: ChildOutput,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._output = output
        self._reaping = asyncio.create_task(self._reap())
        self._kind: KindDescription | None = None
        self._sent: set[int] = set()
        """Signals that this host has sent it."""

    @classmethod
    async def spawn(cls, kind: str, forks: Forks | None = None) -> Self:
        """Start a child that warms up for ``kind``; it says ``Ready`` when it can run."""
        ours, theirs = socket.socketpair()
        reading, writing = os.pipe()
        process: RunningProcess | None = None
        with contextlib.ExitStack() as unless_started:
            unless_started.callback(ours.close)
            unless_started.callback(os.close, reading)
            with theirs, os.fdopen(writing, "wb") as output:
                if forks is not None:
                    process = await forks.fork(kind, [theirs.fileno(), output.fileno()])
                if process is None:
                    process = await _started(kind, theirs.fileno(), output.fileno())
            unless_started.pop_all()
        reader, writer = await asyncio.open_connection(sock=ours, limit=LINE_BYTES_MAX)
        return cls(process, reader, writer, await ChildOutput.attach(reading, pid=process.pid))

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def forked(self) -> bool:
        """Whether it was forked off a process that had imported things."""
        return isinstance(self._process, ForkedProcess)

    @property
    def kind(self) -> KindDescription:
        """What this child can compute; known once it is ready."""
        if self._kind is None:
            raise RuntimeError("the child is not ready yet")
        return self._kind

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.returncode is None

    async def send(self, message: ContractModel) -> None:
        """Say something to the child; nothing happens when it is gone."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(encode_line(message))
            await self._writer.drain()

    async def messages(
        self,
    ) -> AsyncIterator[Ready | Begun | Advanced | Staged | Finished | Stopped | Raised]:
        """Yield what the child says, until it is gone."""
        with contextlib.suppress(ConnectionError):
            while line := await self._reader.readline():
                if not line.endswith(b"\n"):
                    return  # the child died in the middle of a line
                yield TO_HOST.validate_json(line)

    async def ready(self, *, timeout_seconds: float) -> bool:
        """Wait for ``Ready``; False when the child dies or takes too long."""
        try:
            async with asyncio.timeout(timeout_seconds):
                line = await self._reader.readline()
        except TimeoutError:
            return False
        word = TO_HOST.validate_json(line) if line.endswith(b"\n") else None
        if not isinstance(word, Ready):
            return False
        self._kind = word.kind
        return True

    async def end(self, *, grace_seconds: float) -> None:
        """SIGTERM, and SIGKILL after the grace; returns when it is gone."""
        self._signal(signal.SIGTERM)
        await self.ended(grace_seconds=grace_seconds)

    async def ended(self, *, grace_seconds: float) -> None:
        """Wait until it is gone, with SIGKILL after the grace."""
        try:
            async with asyncio.timeout(grace_seconds):
                await self._process.wait()
        except TimeoutError:
            await self.kill()
        await self.close()

    async def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self._signal(signal.SIGKILL)
        await self.close()

    def _signal(self, number: signal.Signals) -> None:
        # Not through asyncio's transport: that polls first, takes the exit status away from asyncio's own
        # watcher, and the child then seems to have ended with code 255.
        if self.alive:
            self._sent.add(number)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def close(self) -> None:
        """Close the socket, which ends a child that still lives, and reap it."""
        self._writer.close()
        await asyncio.shield(self._reaping)  # whoever is cancelled while it waits must not leave it unreaped
        await self._output.closed()

    async def death(self) -> Failure:
        """Say how the child ended, once it has."""
        code = await self._process.wait()
        await self._output.closed()
        if -code in self._sent:
            message, fix = "the computing process took too long and was ended", LAST_LINES
        else:
            message, fix = _ended_by(-code) if code < 0 else _exited_with(code)
        return Failure(
            code=FailureCode.CHILD_DIED, message=message, traceback_tail=self._output.tail(), fix=fix
        )

    async def _reap(self) -> None:
        """Wait for its end, and take along what it started: such processes have nobody left to work for."""
        await self._process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # it leads a session of its own


async def _started(kind: str, descriptor: int, output: int) -> RunningProcess:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-u",  # what it printed before a crash must not be lost in a buffer
        "-m",
        "milepost_runtime.worker.child",
        f"--kind={kind}",
        f"--fd={descriptor}",
        f"--host-pid={os.getpid()}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=(descriptor,),
        # Ctrl-C in a terminal is for the host, which then stops the child at a unit boundary.
        start_new_session=True,
    )


def _ended_by(number: int) -> tuple[str, str]:
    name = next((known.name for known in signal.Signals if known == number), f"signal {number}")
    message = f"the computing process was ended by {name}"
    if name in CRASHES:
        return message, f"a native library crashed; {LAST_LINES}"
    if name == "SIGKILL":
        fix = "the system may have run out of memory: use a worker with more, or a smaller spec"
    else:
        fix = "look who ended it on the worker's machine"
    return f"{message}, not by this worker", fix


def _exited_with(code: int) -> tuple[str, str]:
    return f"the computing process ended with exit code {code} without a word", LAST_LINES


class ChildPool:
    """Keeps one warm child waiting for the next operation."""

    def __init__(self, kind: str, *, start_grace_seconds: float, preload: Sequence[str] = ()) -> None:
        """``preload``: modules that all children import, of which no team changes one while a worker runs."""
        self._kind = kind
        self._forks = Forks(preload, answer_seconds=start_grace_seconds)
        self._start_grace_seconds = start_grace_seconds
        self._next: asyncio.Task[ChildProcess] | None = None

    def warm(self) -> None:
        """Start warming a child unless one is at it already."""
        if self._next is None:
            self._next = asyncio.create_task(self._start())

    async def take(self) -> ChildProcess:
        """Return a warm child, waiting for its imports if need be.

        Raises:
            ChildStartError: it died or took too long.
        """
        if self._next is not None and self._next.done() and self._next.exception() is not None:
            self._next = None  # it failed while nobody waited for it, for a reason that may be over
        self.warm()
        starting, self._next = self._next, None
        if starting is None:  # pragma: no cover - warm() has just set it
            raise ChildStartError("no child was started")
        child = await starting
        if not child.alive:  # it died while it waited
            await child.close()
            child = await self._start()
        return child

    async def close(self) -> None:
        """End the waiting child, also in the middle of its imports; every other one has to have ended."""
        if self._next is not None:
            starting, self._next = self._next, None
            starting.cancel()
            await asyncio.wait({starting})
            if not starting.cancelled() and starting.exception() is None:
                await starting.result().kill()
        await self._forks.close()

    async def _start(self) -> ChildProcess:
        child = await self._spawned()
        ready = await self._became_ready(child)
        if not ready and child.forked:
            await child.kill()
            # What was imported may not survive a fork; if that is not it the next one says what is.
            self._forks.give_up(f"a forked child did not become ready: {(await child.death()).message}")
            child = await ChildProcess.spawn(self._kind)
            ready = await self._became_ready(child)
        if ready:
            return child
        await child.kill()
        raise ChildStartError((await child.death()).model_dump_json())

    async def _spawned(self) -> ChildProcess:
        """Start a process, also when the system has no room for one just now: what runs is not to blame for that.

        Raises:
            ChildStartError: there was none for as long as a child may take to start.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._start_grace_seconds
        while True:
            try:
                return await ChildProcess.spawn(self._kind, self._forks)
            except TimeoutError:  # of the fork server, which is asked no more
                continue
            except OSError as error:
                if loop.time() >= until:
                    raise ChildStartError(f"no computing process can be started: {error}") from error
                log.warning("no computing process can be started", reason=str(error))
            await asyncio.sleep(SPAWN_PAUSE_SECONDS)

    async def _became_ready(self, child: ChildProcess) -> bool:
        try:
            return await child.ready(timeout_seconds=self._start_grace_seconds)
        except asyncio.CancelledError:
            await child.kill()
            raise


class ChildStartError(Exception):
    """A computing process could not be started; its last words are in the message."""
