"""The worker's own directory: one host at a time, and nothing left over from the one before.

Authority: whoever holds the lock on ``lock``. What a killed host left of its operations is of no use to anyone:
their checkpoints are in the store or lost, and the next attempt makes its own directories.
"""

import fcntl
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from milepost_runtime.errors import SettingsError


@contextmanager
def own_directory(directory: Path) -> Generator[Path]:
    """Hold the directory for this process, cleared of old operations; inputs are kept as a cache.

    Raises:
        SettingsError: another worker uses it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingsError(
                f"another worker uses {directory}; give each worker a --directory of its own"
            ) from error
        shutil.rmtree(directory / "operations", ignore_errors=True)
        yield directory
