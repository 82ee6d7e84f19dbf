"""Trainings that are killed, cancelled and released at random points, chained, end with the undisturbed digests.

One chain is five points in one training, spread over its length, each followed at once by kill -9 of the child
or of its host, by a cancel with a resume, or by SIGTERM of the worker. The units are optimizer steps, so most
points lie in the middle of an epoch.
"""

import os
import random
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from milepost_contracts.events import (
    AttemptLost,
    Cancelled,
    CheckpointRefused,
    Claimed,
    Completed,
    Event,
    Progress,
    Released,
    Started,
)
from milepost_contracts.failures import FailureCode
from milepost_contracts.model import JsonObject
from milepost_infra.endpoints import StackEndpoints

from tests.support.bars import add_dataset
from tests.support.harness import Harness, open_harness
from tests.support.services import Service
from tests.support.stack import fresh_tenant
from tests.trainer.trainer_doubles import small_spec

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]

POINTS = int(os.environ.get("MILEPOST_TRAINING_FAULT_POINTS", "10"))
"""Two chains: how every setting is cut and goes on is shown in one process by the tests of the trainer."""
ACTIONS = ("child", "host", "cancel", "terminate", "child")
"""Each chain does all of these, in an order of its own."""
FIRST_SHARE, STEP_SHARE, WIDTH_SHARE = 0.08, 0.13, 0.1
"""Where points lie: the last one has more than a quarter of the training before it, in seconds."""
RUN_SECONDS = 12.0
LEASE = {"MILEPOST_WORKER_LEASE_SECONDS": "3"}
DROPOUT = {"hidden_size": 8, "layers": 1, "dropout": 0.2}

TRAININGS: dict[str, dict[str, Any]] = {
    "plateau, batch normalization, weight average": {
        "model": {"family": "mlp", **DROPOUT, "normalization": "batch"},
        "scheduler": {"name": "plateau", "patience": 1},
        "averaging": {"decay": 0.9},
        "gradient_clip": 1.0,
    },
    "stops early": {
        "model": {"family": "gru", **DROPOUT},
        "optimizer": {"name": "adam", "learning_rate": 0.05},
        "early_stopping": {"patience": 6},
        "epochs": 40,
    },
    "one-cycle, momentum": {
        "model": {"family": "lstm", **DROPOUT},
        "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
        "scheduler": {"name": "one-cycle"},
    },
    "bfloat16": {
        "model": {"family": "tcn", **DROPOUT},
        "optimizer": {"name": "rmsprop", "learning_rate": 0.01},
        "scheduler": {"name": "cosine"},
        "precision": "bfloat16",
    },
    "attention, regression": {
        "model": {"family": "transformer", **DROPOUT},
        "label": "return",
        "scheduler": {"name": "step", "every_epochs": 3},
    },
}


def spec(name: str) -> JsonObject:
    """Two micro-batches a step, and a last step of one."""
    common = {"epochs": 12, "batch_size": 32, "accumulation": 2, "checkpoint": {"unit": "step"}}
    return {"data": {"name": "walk"}, **small_spec(**{**common, **TRAININGS[name]})}


def digests(event: Event) -> dict[str, str]:
    assert isinstance(event, Completed), event
    return {artifact.name: artifact.digest for artifact in event.artifacts}


@dataclass
class Fleet:
    """Two workers for trainings at any time, and what undisturbed trainings end with."""

    harness: Harness
    known: dict[str, Completed]
    started: int = 0

    async def hire(self) -> None:
        """Start one more worker."""
        self.started += 1
        await self.harness.services.worker(f"w-{self.started}", "training", **LEASE)

    async def undisturbed(self, name: str) -> Completed:
        if name not in self.known:
            completed = await self.harness.end(await self.harness.start("training", spec(name)))
            assert isinstance(completed, Completed), completed
            self.known[name] = completed
        return self.known[name]

    def worker(self, worker_id: str) -> Service:
        return next(each for each in self.harness.services.running if each.name == worker_id)


