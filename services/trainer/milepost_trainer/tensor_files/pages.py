"""Memory of whole pages, as direct input and output need it."""

import ctypes
import mmap

PAGE_BYTES = 4096
"""Of memory and of the file system: what direct writes must be aligned to."""
BLOCK_BYTES = 8 * 1024 * 1024
"""Read, written and hashed at once: large enough for the full speed of a disk, a multiple of a page."""


def up_to_a_page(size_bytes: int) -> int:
    """Return the bytes of the pages that hold so many bytes."""
    return -(-size_bytes // PAGE_BYTES) * PAGE_BYTES


def touched_pages(size_bytes: int) -> mmap.mmap:
    """Return memory of its own whose pages are all there: page faults cost more than a copy itself."""
    pages_bytes = max(PAGE_BYTES, up_to_a_page(size_bytes))
    private = getattr(mmap, "MAP_PRIVATE", 0) | getattr(mmap, "MAP_ANONYMOUS", 0)
    memory = mmap.mmap(-1, pages_bytes, flags=private) if private else mmap.mmap(-1, pages_bytes)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(memory)), 0, pages_bytes)
    return memory
