"""Who is compared, and how one of them is asked: each in a process of its own, with one JSON document."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).parent / "peers"
PEER_PYTHON = ROOT / ".venv-compare" / "bin" / "python"
ASK_SECONDS_MAX = 600


@dataclass(frozen=True, slots=True)
class Contender:
    """One engine."""

    name: str
    script: str
    is_peer: bool = True
    bars_max: int = 1_000_000
    """More bars than this take minutes."""

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return PEER_PYTHON if self.is_peer else Path(sys.executable)


MILEPOST = Contender("Milepost, Python", "milepost_peer.py", is_peer=False)
# The compiled and the wake-up tier join here, each with a script like this one's: `serve(run)` is all they need.
OURS = (MILEPOST,)
PEERS = (
    Contender("backtesting.py", "backtesting_py.py"),
    Contender("backtrader", "backtrader_peer.py", bars_max=100_000),
    Contender("vectorbt", "vectorbt_peer.py"),
)


class PeersMissingError(Exception):
    """The peers' environment is not there: run ``make compare``."""


def ask(contender: Contender, *arguments: str) -> dict[str, Any]:
    """Return what a contender answers; ``process_seconds`` is from its start to its end.

    Raises:
        PeersMissingError: the environment is not there.
        RuntimeError: it ended with an error.
    """
    if not contender.python.exists():
        raise PeersMissingError("run `make compare` first: it makes .venv-compare")
    began = time.perf_counter()
    done = subprocess.run(
        [str(contender.python), str(SCRIPTS / contender.script), *arguments],
        capture_output=True,
        text=True,
        cwd=SCRIPTS,
        timeout=ASK_SECONDS_MAX,
        check=False,
    )
    process_seconds = time.perf_counter() - began
    if done.returncode != 0:
        raise RuntimeError(f"{contender.name} {' '.join(arguments)}: {done.stderr[-2000:]}")
    return {**json.loads(done.stdout.splitlines()[-1]), "process_seconds": process_seconds}


def goog() -> Path:
    """Return the daily bars of GOOG as backtesting.py ships them.

    Raises:
        PeersMissingError: the environment is not there.
    """
    found = sorted(PEER_PYTHON.parents[1].glob("lib/python*/site-packages/backtesting/test/GOOG.csv"))
    if not found:
        raise PeersMissingError("run `make compare` first: it makes .venv-compare")
    return found[0]
