"""The real `milepost` command as a process of its own, which finds its imports done unless it is spawned."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from tests.support.preloaded import preloaded

COMMAND_SECONDS = 120.0
LOOKS_MAX = 250
"""Each takes a process of its own, a tenth of a second or more."""


@dataclass(frozen=True)
class Said:
    """What a finished command left."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class CommandLine:
    """Runs commands on one stack's directory."""

    directory: Path

    def __call__(self, *arguments: str, code: int = 0, stdin: str | None = None) -> Said:
        """Run a command to its end and check its exit code."""
        with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
            given.write((stdin or "").encode())
            given.seek(0)
            process = preloaded().start(
                self.words(*arguments)[2:],
                files=(given, out, err),
                environment=self.environment(),
                directory=self.directory.parent,
            )
            try:
                returned = process.wait_blocking(COMMAND_SECONDS)
            finally:
                process.kill()
            said = Said(returned, _text(out), _text(err))
        assert said.code == code, f"milepost {' '.join(arguments)}\n{said.out}\n{said.err}"
        assert "Traceback" not in said.err
        return said

    def json(self, *arguments: str, code: int = 0, stdin: str | None = None) -> Any:
        """Run a command with --json and return its document."""
        return self(*arguments, "--json", code=code, stdin=stdin).document

    def checkpoints_of(self, operation_id: str, **awaited: Any) -> list[Any]:
        """The operation's checkpoints on record, newest first, once there is one with these fields.

        They go on record one by one, in the order they were saved in, and a moment after the operation has ended.
        """
        for _ in range(LOOKS_MAX):
            found = self.json("checkpoints", "list", "--operation", operation_id)["checkpoints"]
            if any(awaited.items() <= each.items() for each in found):
                return found
        raise AssertionError(f"no checkpoint of {operation_id} with {awaited} is listed")

    def until_running(self, operation_id: str) -> None:
        """Return when some units are done; the read model follows the log by a moment."""
        for _ in range(LOOKS_MAX):
            found = self.json("show", operation_id)
            if found["status"] == "running" and found["unit"] > 0:
                return
        raise AssertionError(f"{operation_id} does not run")

    def spawn(self, *arguments: str, **popen: Any) -> subprocess.Popen[str]:
        """Start a command and leave it running."""
        return subprocess.Popen(
            self.words(*arguments), env=self.environment(), cwd=self.directory.parent, text=True, **popen
        )

    def words(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "milepost_cli", *arguments]

    def environment(self) -> dict[str, str]:
        """Only this stack; whatever the tests themselves run on is not meant."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
        return {**kept, "MILEPOST_DIRECTORY": str(self.directory)}


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()
