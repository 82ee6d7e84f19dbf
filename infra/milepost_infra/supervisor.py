"""Start and stop a whole stack; ``python -m milepost_infra.supervisor`` runs one until it is told to stop.

``start_detached`` runs it in a session of its own and returns once it is ready: the child writes one line to a
pipe, ``ready`` or ``failed: why``, and a child that dies before closes it. ``run_foreground`` runs it here.
"""

import argparse
import asyncio
import logging
import os
import select
import shlex
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
from milepost_runtime.clock import SystemClock
from milepost_runtime.errors import RuntimeServiceError

from milepost_infra.child_log import rotate
from milepost_infra.directories import make_passable
from milepost_infra.errors import StackInUseError, SupervisorError
from milepost_infra.processes import kill_all, wait_ended
from milepost_infra.running import RunningStack, read_running, stop, supervisor_log
from milepost_infra.supervision import Supervision
from milepost_infra.supervisor_settings import ORCHESTRATOR_COMMAND, WORKER_COMMAND, SupervisorSettings

__all__ = ["RunningStack", "SupervisorSettings", "read_running", "run_foreground", "start_detached", "stop"]

START_SECONDS_MAX = 240.0
ANSWER_BYTES_MAX = 64 * 1024
READY = "ready"
FAILED = "failed: "
READY_FD = 3
GIVE_UP_SECONDS_MAX = 90.0


def run_foreground(
    settings: SupervisorSettings, *, on_ready: Callable[[RunningStack], None] | None = None
) -> None:
    """Run the stack here until SIGTERM, SIGINT or SIGHUP, then stop it in order. Blocking.

    Raises:
        StackError, SettingsError: it did not start; says why.
    """
    asyncio.run(_run(settings, on_ready))


def start_detached(
    directory: Path,
    workers: Mapping[str, int],
    *,
    http_port: int | None = None,
    orchestrator_command: tuple[str, ...] | None = None,
    worker_command: tuple[str, ...] | None = None,
    environment: Mapping[str, str] | None = None,
) -> RunningStack:
    """Start the stack in the background and return once it is ready. Blocking.

    It runs on when this process ends; ``stop`` ends it. ``environment`` replaces ours.

    Raises:
        StackInUseError: one runs there already.
        SupervisorError: it did not start; holds its last log lines.
    """
    directory = directory.absolute()
    if read_running(directory) is not None:
        raise StackInUseError(str(directory))
    make_passable(directory)
    (directory / "logs").mkdir(mode=0o700, exist_ok=True)
    arguments = ["--directory", str(directory)]
    arguments += ["--workers", *(f"{kind}={count}" for kind, count in workers.items())] if workers else []
    if http_port is not None:
        arguments += ["--http-port", str(http_port)]
    if orchestrator_command is not None:
        arguments += ["--orchestrator-command", shlex.join(orchestrator_command)]
    if worker_command is not None:
        arguments += ["--worker-command", shlex.join(worker_command)]
    answer = _spawn_and_listen(directory, arguments, dict(environment or os.environ))
    if answer != READY:
        reason = answer.removeprefix(FAILED) or f"its log ends with:\n{supervisor_log(directory)}"
        raise SupervisorError(reason)
    running = read_running(directory)
    if running is None:
        raise SupervisorError(f"it ended at once; its log ends with:\n{supervisor_log(directory)}")
    return running


