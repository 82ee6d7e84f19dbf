"""Backtests in real child processes, killed with SIGKILL at random and chosen checkpoints, end undisturbed."""

import asyncio
import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from milepost_backtester.market_data import SCHEMA
from milepost_backtester.parquet import write_table
from milepost_contracts.checkpoints import CheckpointPolicySpec
from milepost_runtime.checkpoints.spool import Spool
from milepost_runtime.digests import digest_of_file
from milepost_runtime.worker.child_process import ChildPool, ChildProcess
from milepost_runtime.worker.messages import (
    Advanced,
    Begun,
    Committed,
    Finished,
    Raised,
    RestoredCheckpoint,
    Run,
    Staged,
)

from tests.support.bars import make_bars
from tests.support.services import PLUGINS

pytestmark = pytest.mark.faults

POINTS = int(os.environ.get("MILEPOST_BACKTEST_FAULT_POINTS", "12"))
KILLS_OF_A_RUN = 4
BARS = 1_200
TERMS = {
    "slippage_random_rate": 0.001,
    "slippage_seed": 7,
    "spread": 0.02,
    "leverage_max": 3.0,
    "maintenance_margin": 0.2,
    "borrow_rate": 0.05,
}

State = dict[str, Any]
Wish = Callable[[State], bool]


@dataclass(frozen=True)
class Case:
    """What runs, how fast, and at which states to kill beside random ones."""

    kind: str
    spec: State
    every_units: int = 20
    units_per_second: float = 1_500.0
    symbols: int = 1
    wishes: tuple[Wish, ...] = field(default=())


def some(field_name: str) -> Wish:
    """An order waits for which this counts."""
    return lambda state: any(order[field_name] for order in state["waiting"])


