"""A backtest's trained model: found, checked and pinned when the command is made."""

import json
from typing import Any

import pytest
from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.events import Claimed, Requested
from milepost_contracts.failures import RejectionCode
from milepost_contracts.verdicts import Accepted, Rejected
from milepost_orchestrator.application.specs import ResolvedSpec
from milepost_orchestrator.domain.rejections import Rejection

from tests.orchestrator.stories import claimed, completed, requested, started
from tests.orchestrator.workshop import Workshop, dataset

pytestmark = pytest.mark.unit

TRAINING, OTHER = "op-aaaaaaaaaaaaaaaa", "op-aaaaaaaaaaaaaaab"
FIELD = "spec.strategy.parameters"


def card_of(weights: ArtifactReference, **fields: Any) -> bytes:
    content = {
        "task": "bars",
        "task_version": "1",
        "classes": ["down", "up"],
        "weights": weights.model_dump(mode="json"),
        "scaling": {"features": ["return_1"], "mean": [0.0], "deviation": [1.0], "target_deviation": 1.0},
        "parameters": {"window": 5},
    }
    return json.dumps({**content, **fields}).encode()


def keep_model(workshop: Workshop, **fields: Any) -> tuple[ArtifactReference, ArtifactReference]:
    """Card and weights in the store."""
    weights = workshop.keep(b"weights", "model.safetensors")
    return workshop.keep(card_of(weights, **fields), "model.json"), weights


async def train(
    workshop: Workshop,
    artifacts: tuple[ArtifactReference, ...],
    operation_id: str = TRAINING,
    *,
    kind: str = "training",
    task: str = "bars",
) -> None:
    """A completed training in the log."""
    spec = {"task": {"name": task}}
    await workshop.happen(
        operation_id,
        requested(operation_id, kind=kind, spec=spec),
        claimed(),
        started(),
        completed(artifacts=artifacts),
    )


def spec_of(operation: str | None = TRAINING, **fields: Any) -> Any:
    parameters = {"model": {"operation": operation}, **fields}
    return {"data": {"name": "aapl"}, "strategy": {"name": "model", "parameters": parameters}}


async def refused(workshop: Workshop, spec: Any) -> dict[str, str]:
    """Problems by field."""
    found = await workshop.specs.resolve("backtest", spec)
    assert isinstance(found, Rejection), found
    assert found.code is RejectionCode.INVALID_SPEC
    return {problem.field: problem.message for problem in found.problems}


@pytest.mark.parametrize("typed", [TRAINING, "op-aaaa", "aaaaaa"])
async def test_a_training_is_resolved_to_its_digests(workshop: Workshop, typed: str) -> None:
    """By full or short id: the card's digest and every threshold in the spec, both files among the inputs."""
    card, weights = keep_model(workshop)
    await train(workshop, (card, weights))
    found = await workshop.specs.resolve("backtest", spec_of(typed, enter_long=0.6, allow_short=True))
    assert isinstance(found, ResolvedSpec), found
    parameters = found.spec["strategy"]["parameters"]
    assert parameters["model"] == {"operation": TRAINING, "digest": card.digest}
    thresholds = [parameters[f"{what}_{side}"] for side in ("long", "short") for what in ("enter", "leave")]
    assert thresholds == [0.6, 0.6, 0.5, 0.5]
    assert found.inputs == (dataset().artifact, card, weights)


async def test_a_digest_alone_is_enough_and_resolves_to_itself(workshop: Workshop) -> None:
    """No operation is needed, the card names its weights; what was resolved once stays as it is."""
    card, weights = keep_model(workshop, classes=[])
    spec = {**spec_of(), "strategy": {"name": "model", "parameters": {"model": {"digest": card.digest}}}}
    found = await workshop.specs.resolve("backtest", spec)
    assert isinstance(found, ResolvedSpec), found
    assert found.inputs == (dataset().artifact, card, weights)
    assert found.spec["strategy"]["parameters"]["enter_long"] == 0.0
    again = await workshop.specs.resolve("backtest", found.spec)
    assert again == found


async def test_the_command_starts_nothing_when_the_model_is_not_there(workshop: Workshop) -> None:
    """A rejection that names the field; with the model there, the started operation has its files as inputs."""
    command = {"kind": "backtest", "spec": spec_of()}
    verdict = await workshop.start(**command)
    assert isinstance(verdict, Rejected)
    assert [problem.field for problem in verdict.problems] == [f"{FIELD}.model"]
    assert not workshop.event_log.entries
    card, weights = keep_model(workshop)
    await train(workshop, (card, weights))
    verdict = await workshop.start(**command)
    assert isinstance(verdict, Accepted), verdict
    (event,) = workshop.events(verdict.operation_id, Requested)
    assert isinstance(event, Requested)
    assert event.inputs[1:] == (card, weights)


