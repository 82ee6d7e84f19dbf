"""Which of two ways ends the servers when this process dies without stopping them.

Linux: the kernel does it (PR_SET_PDEATHSIG), at once. The signal fires when the spawning *thread* ends, so
this way serves the main thread only. Everywhere else a watchdog process waits for the end of a pipe that only
this process holds open.
"""

import os
import subprocess
import sys
import threading
from typing import Literal

from milepost_infra.processes import ProcessMark

GuardName = Literal["kernel", "watchdog"]
WATCHDOG_STOP_SECONDS_MAX = 15.0


def guard_for_this_thread() -> GuardName:
    """Return the best guard for children spawned from the current thread."""
    main = threading.current_thread() is threading.main_thread()
    return "kernel" if sys.platform == "linux" and main else "watchdog"


class Guard:
    """Ties the life of children to this process; one for each stack."""

    def __init__(self, name: GuardName) -> None:
        self.name: GuardName = name
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def watchdog_pid(self) -> int | None:
        """The watchdog's pid, None before the first child and where the kernel guards."""
        return self._watchdog.pid if self._watchdog is not None else None

    def watch(self, mark: ProcessMark) -> None:
        """End this child too when we die."""
        if self.name == "watchdog":
            self._tell(f"watch {mark.pid} {mark.start!r}\n")

    def forget(self, mark: ProcessMark) -> None:
        """The child has ended: its pid may be someone else's soon."""
        if self.name == "watchdog":
            self._tell(f"forget {mark.pid}\n")

    def close(self) -> None:
        """Let the watchdog end; every child it still watches ends with it. Blocking, short."""
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
            self._watchdog.wait(WATCHDOG_STOP_SECONDS_MAX)
            self._watchdog = None

    def _tell(self, line: str) -> None:
        if self._watchdog is None:
            self._watchdog = subprocess.Popen(
                [sys.executable, "-m", "milepost_infra.embedded.watchdog"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                env={**os.environ},
                start_new_session=True,
            )
        if self._watchdog.stdin is not None:
            self._watchdog.stdin.write(line.encode())
            self._watchdog.stdin.flush()
