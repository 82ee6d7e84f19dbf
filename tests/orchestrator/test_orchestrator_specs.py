"""Checking and resolving specs: every problem at once, defaults, pinned datasets."""

import pytest
from milepost_contracts.failures import RejectionCode
from milepost_contracts.kinds import KindDescription
from milepost_orchestrator.application.json_schemas import problems_with, with_defaults
from milepost_orchestrator.application.specs import ResolvedSpec
from milepost_orchestrator.domain.rejections import Rejection

from tests.orchestrator.workshop import Workshop, dataset

pytestmark = pytest.mark.unit


def fields(rejection: object) -> list[str]:
    assert isinstance(rejection, Rejection), rejection
    return [problem.field for problem in rejection.problems]


async def test_backtest_is_known_without_any_worker(workshop: Workshop) -> None:
    """A built-in kind is resolved with all defaults, its dataset pinned by digest and listed as input."""
    found = await workshop.specs.resolve("backtest", {"data": {"name": "aapl"}})
    assert isinstance(found, ResolvedSpec)
    assert found.spec["data"] == {"name": "aapl", "digest": dataset().artifact.digest}
    assert found.spec["commission_rate"] == 0.001
    assert found.spec["strategy"] == {
        "name": "sma-cross",
        "parameters": {
            "fast": 10,
            "slow": 30,
            "allow_short": False,
            "sizing": "units",
            "quantity": 100.0,
            "tolerance": 0.1,
            "range_bars": 14,
        },
    }
    assert found.inputs == (dataset().artifact,)


async def test_training_is_known_without_any_worker(workshop: Workshop) -> None:
    """The other built-in kind too."""
    found = await workshop.specs.resolve("training", {"data": {"digest": dataset().artifact.digest}})
    assert isinstance(found, ResolvedSpec)
    assert found.spec["data"]["name"] == "aapl"


async def test_every_problem_is_named_at_once(workshop: Workshop) -> None:
    """Unknown fields, wrong values, impossible parameters and a missing dataset come in one answer."""
    spec = {
        "data": {"name": "nowhere"},
        "strategy": {"parameters": {"fast": 50, "colour": "red"}},
        "initial_cash": -5,
        "comission_rate": 0.1,
    }
    found = await workshop.specs.resolve("backtest", spec)
    assert set(fields(found)) == {
        "spec.initial_cash",
        "spec.comission_rate",
        "spec.strategy.parameters.colour",
        "spec.strategy.parameters.slow",
        "spec.data",
    }
    assert found.code is RejectionCode.INVALID_SPEC
    assert "(and 4 more)" in found.message


async def test_impossible_parameters_are_refused(workshop: Workshop) -> None:
    """A fast average that is slower than the slow one is named in words."""
    spec = {"data": {"name": "aapl"}, "strategy": {"parameters": {"fast": 50, "slow": 20}}}
    found = await workshop.specs.resolve("backtest", spec)
    assert fields(found) == ["spec.strategy.parameters.slow"]
    assert "fast (50) must be smaller than slow (20)" in found.message


async def test_unknown_strategy_is_refused_with_the_known_ones(workshop: Workshop) -> None:
    """The known names are built-in and announced ones together."""
    await workshop.kinds.announce(
        KindDescription(
            kind="backtest",
            unit_name="bar",
            spec_schema={},
            parts={"strategy": {"mean-reversion": {"type": "object"}}},
            dataset_fields=("data",),
        )
    )
    spec = {"data": {"name": "aapl"}, "strategy": {"name": "crystal-ball"}}
    found = await workshop.specs.resolve("backtest", spec)
    assert fields(found) == ["spec.strategy.name"]
    assert "mean-reversion, model, rotation, rsi-reversion, sma-cross, trend-cross" in found.message


async def test_announced_strategy_is_checked_by_its_schema(workshop: Workshop) -> None:
    """A team's strategy gets its defaults and its refusals from what its worker announced."""
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"window": {"type": "integer", "default": 5}, "edge": {"type": "number"}},
    }
    await workshop.kinds.announce(
        KindDescription(
            kind="backtest",
            unit_name="bar",
            spec_schema={},
            parts={"strategy": {"edge": schema}},
            dataset_fields=("data",),
        )
    )
    good = {"data": {"name": "aapl"}, "strategy": {"name": "edge", "parameters": {"edge": 0.5}}}
    found = await workshop.specs.resolve("backtest", good)
    assert found.spec["strategy"]["parameters"] == {"window": 5, "edge": 0.5}
    bad = {"data": {"name": "aapl"}, "strategy": {"name": "edge", "parameters": {"window": "x", "y": 1}}}
    assert set(fields(await workshop.specs.resolve("backtest", bad))) == {
        "spec.strategy.parameters.y",
        "spec.strategy.parameters.window",
    }


DIGITS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "hidden_size": {"type": "integer", "minimum": 1, "default": 32},
        "shift": {"type": "integer", "minimum": 0, "maximum": 3, "default": 1},
    },
}


