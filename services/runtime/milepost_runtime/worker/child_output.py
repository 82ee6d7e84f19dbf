"""What a child prints: passed on to the host's log line by line, and its last lines kept for a failure.

Authority: none; a team's task prints what it likes. Failures: a task that prints without end fills neither the
host's log nor its memory, since past a number of lines a second they are counted instead of passed on.
"""

import asyncio
import os
from collections import deque
from typing import Self

import structlog

log = structlog.get_logger()

LINES_KEPT = 60
"""Enough for the stacks of a few threads, as a native crash leaves them."""
LINES_PER_SECOND_MAX = 50
CHARACTERS_MAX = 2000
CLOSING_SECONDS = 2.0
"""A process that outlives the child may hold the pipe open."""
CRASH_MARK = "Fatal Python error"
"""First words of what faulthandler prints."""


class ChildOutput:
    """Reads one child's output to its end.

    The pipe is its own, not asyncio's for subprocesses: there the child would only be gone when its pipe is, which
    a process that it started can hold open.
    """

    def __init__(self, stream: asyncio.StreamReader, pipe: asyncio.ReadTransport, *, pid: int) -> None:
        self._stream = stream
        self._pipe = pipe
        self._pid = pid
        self._tail: deque[str] = deque(maxlen=LINES_KEPT)
        self._window_begun_seconds = float("-inf")
        self._passed_on = 0
        self._left_out = 0
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def attach(cls, descriptor: int, *, pid: int) -> Self:
        """Read the pipe whose reading end is ``descriptor``, and close it at the end."""
        stream = asyncio.StreamReader()
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(descriptor, "rb", buffering=0)
        )
        return cls(stream, pipe, pid=pid)

    async def closed(self) -> None:
        """Wait until all is read, for a moment: the child is gone already."""
        await asyncio.wait({self._reading}, timeout=CLOSING_SECONDS)
        self._reading.cancel()
        self._pipe.close()
        self._tell_left_out()

    def tail(self) -> str | None:
        """Return the last lines; from the crash on, where Python told of one."""
        lines = list(self._tail)
        begun = next((index for index, line in enumerate(lines) if CRASH_MARK in line), 0)
        return "\n".join(lines[begun:]) or None

    async def _read(self) -> None:
        while True:
            try:
                line = await self._stream.readline()
            except ValueError:  # a line over the stream's limit: dropped, the next one is whole again
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip()[:CHARACTERS_MAX]
            self._tail.append(text)
            self._pass_on(text)

    def _pass_on(self, text: str) -> None:
        now_seconds = asyncio.get_running_loop().time()
        if now_seconds - self._window_begun_seconds >= 1.0:
            self._tell_left_out()
            self._window_begun_seconds, self._passed_on = now_seconds, 0
        if self._passed_on < LINES_PER_SECOND_MAX:
            self._passed_on += 1
            log.info("child output", pid=self._pid, line=text)
        else:
            self._left_out += 1

    def _tell_left_out(self) -> None:
        if self._left_out:
            log.warning("child output left out", pid=self._pid, lines=self._left_out)
            self._left_out = 0
