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
from collections import deque
from collections.abc import AsyncIterator
from typing import Self

import structlog
from milepost_contracts.failures import Failure, FailureCode
from milepost_contracts.kinds import KindDescription
from milepost_contracts.model import ContractModel

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
STDERR_LINES_KEPT = 20


class ChildProcess:
    """One child, good for one operation."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._stderr_tail: deque[str] = deque(maxlen=STDERR_LINES_KEPT)
        self._stderr_task = asyncio.create_task(self._forward_stderr())
        self._kind: KindDescription | None = None

    @classmethod
    async def spawn(cls, kind: str) -> Self:
        """Start a child that warms up for ``kind``; it says ``Ready`` when it can run."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "milepost_runtime.worker.child",
                f"--kind={kind}",
                f"--fd={theirs.fileno()}",
                f"--host-pid={os.getpid()}",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL if sys.stdout is None else None,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                # Ctrl-C in a terminal is for the host, which then stops the child at a unit boundary.
                start_new_session=True,
            )
        reader, writer = await asyncio.open_connection(sock=ours, limit=LINE_BYTES_MAX)
        return cls(process, reader, writer)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

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
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def close(self) -> None:
        """Close the socket, which ends a child that still lives, and reap it."""
        self._writer.close()
        await self._process.wait()
        await self._stderr_task

    async def death(self) -> Failure:
        """Say how the child ended, once it has."""
        code = await self._process.wait()
        await self._stderr_task
        if code < 0:
            name = signal.Signals(-code).name
            message = f"the computing process was ended by {name}"
            fix = (
                "the system may have run out of memory: use a worker with more, or a smaller spec"
                if name == "SIGKILL"
                else "a native library crashed; the last lines of its output are in the traceback"
            )
        else:
            message = f"the computing process ended with exit code {code} without a word"
            fix = "the last lines of its output are in the traceback"
        return Failure(
            code=FailureCode.CHILD_DIED,
            message=message,
            traceback_tail="\n".join(self._stderr_tail) or None,
            fix=fix,
        )

    async def _forward_stderr(self) -> None:
        """Pass the child's output on line by line and keep the last lines for ``death``."""
        stream = self._process.stderr
        if stream is None:
            return
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # a line over the stream's limit: dropped, the next one is whole again
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            self._stderr_tail.append(text)
            log.info("child output", pid=self.pid, line=text)


class ChildPool:
    """Keeps one warm child waiting for the next operation."""

    def __init__(self, kind: str, *, start_grace_seconds: float) -> None:
        self._kind = kind
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
        """End the waiting child."""
        if self._next is None:
            return
        starting, self._next = self._next, None
        with contextlib.suppress(ChildStartError):
            await (await starting).kill()

    async def _start(self) -> ChildProcess:
        child = await ChildProcess.spawn(self._kind)
        if await child.ready(timeout_seconds=self._start_grace_seconds):
            return child
        await child.kill()
        raise ChildStartError((await child.death()).model_dump_json())


class ChildStartError(Exception):
    """A computing process could not be started; its last words are in the message."""
