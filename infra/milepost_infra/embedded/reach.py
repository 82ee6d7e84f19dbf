"""Which unprivileged user runs Postgres when we are root, and which directories that user can reach."""

import os
import pwd
from pathlib import Path

from milepost_infra.embedded.child_process import UnprivilegedUser
from milepost_infra.errors import UnreachableDirectoryError

CANDIDATES = ("postgres", "nobody", "daemon")
EXECUTE_OWNER, EXECUTE_GROUP, EXECUTE_OTHERS = 0o100, 0o010, 0o001


def user_for_postgres() -> UnprivilegedUser | None:
    """Return whom to run Postgres as; None when we are not root and it runs as we do.

    Raises:
        UnreachableDirectoryError: this machine has none of the usual unprivileged users.
    """
    if os.geteuid() != 0:
        return None
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return UnprivilegedUser(uid=entry.pw_uid, gid=entry.pw_gid, name=name)
    raise UnreachableDirectoryError(
        f"none of the users {', '.join(CANDIDATES)} exists; add one, or run as another user than root"
    )


def first_blocked(path: Path, user: UnprivilegedUser) -> Path | None:
    """Return the outermost directory on the way into ``path`` that ``user`` cannot pass, None if it can."""
    resolved = path.resolve()
    for directory in (*reversed(resolved.parents), resolved):
        if directory.is_dir() and not _passable(directory, user):
            return directory
    return None


def _passable(directory: Path, user: UnprivilegedUser) -> bool:
    status = directory.stat()
    if status.st_uid == user.uid:
        return bool(status.st_mode & EXECUTE_OWNER)
    if status.st_gid == user.gid:
        return bool(status.st_mode & EXECUTE_GROUP)
    return bool(status.st_mode & EXECUTE_OTHERS)
