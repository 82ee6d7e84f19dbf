"""Files that hold secrets: readable by their owner only from the first byte on, and replaced whole."""

import os
import tempfile
from pathlib import Path


def write_private(path: Path, content: str) -> None:
    """Replace ``path`` with ``content`` atomically; mode 0600.

    A reader sees the old file or the new one, never a part, and nobody else can read the temporary file
    in between (``mkstemp`` makes it with mode 0600).
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
