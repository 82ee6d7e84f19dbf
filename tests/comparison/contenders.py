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
PEERS_ENVIRONMENT = ".venv-compare"
ASK_SECONDS_MAX = 600


@dataclass(frozen=True, slots=True)
class Contender:
    """One engine."""

    name: str
    script: str
    environment: str | None = PEERS_ENVIRONMENT
    """Directory below the repository's root; None: the one that runs this."""
    options: tuple[str, ...] = ()
    """What its script wants to know beside the task."""
    bars_max: int = 1_000_000
    """More bars than this take minutes."""

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        if self.environment is None:
            return Path(sys.executable)
        return ROOT / self.environment / "bin" / "python"

    @property
    def is_present(self) -> bool:
        """Whether its environment was made."""
        return self.python.exists()


OURS = tuple(
    Contender(f"Milepost, {tier}", "milepost_peer.py", environment=None, options=(tier,))
    for tier in ("compiled", "wake", "python")
)
"""All tiers; for the wake-up tier the rule is looked up ahead, and Python is called where it changes its mind."""
PEERS = (
    Contender("backtesting.py", "backtesting_py.py"),
    Contender("backtrader", "backtrader_peer.py", bars_max=100_000),
    Contender("vectorbt", "vectorbt_peer.py"),
)
NAUTILUS = Contender(
    "nautilus_trader", "nautilus_peer.py", environment=".venv-compare-nautilus", bars_max=100_000
)
"""Fills at the close of the deciding bar, so only its speed can be compared."""


class PeersMissingError(Exception):
    """The peers' environment is not there: run ``make compare``."""


def ask(contender: Contender, *arguments: str) -> dict[str, Any]:
    """Return what a contender answers; ``process_seconds`` is from its start to its end.

    Raises:
        PeersMissingError: the environment is not there.
        RuntimeError: it ended with an error.
    """
    if not contender.is_present:
        raise PeersMissingError("run `make compare` first: it makes .venv-compare")
    began = time.perf_counter()
    done = subprocess.run(
        [str(contender.python), str(SCRIPTS / contender.script), *arguments, *contender.options],
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
    found = sorted((ROOT / PEERS_ENVIRONMENT).glob("lib/python*/site-packages/backtesting/test/GOOG.csv"))
    if not found:
        raise PeersMissingError("run `make compare` first: it makes .venv-compare")
    return found[0]
