"""Writing local files so that they are whole or absent, also after a kill or a power cut.

The order is always: write under a temporary name, fsync the file, rename, fsync the directory. A rename is
atomic on POSIX file systems; without the fsync before it the name can appear with bytes missing.
"""

import os
from collections.abc import Generator, Sequence
from concurrent.futures import Executor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from milepost_runtime.clock import random_id


def fsync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    if os.name == "nt":  # Windows cannot open a directory; its renames are journalled
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_file(path: Path) -> None:
    """Make the bytes of a file that someone else has written durable."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_together(files: Sequence[Path], directories: Sequence[Path], threads: Executor) -> None:
    """Make files and the names in some directories, at least one, durable, all at the same time.

    The disk is told to write everything before anybody waits: one round of waiting instead of one for each file,
    which on a disk that others use is most of the time, and nearly all of it in the slowest cases. ``threads``
    wait beside this one; new ones each time would cost a tenth of a small checkpoint.
    """
    others = [threads.submit(fsync_file, file) for file in files]
    others += [threads.submit(fsync_directory, directory) for directory in directories[1:]]
    try:
        fsync_directory(directories[0])
    finally:
        wait(others)  # whoever is told of an error may remove the files
    for done in others:
        done.result()


def make_directory(directory: Path) -> None:
    """Create a directory and its missing parents, each name durable."""
    for parent in create_directory(directory):
        fsync_directory(parent)


def create_directory(directory: Path) -> list[Path]:
    """Create a directory and its missing parents; return the directories that have to be fsynced for it."""
    missing: list[Path] = []
    while not directory.is_dir():
        missing.append(directory)
        directory = directory.parent
    for child in reversed(missing):
        child.mkdir(exist_ok=True)
    return [child.parent for child in reversed(missing)]


@contextmanager
def replacing(path: Path, temporary: Path | None = None) -> Generator[BinaryIO]:
    """Give a file to write to; on a clean exit it is ``path``, durable; on an error ``path`` is as before.

    ``temporary`` must be in the same file system; by default a hidden name beside ``path``.
    """
    temporary = temporary or path.with_name(f".{random_id(path.name)}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_directory(path.parent)


def write_durably(path: Path, content: bytes) -> None:
    """Write a small file, whole or not at all; an existing one is replaced."""
    with replacing(path) as file:
        file.write(content)
