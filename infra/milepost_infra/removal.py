"""Remove what a stack keeps: its own files in its directory, and nothing else there."""

import shutil
from pathlib import Path

from milepost_infra.directory_lock import DirectoryLock
from milepost_infra.embedded.postgres_home import remembered_home

DIRECTORIES = ("nats", "postgres", "s3", "workers", "logs")
FILES = ("credentials.json", "ports.json", "servers.json", "http-port", "stack.json")


def remove_data(directory: Path) -> None:
    """Remove data, credentials and logs of a stopped stack, also what Postgres keeps elsewhere. Blocking.

    Raises:
        StackInUseError: a stack runs there.
    """
    directory = directory.absolute()
    if not directory.is_dir():
        return
    locks = [DirectoryLock(directory / name) for name in ("supervisor.lock", "lock")]
    try:
        for lock in locks:
            lock.take()
        elsewhere = remembered_home(directory / "postgres")
        for place in (elsewhere, *(directory / name for name in DIRECTORIES)):
            if place is not None and place.exists():
                shutil.rmtree(place)
        for name in FILES:
            (directory / name).unlink(missing_ok=True)
    finally:
        for lock in locks:
            lock.release()