WAITING: tuple[Wish, ...] = (
    some("group"),
    some("parent"),
    some("extreme"),
    some("limit"),
    lambda s: bool(s["lots"]),
)
GRID = {"fast": [2, 3, 4, 5, 6], "slow": {"from": 8, "to": 40, "step": 4}}
CASES: dict[str, Case] = {
    "every-order": Case(
        "backtest",
        {"strategy": {"name": "every-order", "parameters": {"every": 3}}, "terms": TERMS},
        wishes=WAITING,
    ),
    "bracketer": Case(
        "backtest", {"strategy": {"name": "bracketer"}, "terms": TERMS}, symbols=3, wishes=WAITING
    ),
    "compiled": Case(
        "backtest", {"strategy": {"name": "sma-cross", "parameters": {"allow_short": True}}, "terms": TERMS}
    ),
    "higher": Case(
        "backtest",
        {
            "strategy": {
                "name": "trend-cross",
                "parameters": {"timeframe": "15m", "trend_bars": 3, "fast": 3, "slow": 9},
            }
        },
    ),
    "sweep": Case(
        "sweep",
        {"strategy": {"name": "sma-cross", "parameters": {"quantity": 10.0}}, "grid": GRID},
        every_units=3,
        units_per_second=60.0,
    ),
}
NAMES = [list(CASES)[point % len(CASES)] for point in range(-(-POINTS // KILLS_OF_A_RUN))]


class Place:
    """The disk of one run: bars, one spool for each process, and every artifact by its digest."""

    def __init__(self, directory: Path, case: Case) -> None:
        self.directory = directory
        self.case = case
        self.inputs: dict[str, str] = {}
        self.artifacts: dict[str, Path] = {}
        self._runs = 0
        for symbol in range(case.symbols):
            bars, path = make_bars(BARS, seed=20 + symbol), directory / f"bars-{symbol}.parquet"
            write_table({name: getattr(bars, name) for name in SCHEMA.names}, SCHEMA, path)
            self.inputs[digest_of_file(path)] = str(path)

    def message(self, checkpoint: RestoredCheckpoint | None, *, paced: bool) -> tuple[Run, Path]:
        """What a fresh process is told, and where its files will be."""
        self._runs += 1
        run = self.directory / f"run-{self._runs}"
        for name in ("spool", "results", "scratch"):
            (run / name).mkdir(parents=True)
        data = [{"name": f"s{number}", "digest": digest} for number, digest in enumerate(self.inputs)]
        message = Run(
            operation_id="op-1",
            spec={"data": data if self.case.symbols > 1 else data[0], **self.case.spec},
            inputs=self.inputs,
            scratch_directory=str(run / "scratch"),
            spool_directory=str(run / "spool"),
            results_directory=str(run / "results"),
            checkpoint=checkpoint,
            policy=CheckpointPolicySpec(every_units=self.case.every_units, min_seconds=0.0),
            pace_units_per_second=self.case.units_per_second if paced else None,
            stop=None,
            progress_seconds=0.01,
        )
        return message, run

    def newest(self, run: Path) -> RestoredCheckpoint | None:
        """What a new process finds in the spool of the one that died: the newest whole checkpoint."""
        spool, found = Spool(run / "spool"), None
        spool.remove_torn()
        for directory in spool.pending("op-1"):
            found = spool.load(directory)  # verifies every byte
            for reference in found.files:
                self.artifacts[reference.digest] = directory / reference.name
        if found is None:
            return None
        restored = run / "restored"
        restored.mkdir()
        for reference in (*found.files, *found.kept):
            (restored / reference.name).write_bytes(self.artifacts[reference.digest].read_bytes())
        return RestoredCheckpoint(
            unit=found.unit,
            directory=str(restored),
            artifacts=(*found.files, *found.kept),
            fingerprint=dict(found.fingerprint),
        )


async def start(message: Run, kind: str) -> ChildProcess:
    child = await ChildPool(kind, start_grace_seconds=60).take()
    await child.send(message)
    return child


async def finish(place: Place, checkpoint: RestoredCheckpoint | None) -> dict[str, str]:
    """Digests of the result files of a process that nobody disturbs."""
    message, run = place.message(checkpoint, paced=False)
    child = await start(message, place.case.kind)
    try:
        async for word in child.messages():
            assert not isinstance(word, Raised), word
            if isinstance(word, Begun):
                assert word.unit == (checkpoint.unit if checkpoint else 0)
            if isinstance(word, Staged):
                await child.send(Committed(directory=word.directory))
            if isinstance(word, Finished):
                return {name: digest_of_file(run / "results" / name) for name in word.files}
    finally:
        await child.kill()
    raise AssertionError("the child died by itself")


async def run_and_kill(
    place: Place,
    checkpoint: RestoredCheckpoint | None,
    rng: random.Random,
    wish: Wish | None,
    *,
    needs_checkpoint: bool,
) -> RestoredCheckpoint | None:
    """Kill a process at the first checkpoint from a random unit on that shows what is wished, or between two.

    With ``needs_checkpoint`` not before its first one was announced.
    """
    message, run = place.message(checkpoint, paced=True)
    child = await start(message, place.case.kind)
    target = None
    async for word in child.messages():
        assert not isinstance(word, Raised), word
        if isinstance(word, Finished):
            break
        if isinstance(word, Begun):
            left = word.total_units - word.unit
            target = word.unit + rng.randrange(1, max(2, left // 3))
        if isinstance(word, Staged):
            needs_checkpoint = False
            staged = Path(word.directory)
            unit = int(json.loads((staged / "checkpoint.json").read_bytes())["unit"])
            state = json.loads((staged / "state.json").read_bytes())
            if wish is not None and target is not None and unit >= target and wish(state):
                break  # it was not committed, so none comes after it
            files = Spool(staged.parents[1]).load(staged).files
            await child.send(Committed(directory=word.directory, files=files))
        is_there = isinstance(word, Advanced) and target is not None and word.unit >= target
        if is_there and wish is None and not needs_checkpoint:
            break
    await child.kill()
    return place.newest(run) or checkpoint


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PLUGINS))


@pytest.mark.parametrize("number", range(len(NAMES)))
async def test_killed_processes_end_as_undisturbed(tmp_path: Path, number: int) -> None:
    """Four kills in a row, half of them at chosen states, and every result file has the same digest."""
    case, rng = CASES[NAMES[number]], random.Random(number)
    place = Place(tmp_path, case)
    async with asyncio.timeout(150):
        expected = await finish(place, None)
        checkpoint: RestoredCheckpoint | None = None
        units: list[int] = []
        for kill in range(KILLS_OF_A_RUN):
            wish = rng.choice(case.wishes) if case.wishes and kill % 2 else None
            checkpoint = await run_and_kill(place, checkpoint, rng, wish, needs_checkpoint=kill > 0)
            units.append(checkpoint.unit if checkpoint else 0)
        assert units[-1] > 0
        assert await finish(place, checkpoint) == expected
