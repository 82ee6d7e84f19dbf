"""Becomes a server after tying its life to the parent's; run as a script, with the standard library only.

``python -I -S launcher.py SIGNAL PARENT_PID UID GID PROGRAM ARGUMENT...`` asks the kernel (Linux) to send
SIGNAL when the spawning *thread* ends, gives up root for UID and GID (-1: keep), and becomes PROGRAM.
A program of its own instead of ``preexec_fn``, which may deadlock in a process with threads.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Become the program; never returns."""
    death_signal, parent_pid, uid, gid = (int(argument) for argument in arguments[:4])
    command = arguments[4:]
    # Loaded before root is given up: the interpreter's files may be out of reach afterwards.
    libc = ctypes.CDLL(None, use_errno=True) if death_signal else None
    if gid >= 0:
        os.setgroups([])
        os.setgid(gid)
    if uid >= 0:
        os.setuid(uid)
    if libc is not None:
        # After the change of user, which clears it.
        if libc.prctl(PR_SET_PDEATHSIG, death_signal) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
        if os.getppid() != parent_pid:
            raise SystemExit("the parent ended before the server started")
    os.execv(command[0], command)  # noqa: S606 - to become the server is the point; no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