async def announce_digits(workshop: Workshop) -> None:
    """A worker was there once and is gone: its announcement stays."""
    await workshop.kinds.announce(
        KindDescription(
            kind="training",
            unit_name="epoch",
            spec_schema={},
            parts={"task": {"bars": {"type": "object"}, "digits": DIGITS}},
            dataset_fields=("data",),
        )
    )


async def test_a_training_of_a_team_is_resolved_without_its_worker(workshop: Workshop) -> None:
    """Its parameters get their defaults, and no dataset is asked for."""
    await announce_digits(workshop)
    found = await workshop.specs.resolve("training", {"task": {"name": "digits"}, "epochs": 3})
    assert isinstance(found, ResolvedSpec)
    assert found.spec["task"] == {"name": "digits", "parameters": {"hidden_size": 32, "shift": 1}}
    assert (found.spec["data"], found.spec["batch_size"], found.inputs) == ([], 256, ())


async def test_problems_of_spec_and_task_come_in_one_refusal(workshop: Workshop) -> None:
    """Wrong fields of the spec, settings that do not fit, wrong parameters and unknown data are named together."""
    await announce_digits(workshop)
    spec = {
        "task": {"name": "digits", "parameters": {"shift": 9, "colour": "red"}},
        "data": [{"name": "aapl"}, {"name": "nowhere"}],
        "epoch": 3,
        "optimizer": {"momentum": 0.9},
        "scheduler": {"name": "cosine", "patience": 5},
    }
    found = await workshop.specs.resolve("training", spec)
    assert set(fields(found)) == {
        "spec.epoch",
        "spec.optimizer.momentum",
        "spec.scheduler.patience",
        "spec.task.parameters.colour",
        "spec.task.parameters.shift",
        "spec.data.1",
    }


@pytest.mark.parametrize("announced", [True, False])
async def test_an_unknown_task_is_refused_beside_all_else(workshop: Workshop, announced: bool) -> None:
    """The tasks that are known are listed, and the rest of the spec is checked all the same."""
    if announced:
        await announce_digits(workshop)
    spec = {"task": {"name": "astrology"}, "data": {"name": "aapl"}, "epochs": 0}
    found = await workshop.specs.resolve("training", spec)
    assert fields(found) == ["spec.epochs", "spec.task.name"]
    known = "bars, digits" if announced else "bars (no worker has announced more yet)"
    assert found.problems[1].message == f"unknown task astrology; known: {known}"


async def test_several_datasets_are_pinned_in_their_order(workshop: Workshop) -> None:
    """Each gets its digest, and all of them are inputs."""
    workshop.datasets.entries["msft"] = dataset("msft", b"other bars")
    found = await workshop.specs.resolve("training", {"data": [{"name": "msft"}, {"name": "aapl"}]})
    assert isinstance(found, ResolvedSpec)
    assert [each["name"] for each in found.spec["data"]] == ["msft", "aapl"]
    assert found.inputs == (dataset("msft", b"other bars").artifact, dataset().artifact)


async def test_unknown_kind_is_refused_with_the_known_ones(workshop: Workshop) -> None:
    """Announced and built-in kinds are named."""
    found = await workshop.specs.resolve("astrology", {})
    assert found.code is RejectionCode.UNKNOWN_KIND
    assert "backtest, counter, sweep, training" in found.fix


async def test_unknown_dataset_is_refused_with_the_known_ones(workshop: Workshop) -> None:
    """The datasets there are and the command to add one are named."""
    found = await workshop.specs.resolve("backtest", {"data": {"name": "nowhere"}})
    assert found.code is RejectionCode.UNKNOWN_DATASET
    assert "aapl" in found.fix
    assert "milepost data add" in found.fix


async def test_digest_wins_over_the_name(workshop: Workshop) -> None:
    """Exact bytes are taken although the name stands for others by now."""
    old = dataset("aapl", b"old bars")
    workshop.datasets.entries["old"] = old
    reference = {"name": "aapl", "digest": old.artifact.digest}
    found = await workshop.specs.resolve("backtest", {"data": reference})
    assert found.inputs == (old.artifact,)


async def test_announced_kind_is_checked_by_its_schema(workshop: Workshop) -> None:
    """Defaults are filled in, and all faults are named with their paths."""
    found = await workshop.specs.resolve("counter", {"units": 3})
    assert found == ResolvedSpec({"units": 3, "seconds": 0.5}, ())
    bad = await workshop.specs.resolve("counter", {"seconds": "x", "z": 1})
    assert set(fields(bad)) == {"spec.units", "spec.seconds", "spec.z"}


def test_defaults_of_nested_objects_and_references() -> None:
    """Defaults are found through local references, and what is given is kept."""
    schema = {
        "$defs": {"Model": {"type": "object", "properties": {"size": {"default": 64}, "kind": {}}}},
        "properties": {"model": {"$ref": "#/$defs/Model"}, "other": {"$ref": "#/$defs/Model", "default": {}}},
    }
    filled = with_defaults(schema, {"model": {"kind": "a"}})
    assert filled == {"model": {"kind": "a", "size": 64}, "other": {"size": 64}}