async def test_operations_that_left_no_such_model_are_named(workshop: Workshop) -> None:
    """Unknown, ambiguous, not completed, of another kind or task, without the files: each in its own words."""
    card, weights = keep_model(workshop)
    await train(workshop, (card, weights))
    await train(workshop, (weights,), OTHER)
    await train(workshop, (card, weights), "op-bbbbbbbbbbbbbbbb", kind="backtest")
    await train(workshop, (card, weights), "op-cccccccccccccccc", task="digits")
    running = "op-dddddddddddddddd"
    await workshop.happen(
        running, requested(running, kind="training", spec={"task": {"name": "bars"}}), claimed()
    )
    assert isinstance(workshop.events(running)[-1], Claimed)
    words = {
        "op-zz": "there is no operation op-zz",
        "op-zzzzzzzzzzzzzzzz": "there is no operation op-zzzzzzzzzzzzzzzz",
        "aaaa": f"several operations begin with aaaa: {TRAINING}, {OTHER}",
        OTHER: f"the training {OTHER} left no model.json",
        "bbbb": "the operation op-bbbbbbbbbbbbbbbb is a backtest, not a training",
        "cccc": "the training op-cccccccccccccccc is of the task digits, a strategy uses models of bars",
        running: f"the training {running} is running, not completed",
    }
    for typed, message in words.items():
        assert await refused(workshop, spec_of(typed)) == {f"{FIELD}.model": message}


async def test_models_that_cannot_be_loaded_are_named(workshop: Workshop) -> None:
    """A card or weights that the store lost, something that is no card, and a symbol without a scaling."""
    card, weights = keep_model(workshop, scaling={"symbols": {"gold": {}, "oil": {}}})
    await train(workshop, (card, weights))
    scaled = "the model was trained with a scaling for each of gold, oil, and none for aapl"
    assert await refused(workshop, spec_of()) == {f"{FIELD}.model": scaled}
    workshop.store.delete_artifact(weights.digest)
    found = await refused(workshop, spec_of())
    assert found[f"{FIELD}.model"] == f"model.safetensors is missing in the store: {weights.digest}"
    workshop.store.delete_artifact(card.digest)
    found = await refused(workshop, spec_of())
    assert found[f"{FIELD}.model"] == f"model.json is missing in the store: {card.digest}"
    other = workshop.keep(b"[1]", "model.json")
    await train(workshop, (other, weights), OTHER)
    found = await refused(workshop, spec_of(OTHER))
    assert found[f"{FIELD}.model"] == f"{other.digest} is no model.json of a model that a strategy can use"


async def test_thresholds_are_checked_against_the_model(workshop: Workshop) -> None:
    """What no probability or return can reach, sides that overlap, and whatever else is wrong, all at once."""
    card, weights = keep_model(workshop)
    await train(workshop, (card, weights))
    found = await refused(workshop, {**spec_of(enter_long=55, leave_long=45, colour="red"), "cash": 1})
    assert set(found) == {f"{FIELD}.colour", "spec.cash"}
    found = await refused(workshop, spec_of(enter_long=55, leave_long=45))
    assert set(found) == {f"{FIELD}.enter_long", f"{FIELD}.leave_long"}
    assert "55 is compared with a probability: between 0 and 1" in found[f"{FIELD}.enter_long"]
    found = await refused(workshop, spec_of(leave_long=0.7))
    assert found == {f"{FIELD}.leave_long": "leave_long (0.7) must be at most enter_long (0.5)"}
    found = await refused(workshop, spec_of(enter_long=0.4, allow_short=True))
    assert "both sides would be entered at once" in found[f"{FIELD}.enter_short"]
    found = await refused(workshop, {**spec_of("op-zz"), "data": {"name": "nowhere"}})
    assert set(found) == {f"{FIELD}.model", "spec.data"}


async def test_parameters_that_are_wrong_in_themselves_need_no_model(workshop: Workshop) -> None:
    """No model at all, thresholds in the wrong order, short ones without leave to be short."""
    found = await refused(workshop, spec_of(None))
    assert found == {f"{FIELD}.model": "give the training's operation, or the digest of its model.json"}
    wrong = {"enter_long": 0.5, "leave_long": 0.6, "enter_short": 0.6, "sizing": "equity", "amount": 500}
    found = await refused(workshop, {**spec_of(**wrong)})
    assert {f"{FIELD}.leave_long", f"{FIELD}.enter_short", f"{FIELD}.amount"} <= set(found)
