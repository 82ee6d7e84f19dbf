"""Processes known by pid and start: a pid alone may belong to someone else by the time it is used."""

import os
import select
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from milepost_runtime.clock import SystemClock

KILL_SECONDS_MAX = 5.0
_CLOCK = SystemClock()
# Where the start is the wall clock's, psutil rounds it; on Linux it is exact.
START_TOLERANCE = 0.0 if sys.platform == "linux" else 1.0


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """Names one process for as long as the machine runs."""

    pid: int
    start: float
    """Clock ticks since the machine started (Linux), or seconds since 1970; only good for comparing."""


def mark_process(pid: int) -> ProcessMark:
    """Return the mark of a process that exists.

    Raises:
        psutil.NoSuchProcess: it does not.
    """
    return ProcessMark(pid=pid, start=_start(pid))


def find_process(mark: ProcessMark) -> psutil.Process | None:
    """Return the process, None when it is gone, a zombie, or its pid belongs to another one now."""
    try:
        process = _named(mark)
        return None if process is None or process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.NoSuchProcess:
        return None


def end_processes(marks: Iterable[ProcessMark], *, grace_seconds: float) -> None:
    """End processes and all they started: SIGTERM first, SIGKILL after the grace time. Blocking."""
    alive: list[psutil.Process] = []
    for mark in marks:
        try:
            # Zombies too: the first thread may be one while others still hold the ports.
            process = _named(mark)
            if process is None:
                continue
            family = [process, *process.children(recursive=True)]
            process.terminate()
        except psutil.NoSuchProcess:
            continue
        alive += family
    kill_all(wait_ended(alive, seconds_max=grace_seconds))


def kill_all(processes: list[psutil.Process]) -> None:
    """Kill the processes and wait until they are gone; bounded, blocking."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    wait_ended(processes, seconds_max=KILL_SECONDS_MAX)


def wait_ended(processes: Sequence[psutil.Process], *, seconds_max: float) -> list[psutil.Process]:
    """Wait until the processes have ended, a zombie included; return those that have not. Blocking.

    They need not be our children. On Linux the kernel tells (pidfd); ``psutil.wait_procs``, used elsewhere,
    would wait for a zombie until its parent reaps it.
    """
    if sys.platform != "linux":
        return psutil.wait_procs(processes, timeout=seconds_max)[1]
    deadline = _CLOCK.monotonic_seconds() + seconds_max
    return [process for process in processes if not _ended_by(process, deadline)]


def _named(mark: ProcessMark) -> psutil.Process | None:
    """Return the process, a zombie included; None when the pid belongs to another one now."""
    return psutil.Process(mark.pid) if abs(_start(mark.pid) - mark.start) <= START_TOLERANCE else None


def _ended_by(process: psutil.Process, deadline: float) -> bool:
    if sys.platform != "linux":
        raise NotImplementedError
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        if not process.is_running():
            return True  # the pid is someone else's now
        return bool(poll.poll(max(0.0, deadline - _CLOCK.monotonic_seconds()) * 1000))
    finally:
        os.close(handle)


def _start(pid: int) -> float:
    if sys.platform != "linux":
        return psutil.Process(pid).create_time()
    # psutil adds the boot time, which moves when the wall clock is set; the ticks do not.
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise psutil.NoSuchProcess(pid) from error
    return float(stat.rpartition(")")[2].split()[19])
