"""Python processes of the tests that need not import everything anew: forked off one that has done so.

What runs in them is real: a process of its own, its exit code, its signals, its death by kill -9. Only the
interpreter's start and the imports are shared, which cost more than all that most tests do. Processes that they
start themselves (the children of workers) are started as ever, and so is everything that ``milepost up`` starts.

States of a process: asked for -> running -> ended. Authority: ``Preloaded.start`` asks, whoever holds the object
kills. Failures: where the server is gone there is nobody to tell of an end, and that is an ``EOFError``.
"""

import asyncio
import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

PLUGINS = Path(__file__).parent.parent / "plugins"


class PreloadedProcess:
    """One process; ``returncode`` is None while it runs."""

    def __init__(self, status: int) -> None:
        self._status = status
        self._said = b""
        self._ended: asyncio.Event | None = None
        self._is_over = False
        self.returncode: int | None = None
        while b"\n" not in self._said:
            self._read()
        self.pid = int(self._said.split(b"\n")[0])

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9."""
        self.send_signal(signal.SIGKILL)

    def follow(self) -> None:
        """Have the running loop keep ``returncode`` up to date; needed before ``wait``."""
        self._ended = asyncio.Event()
        if self._is_over:
            self._ended.set()
            return
        asyncio.get_running_loop().add_reader(self._status, self._heard)

    async def wait(self) -> int:
        """Wait for its end; return its exit code, negative for a signal."""
        assert self._ended is not None, "follow it first"
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def wait_blocking(self, seconds: float) -> int:
        """As ``wait``, where no loop runs.

        Raises:
            TimeoutError: it still runs.
        """
        while self.returncode is None:
            if not select.select([self._status], [], [], seconds)[0]:
                raise TimeoutError
            self._read()
        return self.returncode

    def _heard(self) -> None:
        try:
            self._read()
        finally:
            if self._is_over and self._ended is not None:
                self._ended.set()

    def _read(self) -> None:
        """Take in what the server has written: a line with the pid, later one with the exit code."""
        content = os.read(self._status, 64)
        self._said += content
        if content and self._said.count(b"\n") < 2:
            return
        self._is_over = True
        if self._ended is not None:
            asyncio.get_running_loop().remove_reader(self._status)
        os.close(self._status)
        if not content:
            raise EOFError("the server of preloaded processes is gone")
        self.returncode = int(self._said.split(b"\n")[1])


class Preloaded:
    """The server, started with the first process."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tests.support.preloaded_server", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                cwd=PLUGINS.parent.parent,
                env={**os.environ, "PYTHONPATH": str(PLUGINS)},
            )
        self._lock = threading.Lock()
        atexit.register(self._close)

    def start(
        self,
        arguments: Sequence[str],
        *,
        files: tuple[IO[bytes] | int, IO[bytes] | int, IO[bytes] | int],
        environment: Mapping[str, str],
        directory: Path | None = None,
    ) -> PreloadedProcess:
        """Run ``python -m ARGUMENTS`` with files for its standard input, output and error."""
        wanted = {
            "arguments": list(arguments),
            "environment": dict(environment),
            "directory": str(directory or Path.cwd()),
        }
        message = json.dumps(wanted).encode()
        status, theirs = os.pipe()
        descriptors = [file if isinstance(file, int) else file.fileno() for file in files]
        try:
            with self._lock:
                socket.send_fds(self._socket, [message], [*descriptors, theirs])
        finally:
            os.close(theirs)
        return PreloadedProcess(status)

    def _close(self) -> None:
        self._socket.close()
        self._server.wait()


@cache
def preloaded() -> Preloaded:
    """Return this process's server."""
    return Preloaded()
