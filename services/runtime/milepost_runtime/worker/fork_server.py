"""A process that imports what many others need, and forks each of them when asked; see ``forks`` for who asks.

States: importing -> serving -> outdated, when a file that it imported has changed (it then refuses to fork) ->
gone, when the other side of its socket is closed or dies. A forked process is one of its own in everything: its
signals, its death, its exit code. Authority: whoever holds the other end of the socket. Failures: a fork that the
system refuses is a refusal too; the processes end with the server (parent-death signal), so none is left behind
whose end nobody could tell. Python has one thread here; of threads that libraries have beside it, what is imported
must survive a fork.

``python -m milepost_runtime.worker.fork_server --fd=N --host-pid=PID MODULE...``; a request is the name of a kind
with the child's socket and the pipe for its output.
"""

import argparse
import ctypes
import gc
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import NamedTuple

from milepost_runtime.worker.child import die_with, serve

PR_SET_NAME = 15
MESSAGE_BYTES_MAX = 256 * 1024
FILES_MAX = 8
CLOCK_NS = 20_000_000
"""Times of files are those of the kernel's last tick."""


class Stamp(NamedTuple):
    """What another content of a file cannot have as well: an installer may give it the time and size of before."""

    modified_ns: int
    changed_ns: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Request:
    """What a process was forked for."""

    message: bytes
    files: list[int]
    """Descriptors that came with it; they are the process's own."""
    server_pid: int


class ForkServer:
    """Forks and reaps. A request comes with descriptors; the last one is for the pid and the exit code, two lines.

    A refusal says nothing there, and why on standard error.
    """

    def __init__(self, connection: socket.socket, is_current: Callable[[], bool] = lambda: True) -> None:
        """``connection``: of type SOCK_SEQPACKET, so that each message is one request.

        ``is_current``: whether what was imported is still right to compute with.
        """
        self._connection = connection
        self._is_current = is_current
        self._waker, self._woken = os.pipe()
        for end in (self._waker, self._woken):
            os.set_blocking(end, False)
        self._running: dict[int, int] = {}
        """Where to say how each ended, by pid."""

    def serve(self) -> Request | None:
        """Return None when nobody asks any more, and in each forked process what it was forked for."""
        signal.signal(signal.SIGCHLD, _only_wake)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection, selectors.EVENT_READ)
            selector.register(self._waker, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj == self._waker:
                        os.read(self._waker, 4096)
                        self._reap()
                        continue
                    message, files, _, _ = socket.recv_fds(self._connection, MESSAGE_BYTES_MAX, FILES_MAX)
                    if not message:
                        return None
                    *theirs, status = files
                    server_pid = os.getpid()
                    if not self._is_current():
                        _refuse(status, "a file that was imported has changed")
                    elif self._fork(status):
                        return Request(message, theirs, server_pid)
                    for file in theirs:
                        os.close(file)

    def _fork(self, status: int) -> bool:
        """Return whether this is the new process."""
        try:
            pid = os.fork()
        except OSError as error:  # no room for another one, for which those that run are not to blame
            _refuse(status, str(error))
            return False
        if pid == 0:
            self._leave(status)
            return True
        self._running[pid] = status
        with suppress(BrokenPipeError):  # whoever asked does not want to know any more
            os.write(status, b"%d\n" % pid)
        return False

    def _leave(self, status: int) -> None:
        """Let go of what is the server's own."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._connection.close()
        for descriptor in (status, self._waker, self._woken, *self._running.values()):
            os.close(descriptor)

    def _reap(self) -> None:
        for pid in [*self._running]:
            found, ended = os.waitpid(pid, os.WNOHANG)
            if found:
                status = self._running.pop(pid)
                with suppress(BrokenPipeError):
                    os.write(status, b"%d\n" % os.waitstatus_to_exitcode(ended))
                os.close(status)


def _only_wake(number: int, frame: object) -> None:
    """Have the signal written to the file that wakes the server."""


def _refuse(status: int, reason: str) -> None:
    print(f"milepost-fork-server: forks nothing: {reason}", file=sys.stderr, flush=True)
    os.close(status)


def _imported_files(since_ns: int) -> dict[str, Stamp | None]:
    """Return what tells whether a file has changed, of every module's; None of one that was written ``since``."""
    names = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    stamps = {name: _stamp(name) for name in names if isinstance(name, str)}
    # Imported before or after it was written: nobody can tell.
    return {
        name: None if stamp and max(stamp.modified_ns, stamp.changed_ns) >= since_ns - CLOCK_NS else stamp
        for name, stamp in stamps.items()
    }


def _are_unchanged(files: Mapping[str, Stamp | None]) -> bool:
    return all(_stamp(name) == stamp for name, stamp in files.items())


def _stamp(name: str) -> Stamp | None:
    try:
        found = os.stat(name)
    except OSError:
        return None
    return Stamp(found.st_mtime_ns, found.st_ctime_ns, found.st_size)


def freeze() -> None:
    """Have what is shared stay shared: the collector of no forked process visits it."""
    gc.collect()
    gc.freeze()


def main() -> None:
    """Import, fork, and be a computing child in each forked process."""
    parser = argparse.ArgumentParser(prog="milepost-fork-server")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--host-pid", type=int, required=True)
    parser.add_argument("modules", nargs="*")
    arguments = parser.parse_args()
    die_with(arguments.host_pid)
    since_ns = time.time_ns()
    for name in arguments.modules:
        import_module(name)
    if threading.active_count() > 1:  # started by an import: a fork would copy its locks as they are
        sys.exit("milepost-fork-server: forks nothing: a module that was imported has started a thread")
    imported = _imported_files(since_ns)
    freeze()
    request = ForkServer(socket.socket(fileno=arguments.fd), lambda: _are_unchanged(imported)).serve()
    if request is not None:
        _be_a_child(request)


def _be_a_child(request: Request) -> None:
    die_with(request.server_pid)
    ctypes.CDLL(None).prctl(PR_SET_NAME, b"milepost-child")  # for people who look at processes
    os.setsid()  # as a child that is started: Ctrl-C in a terminal is for the host
    descriptor, output = request.files
    for standard in (1, 2):
        os.dup2(output, standard)
    os.close(output)
    serve(request.message.decode(), descriptor)


if __name__ == "__main__":
    main()
