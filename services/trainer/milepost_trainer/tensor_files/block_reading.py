"""Reading a file block by block: from the page cache when it is there, else past it.

Reading past the cache costs no copy in the kernel and no pages that nobody needs again. Where the system knows no
direct reads, or cannot say what it has in the cache, everything comes through the cache.
"""

import errno
import os
import sys
from pathlib import Path

from milepost_trainer.tensor_files.pages import PAGE_BYTES, up_to_a_page

_REFUSED = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


class BlockReader:
    """An open file; used by one thread."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            OSError: it cannot be opened.
        """
        flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
        self._through_cache = os.open(path, flags)
        self._direct: int | None = None
        if sys.platform != "linux" or _is_cached(self._through_cache):
            return
        try:
            self._direct = os.open(path, flags | os.O_DIRECT)
        except OSError as error:
            if error.errno not in _REFUSED:
                os.close(self._through_cache)
                raise

    def close(self) -> None:
        """Close it; it is read no more."""
        os.close(self._through_cache)
        if self._direct is not None:
            os.close(self._direct)

    def read(self, memory: memoryview, offset: int, size_bytes: int) -> int:
        """Fill ``memory``, whole pages of it, with so many bytes from a page on; return how many there were.

        Raises:
            OSError: it cannot be read.
        """
        wanted = memory[:size_bytes]
        done = self._read_direct(memory[: up_to_a_page(size_bytes)], offset)
        while done < size_bytes:
            count = os.preadv(self._through_cache, [wanted[done:]], offset + done)
            if count == 0:
                break
            done += count
        return min(done, size_bytes)

    def _read_direct(self, pages: memoryview, offset: int) -> int:
        if self._direct is None or offset % PAGE_BYTES:
            return 0
        try:
            return os.preadv(self._direct, [pages], offset)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            os.close(self._direct)
            self._direct = None
            return 0


def _is_cached(descriptor: int) -> bool:
    """Guess whether a file is in the page cache: its middle and its end, for its head was read before."""
    size_bytes = os.fstat(descriptor).st_size
    try:
        for offset in (size_bytes // 2, size_bytes - 1):
            os.preadv(descriptor, [bytearray(1)], offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
    return True