def test_unknown_and_missing_fields_are_named_themselves() -> None:
    """Each at its own path, however deep; a schema with patterns says it in the library's words."""
    inner = {"type": "object", "additionalProperties": False, "required": ["a", "b"], "properties": {"a": {}}}
    schema = {"properties": {"list": {"items": inner}}}
    problems = problems_with(schema, {"list": [{"a": 1, "b": 2, "c": 3}, {}]}, "spec")
    assert [(problem.field, problem.message) for problem in problems] == [
        ("spec.list.0.b", "there is no such field"),
        ("spec.list.0.c", "there is no such field"),
        ("spec.list.1.a", "must be given"),
        ("spec.list.1.b", "must be given"),
    ]
    patterns = {"patternProperties": {"^x": {}}, "additionalProperties": False}
    assert [problem.field for problem in problems_with(patterns, {"y": 1, "x": 2}, "spec")] == ["spec"]


def test_schema_that_refers_to_an_address_is_never_fetched() -> None:
    """A remote reference is a problem of the schema, told like any other."""
    problems = problems_with({"$ref": "http://127.0.0.1:9/x.json"}, {}, "spec")
    assert len(problems) == 1


@pytest.mark.parametrize(
    "schema", [{"type": "nonsense"}, {"$ref": "#"}, {"properties": {"a": {"pattern": "("}}}]
)
def test_wrong_schema_is_a_problem_and_no_crash(schema: dict) -> None:
    """A worker that announces nonsense does not take the orchestrator down."""
    (problem,) = problems_with(schema, {"a": "b"}, "spec")
    assert "the schema that the worker announced is wrong" in problem.message


SWEEP = {"data": {"name": "aapl"}, "grid": {"fast": {"from": 5, "to": 20, "step": 5}, "slow": [10, 30]}}


async def test_a_sweep_is_known_without_any_worker(workshop: Workshop) -> None:
    """Its grid stays as it was written, its dataset is pinned, its defaults are filled in."""
    found = await workshop.specs.resolve("sweep", SWEEP)
    assert isinstance(found, ResolvedSpec)
    assert found.spec["grid"]["fast"] == {"from": 5, "to": 20, "step": 5, "count": None}
    assert found.spec["data"]["digest"] == dataset().artifact.digest
    assert found.spec["rank_by"] == "sharpe"
    assert found.inputs == (dataset().artifact,)


async def test_everything_wrong_with_a_sweep_is_named_at_once(workshop: Workshop) -> None:
    """A grid that has no possible combination is refused with the reasons, beside a dataset that is not there."""
    spec = {**SWEEP, "data": {"name": "nowhere"}, "grid": {"fast": [40], "slow": [10, 30], "colour": ["red"]}}
    found = await workshop.specs.resolve("sweep", spec)
    assert set(fields(found)) == {"spec.data", "spec.grid", "spec.grid.slow", "spec.grid.colour"}
    assert found.code is RejectionCode.INVALID_SPEC
    assert "none of its 2 combinations is possible" in found.message


async def test_a_wrong_sweep_spec_is_refused_by_its_fields(workshop: Workshop) -> None:
    """Mistakes in the spec itself are named with their places."""
    spec = {**SWEEP, "grid": {"fast": []}, "rank_by": "luck", "walk_forward": {"step_bars": 5}}
    found = await workshop.specs.resolve("sweep", spec)
    assert set(fields(found)) == {"spec.grid.fast", "spec.rank_by", "spec.walk_forward.test_bars"}


async def test_the_base_of_a_sweep_may_lack_what_the_grid_has(workshop: Workshop) -> None:
    """A base that is impossible by itself (fast 50, slow 30 by default) is fine when the combinations are not."""
    spec = {**SWEEP, "strategy": {"parameters": {"fast": 50}}, "grid": {"slow": [60, 90]}}
    assert isinstance(await workshop.specs.resolve("sweep", spec), ResolvedSpec)
    found = await workshop.specs.resolve("sweep", {**spec, "strategy": {"name": "nothing"}})
    assert fields(found) == ["spec.strategy.name"]


async def test_a_teams_strategy_is_swept_by_its_announced_schema(workshop: Workshop) -> None:
    """A parameter that the team's schema does not have is named; a required one may come from the grid."""
    schema = {
        "type": "object",
        "properties": {"window": {"type": "integer", "minimum": 2}},
        "required": ["window"],
        "additionalProperties": False,
    }
    await workshop.kinds.announce(
        KindDescription(
            kind="sweep",
            unit_name="combination",
            spec_schema={"type": "object"},
            parts={"strategy": {"theirs": schema}},
            dataset_fields=("data",),
        )
    )
    spec = {**SWEEP, "strategy": {"name": "theirs"}, "grid": {"window": [1, 2, 3]}}
    assert isinstance(await workshop.specs.resolve("sweep", spec), ResolvedSpec)
    found = await workshop.specs.resolve("sweep", {**spec, "grid": {"window": [1], "widnow": [3]}})
    assert set(fields(found)) == {"spec.grid", "spec.grid.window", "spec.grid.widnow"}