@pytest.fixture(scope="module")
async def fleet(stack: StackEndpoints, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """An orchestrator, two workers and the bars."""
    directory = tmp_path_factory.mktemp("fleet")
    async with fresh_tenant(stack) as tenant, open_harness(tenant, directory) as harness:
        add_dataset(harness.store, directory, 400)
        await harness.services.orchestrator()
        opened = Fleet(harness, {})
        await opened.hire()
        await opened.hire()
        yield opened


class Chain:
    """One training and the operations that it was resumed as."""

    def __init__(self, fleet: Fleet, operation_id: str) -> None:
        self._fleet = fleet
        self._harness = fleet.harness
        self.operations = [operation_id]
        self._attempt = 1

    async def reach(self, unit: int) -> None:
        """Wait until the newest attempt has done ``unit`` units."""
        await self._harness.until(
            self.operations[-1],
            lambda event: (
                isinstance(event, Progress) and event.attempt >= self._attempt and event.unit >= unit
            ),
        )

    async def child(self) -> None:
        owner = await self._owner()
        computing = [
            line["pid"]
            for line in owner.log_lines()
            if line["event"] == "computing" and line["operation_id"] == self.operations[-1]
        ]
        os.kill(computing[-1], signal.SIGKILL)
        self._attempt += 1

    async def host(self) -> None:
        await (await self._owner()).kill()
        self._attempt += 1
        await self._fleet.hire()

    async def terminate(self) -> None:
        assert await (await self._owner()).stop() == 0
        self._attempt += 1
        await self._fleet.hire()

    async def cancel(self) -> None:
        await self._harness.cancel(self.operations[-1])
        assert isinstance(await self._harness.end(self.operations[-1]), Cancelled)
        self.operations.append(await self._harness.resume(self.operations[-1]))
        self._attempt = 1

    async def end(self) -> dict[str, str]:
        return digests(await self._harness.end(self.operations[-1]))

    async def events(self) -> list[Event]:
        """All of all operations, one after the other."""
        return [entry.event for operation in self.operations for entry in await self._harness.log(operation)]

    async def _owner(self) -> Service:
        claims = await self._harness.events(self.operations[-1], Claimed)
        return self._fleet.worker(claims[-1].worker_id)


def points_of(rng: random.Random, total_units: int) -> list[int]:
    """Ascending, with room between them and after them."""
    shares = [
        FIRST_SHARE + STEP_SHARE * number + WIDTH_SHARE * rng.random() for number in range(len(ACTIONS))
    ]
    return [max(1, round(share * total_units)) for share in shares]


@pytest.mark.parametrize("seed", range(POINTS // len(ACTIONS)))
async def test_random_points_end_equal(fleet: Fleet, seed: int) -> None:
    """Every digest is the undisturbed one, no checkpoint was bad, and SIGTERM and cancel cost no unit."""
    rng = random.Random(seed)
    name = list(TRAININGS)[seed % len(TRAININGS)]
    undisturbed = await fleet.undisturbed(name)
    chain = Chain(
        fleet,
        await fleet.harness.start(
            "training",
            spec(name),
            checkpoint={"every_units": rng.randrange(1, 6), "min_seconds": 0.0},
            pace_units_per_second=undisturbed.unit / RUN_SECONDS,
        ),
    )
    for unit, action in zip(points_of(rng, undisturbed.unit), rng.sample(ACTIONS, len(ACTIONS)), strict=True):
        await chain.reach(unit)
        await getattr(chain, action)()
    assert await chain.end() == digests(undisturbed)
    assert_nothing_lost(await chain.events())


def assert_nothing_lost(events: list[Event]) -> None:
    """What stopped in order goes on exactly there; what died went on from a good checkpoint."""
    assert not [event for event in events if isinstance(event, CheckpointRefused)]
    lost = [event.failure.code for event in events if isinstance(event, AttemptLost)]
    assert lost == [FailureCode.CHILD_DIED] * ACTIONS.count("child")
    stopped = [index for index, event in enumerate(events) if isinstance(event, Released | Cancelled)]
    assert len(stopped) == ACTIONS.count("cancel") + ACTIONS.count("terminate")
    for index in stopped:
        following = next(event for event in events[index:] if isinstance(event, Started))
        assert following.unit == events[index].unit
        seen = [event.unit for event in events[:index] if isinstance(event, Progress)]
        assert max(seen) <= events[index].unit, "a unit that was reported is not in the checkpoint"
