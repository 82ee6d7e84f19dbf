"""Directories that Postgres' unprivileged user must pass, whatever the umask of whoever starts the stack."""

from pathlib import Path

PASSABLE = 0o755


def make_passable(directory: Path) -> None:
    """Make the directory and its missing parents with mode 0755; those that exist stay as they are."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        path.chmod(PASSABLE)
