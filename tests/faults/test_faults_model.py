"""G3: a model is trained and a strategy trades it, and each loses its worker on the way."""

from pathlib import Path

import pytest
from milepost_backtester.results import RESULT_FILES as BACKTEST_FILES
from milepost_contracts.events import AttemptLost, Claimed, Completed, Event, Requested, Started
from milepost_contracts.model import JsonObject
from milepost_contracts.trained_models import CARD_FILE, WEIGHTS_FILE
from milepost_trainer.results import RESULT_FILES as TRAINING_FILES

from tests.support.bars import add_dataset
from tests.support.harness import Harness
from tests.trainer.trainer_doubles import small_spec

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

BARS, EPOCHS = 4_000, 16
LEASE = {"MILEPOST_WORKER_LEASE_SECONDS": "3"}
OFTEN = {"every_units": 2, "min_seconds": 0.0}
EVERY_300 = {"every_units": 300, "min_seconds": 0.0}


def digests(event: Event) -> dict[str, str]:
    """Result files by name."""
    assert isinstance(event, Completed), event
    return {artifact.name: artifact.digest for artifact in event.artifacts}


def training() -> JsonObject:
    return {"data": {"name": "walk"}, **small_spec(epochs=EPOCHS)}


def backtest(operation: str) -> JsonObject:
    parameters = {
        "model": {"operation": operation},
        "enter_long": 0.51,
        "leave_long": 0.49,
        "enter_short": 0.52,
        "allow_short": True,
        "amount": 10,
    }
    return {"data": {"name": "walk"}, "strategy": {"name": "model", "parameters": parameters}}


async def lose_the_worker(harness: Harness, operation_id: str, kind: str, unit: int) -> None:
    """kill -9 of the worker at a unit, with another one there to take over."""
    await harness.until_unit(operation_id, unit)
    (claimed,) = await harness.events(operation_id, Claimed)
    owner = next(service for service in harness.services.running if service.name == claimed.worker_id)
    await owner.kill()
    await harness.services.worker(f"{kind}-2", kind, **LEASE)


async def went_on(harness: Harness, operation_id: str) -> bool:
    """Say whether one attempt was lost and the other went on from a checkpoint."""
    lost, started = (
        await harness.events(operation_id, AttemptLost),
        await harness.events(operation_id, Started),
    )
    return len(lost) <= 1 and [event.unit > 0 for event in started] == [False, True]


async def test_a_model_trained_and_traded_over_lost_workers_ends_as_undisturbed(
    harness: Harness, tmp_path: Path
) -> None:
    """G3: both workers killed with -9 midway; model and backtest go on elsewhere, every file is the same."""
    add_dataset(harness.store, tmp_path, BARS)
    await harness.services.orchestrator()
    await harness.services.worker("training-1", "training", **LEASE)
    await harness.services.worker("backtest-1", "backtest", **LEASE)
    model = digests(await harness.end(await harness.start("training", training())))
    assert set(model) == set(TRAINING_FILES)

    trained = await harness.start("training", training(), checkpoint=OFTEN, pace_units_per_second=4.0)
    await lose_the_worker(harness, trained, "training", EPOCHS // 2)
    assert digests(await harness.end(trained)) == model
    assert await went_on(harness, trained)

    # Half of an id is enough.
    expected = digests(await harness.end(await harness.start("backtest", backtest(trained[:11]))))
    traded = await harness.start(
        "backtest", backtest(trained), checkpoint=EVERY_300, pace_units_per_second=800.0
    )
    await lose_the_worker(harness, traded, "backtest", BARS // 2)
    assert digests(await harness.end(traded)) == expected
    assert set(expected) == set(BACKTEST_FILES)
    assert await went_on(harness, traded)

    (requested,) = await harness.events(traded, Requested)
    assert isinstance(requested, Requested)
    inputs = {artifact.name: artifact.digest for artifact in requested.inputs}
    assert {name: inputs[name] for name in (CARD_FILE, WEIGHTS_FILE)} == {
        name: model[name] for name in (CARD_FILE, WEIGHTS_FILE)
    }
    assert requested.spec["strategy"]["parameters"]["model"] == {
        "operation": trained,
        "digest": model[CARD_FILE],
    }
    statistics = (await harness.events(traded, Completed))[0].summary
    assert statistics["trades"] > 50
