"""One owner for a directory at a time; the kernel lets go of the lock when its holder dies, however it dies."""

import errno
import fcntl
from pathlib import Path
from typing import IO

from milepost_infra.directories import make_passable
from milepost_infra.errors import StackInUseError


class DirectoryLock:
    """An exclusive lock on a file; held by this object, not inherited by children."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def take(self) -> None:
        """Take the lock now or not at all.

        Raises:
            StackInUseError: someone holds it, this object included.
        """
        if self._file is not None:
            raise StackInUseError(f"{self._path.parent}, by this same object")
        make_passable(self._path.parent)
        file = self._path.open("a", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise StackInUseError(str(self._path.parent)) from error
            raise
        self._file = file

    def release(self) -> None:
        """Let go; harmless when it is not held."""
        if self._file is not None:
            self._file.close()
            self._file = None
