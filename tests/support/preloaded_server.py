"""Imports what services and commands import, then forks a process for each request; see ``preloaded``.

``python -m tests.support.preloaded_server DESCRIPTOR``; ends when the other side of the socket is closed. It has
one thread, so a fork copies no lock that somebody holds.
"""

import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
import threading
from contextlib import suppress
from typing import Any

MODULES = (
    "milepost_runtime.worker.bootstrap",
    "milepost_orchestrator.entrypoints.service",
    "milepost_orchestrator.adapters.models",
    "milepost_cli.main",
)
COMMANDS = "milepost_cli.commands"
FILES = 3


def load() -> None:
    """Import all but the modules that are run."""
    for name in MODULES:
        importlib.import_module(name)
    package = importlib.import_module(COMMANDS)
    for module in pkgutil.iter_modules(package.__path__, f"{COMMANDS}."):
        importlib.import_module(module.name)
    assert threading.active_count() == 1, threading.enumerate()


class Server:
    """Forks and reaps."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._waker, self._woken = os.pipe()
        for end in (self._waker, self._woken):
            os.set_blocking(end, False)
        self._running: dict[int, int] = {}
        """Where to say how each ended, by pid."""

    def serve(self) -> dict[str, Any] | None:
        """Return None when nobody asks any more, and in each forked process what it shall be."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._waker, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj == self._waker:
                        os.read(self._waker, 4096)
                        self._reap()
                    elif (wanted := self._request()) is None:
                        return None
                    elif self._fork(wanted):
                        return wanted

    def _request(self) -> dict[str, Any] | None:
        size, descriptors, _, _ = socket.recv_fds(self._socket, 4, FILES + 1)
        if not size:
            return None
        content = b""
        while len(content) < int.from_bytes(size, "big"):
            content += self._socket.recv(int.from_bytes(size, "big") - len(content))
        return {**json.loads(content), "descriptors": descriptors}

    def _fork(self, wanted: dict[str, Any]) -> bool:
        """Return whether this is the new process."""
        *files, status = wanted["descriptors"]
        pid = os.fork()
        if pid == 0:
            self._become(files, status)
            return True
        for file in files:
            os.close(file)
        self._running[pid] = status
        os.write(status, b"%d\n" % pid)
        return False

    def _become(self, files: list[int], status: int) -> None:
        """Leave the server's own things behind and take the files."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._socket.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
        for descriptor in (*files, status, self._waker, self._woken, *self._running.values()):
            os.close(descriptor)

    def _reap(self) -> None:
        for pid in [*self._running]:
            found, ended = os.waitpid(pid, os.WNOHANG)
            if found:
                status = self._running.pop(pid)
                with suppress(BrokenPipeError):  # whoever asked does not want to know any more
                    os.write(status, b"%d\n" % os.waitstatus_to_exitcode(ended))
                os.close(status)


def main() -> None:
    load()
    gc.collect()
    gc.freeze()  # what is shared stays shared: the collector of no process visits it
    wanted = Server(int(sys.argv[1])).serve()
    if wanted is not None:
        os.environ.clear()
        os.environ.update(wanted["environment"])
        os.chdir(wanted["directory"])
        module, *arguments = wanted["arguments"]
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
