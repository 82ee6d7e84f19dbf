"""Ends servers whose parent died without stopping them, where the kernel does not do it (not Linux).

States: watching -> ending -> gone. Authority: the parent holds the only write end of the pipe on standard
input and writes ``watch PID START`` and ``forget PID``; end of file means that the parent is gone.
Failures: a pid that belongs to another process by then is left alone (its start differs); a server that
ignores SIGTERM is killed after ``GRACE_SECONDS``. A server started in the instant before the parent dies may
not have been announced yet: the next start in the directory ends it.
"""

import sys
from collections.abc import Iterable

from milepost_infra.processes import ProcessMark, end_processes

GRACE_SECONDS = 5.0


def watched(lines: Iterable[str]) -> list[ProcessMark]:
    """Read announcements to the end of file; return the processes still watched."""
    marks: dict[int, ProcessMark] = {}
    for line in lines:
        match line.split():
            case ["watch", pid, start]:
                marks[int(pid)] = ProcessMark(pid=int(pid), start=float(start))
            case ["forget", pid]:
                marks.pop(int(pid), None)
            case _:
                sys.stderr.write(f"watchdog: line ignored: {line!r}\n")
    return list(marks.values())


if __name__ == "__main__":
    end_processes(watched(sys.stdin), grace_seconds=GRACE_SECONDS)