def main(arguments: list[str] | None = None) -> int:
    """Run the stack that the command line describes; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m milepost_infra.supervisor", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--workers", nargs="*", default=[], metavar="KIND=COUNT")
    parser.add_argument("--http-port", type=int)
    parser.add_argument("--orchestrator-command", type=shlex.split)
    parser.add_argument("--worker-command", type=shlex.split)
    parser.add_argument("--ready-fd", type=int, help="where one line says `ready` or `failed: why`")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        workers = _parse_workers(given.workers)
        settings = SupervisorSettings(
            directory=given.directory,
            workers=workers,
            http_port=given.http_port,
            orchestrator_command=tuple(given.orchestrator_command or ORCHESTRATOR_COMMAND),
            worker_command=tuple(given.worker_command or WORKER_COMMAND),
        )
        run_foreground(settings, on_ready=lambda _: _tell(given.ready_fd, READY))
    except RuntimeServiceError as error:
        logging.getLogger(__name__).error("%s", error)  # noqa: TRY400 - the message says it all
        # The one who hears this raises a SupervisorError of its own around it.
        _tell(given.ready_fd, f"{FAILED}{error.detail if isinstance(error, SupervisorError) else error}")
        return 1
    return 0


async def _run(settings: SupervisorSettings, on_ready: Callable[[RunningStack], None] | None) -> None:
    """Start until ready, wait for a signal, stop; a signal during the start ends the start."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, asked.set)
    supervision = Supervision(settings)
    starting = asyncio.create_task(supervision.start())
    waiting = asyncio.create_task(asked.wait())
    try:
        await asyncio.wait([starting, waiting], return_when=asyncio.FIRST_COMPLETED)
        if waiting.done() and not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            raise SupervisorError("it was told to stop before it was ready")
        running = await starting
        if on_ready is not None:
            on_ready(running)
        await waiting
    finally:
        waiting.cancel()
        await supervision.stop()


def _spawn_and_listen(directory: Path, arguments: list[str], environment: Mapping[str, str]) -> str:
    """Spawn a supervisor in a session of its own; return the line it says, empty when it died silently."""
    log = directory / "logs" / "supervisor.log"
    rotate(log)
    reader, writer = os.pipe()
    try:
        # Not subprocess.Popen: that warns about a child which outlives its parent, and here it shall.
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "milepost_infra.supervisor", *arguments, "--ready-fd", str(READY_FD)],
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
                (os.POSIX_SPAWN_DUP2, writer, READY_FD),
            ],
            setsid=True,
        )
        os.close(writer)
        writer = -1
        answer = ""
        try:
            answer = _listen(reader)
        finally:
            if answer != READY:
                _end(pid)
        return answer
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


def _listen(reader: int) -> str:
    """Return what the pipe says until its end; its writer closes it after one line.

    Raises:
        SupervisorError: nothing was said in time.
    """
    clock = SystemClock()
    deadline = clock.monotonic_seconds() + START_SECONDS_MAX
    said = b""
    while len(said) < ANSWER_BYTES_MAX:
        remaining = deadline - clock.monotonic_seconds()
        if remaining <= 0 or not select.select([reader], [], [], remaining)[0]:
            raise SupervisorError(f"it was not ready within {START_SECONDS_MAX:g} s")
        part = os.read(reader, 4096)
        if not part:
            break
        said += part
    return said.decode(errors="replace").strip()


def _end(pid: int) -> None:
    """Wait until a supervisor that failed, or that we give up, has ended; all that it started ends with it."""
    with suppress(psutil.NoSuchProcess, ChildProcessError):
        supervisor = psutil.Process(pid)
        supervisor.terminate()
        kill_all(wait_ended([supervisor], seconds_max=GIVE_UP_SECONDS_MAX))
        os.waitpid(pid, os.WNOHANG)


def _tell(ready_fd: int | None, what: str) -> None:
    """Answer whoever waits for us, once; after ``ready`` nobody reads any more."""
    if ready_fd is None:
        return
    with suppress(OSError):
        os.write(ready_fd, what.encode()[:ANSWER_BYTES_MAX])
        os.close(ready_fd)


def _parse_workers(words: list[str]) -> dict[str, int]:
    workers: dict[str, int] = {}
    for word in words:
        kind, _, count = word.partition("=")
        if not kind or not count.isdecimal():
            raise SupervisorError(f"--workers takes KIND=COUNT, not {word!r}")
        workers[kind] = int(count)
    return workers


if __name__ == "__main__":
    sys.exit(main())
