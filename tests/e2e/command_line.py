"""The real `milepost` command as a process of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND_SECONDS = 120.0
LOOKS_MAX = 50
"""Each takes a process of its own, some tenths of a second."""


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
        done = subprocess.run(
            self.words(*arguments),
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            env=self.environment(),
            cwd=self.directory.parent,
            check=False,
        )
        said = Said(done.returncode, done.stdout, done.stderr)
        assert said.code == code, f"milepost {' '.join(arguments)}\n{said.out}\n{said.err}"
        assert "Traceback" not in said.err
        return said

    def json(self, *arguments: str, code: int = 0, stdin: str | None = None) -> Any:
        """Run a command with --json and return its document."""
        return self(*arguments, "--json", code=code, stdin=stdin).document

    def checkpoints_of(self, operation_id: str) -> list[Any]:
        """The operation's checkpoints, once there is one: the read model follows the log by a moment."""
        for _ in range(LOOKS_MAX):
            found = self.json("checkpoints", "list", "--operation", operation_id)["checkpoints"]
            if found:
                return found
        raise AssertionError(f"no checkpoint of {operation_id} is listed")

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
