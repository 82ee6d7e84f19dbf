"""The spec of a training: what does not fit is named at the field that should change, everything at once."""

from typing import Annotated, Any, Literal

import pytest
from milepost_contracts.failures import Problem
from milepost_contracts.model import ContractModel
from milepost_contracts.problems import problems_of
from milepost_contracts.specs import training
from milepost_contracts.specs.bars_labels import ReturnLabel
from milepost_contracts.specs.bars_losses import HuberLoss
from milepost_contracts.specs.bars_training import BarsTaskParameters
from milepost_contracts.specs.training import SCHEDULER_FIELDS, SchedulerSpec, TrainingSpec
from pydantic import Discriminator, Field, Tag, ValidationError

pytestmark = pytest.mark.unit

DATA = {"data": {"name": "spy"}}


def problems(spec: dict[str, Any]) -> dict[str, str]:
    """What is wrong, by field."""
    with pytest.raises(ValidationError) as caught:
        TrainingSpec.model_validate(spec)
    return {problem.field: problem.message for problem in problems_of(caught.value, "spec", spec)}


def test_defaults_make_a_whole_spec() -> None:
    """With a dataset alone everything else has a value, and a spec that went through JSON is the same."""
    spec = TrainingSpec.model_validate(DATA)
    assert TrainingSpec.model_validate_json(spec.model_dump_json()) == spec


def test_every_field_is_described() -> None:
    """Each field of each model of the spec says what it is for."""
    models = [
        model
        for model in vars(training).values()
        if isinstance(model, type) and issubclass(model, ContractModel) and model is not ContractModel
    ]
    assert TrainingSpec in models
    silent = [
        f"{model.__name__}.{name}"
        for model in models
        for name, field in model.model_fields.items()
        if not field.description
    ]
    assert silent == []


def test_all_problems_are_named_at_once() -> None:
    """Unknown fields, impossible values and settings that do not fit each other stand in one answer."""
    found = problems(
        {
            "data": {"name": "Not A Name"},
            "epochs": 0,
            "colour": "red",
            "optimizer": {"name": "adamw", "momentum": 0.9},
            "scheduler": {"name": "one-cycle", "factor": 0.1, "warmup_share": 1.5},
            "early_stopping": {"patience": 0},
            "precision": "float8",
        }
    )
    assert set(found) == {
        "spec.data.name",
        "spec.epochs",
        "spec.colour",
        "spec.optimizer.momentum",
        "spec.scheduler.factor",
        "spec.scheduler.warmup_share",
        "spec.early_stopping.patience",
        "spec.precision",
    }
    assert found["spec.colour"] == "there is no such field"
    assert found["spec.optimizer.momentum"] == "adamw has no momentum to set; leave it out"
    assert found["spec.scheduler.factor"] == "belongs to step, plateau, not to one-cycle; leave it out"


@pytest.mark.parametrize("scheduler", SCHEDULER_FIELDS)
def test_a_schedule_takes_its_own_settings_only(scheduler: str) -> None:
    """A setting that would have no effect is refused by name; defaults may stand in a resolved spec."""
    others = {"every_epochs": 3, "factor": 0.3, "patience": 7, "minimum": 1e-6}
    others |= {"warmup_share": 0.1, "start_factor": 5.0, "end_factor": 50.0}
    assert others.keys() == SchedulerSpec.model_fields.keys() - {"name"}
    own = {name: others.pop(name) for name in SCHEDULER_FIELDS[scheduler]}
    accepted = SchedulerSpec.model_validate({"name": scheduler, **own})
    assert SchedulerSpec.model_validate(accepted.model_dump()) == accepted
    found = problems({**DATA, "scheduler": {"name": scheduler, **others}})
    assert set(found) == {f"spec.scheduler.{name}" for name in others}


def test_a_minimum_above_the_learning_rate_is_refused() -> None:
    """The schedule could only raise it; both figures are named."""
    found = problems({**DATA, "scheduler": {"name": "cosine", "minimum": 0.1}})
    assert found == {"spec.scheduler": "minimum (0.1) is above the learning rate (0.001)"}


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        ({"name": "spy", "nam": 1}, {"spec.data.nam"}),
        ({}, {"spec.data"}),
        (5, {"spec.data"}),
        ([{"name": "spy"}, {"digest": "x"}], {"spec.data.1.digest"}),
        ([{"name": "spy"}, {"name": "qqq"}, {"name": "spy"}], {"spec.data"}),
        ([], {"spec.data"}),
    ],
)
def test_wrong_data_is_named_where_it_was_written(data: object, fields: set[str]) -> None:
    """Paths are those of the document: no name of a union's branch is in them."""
    assert set(problems({"data": data})) == fields


def test_data_is_one_dataset_or_many_or_none() -> None:
    """One and many are told alike; only the built-in task insists on some."""
    assert [each.name for each in TrainingSpec.model_validate(DATA).datasets] == ["spy"]
    many = TrainingSpec.model_validate({"data": [{"name": "spy"}, {"name": "qqq"}]})
    assert [each.name for each in many.datasets] == ["spy", "qqq"]
    assert TrainingSpec.model_validate({"task": {"name": "digits"}}).datasets == ()
    assert "needs a dataset" in problems({})["spec.data"]


def test_half_precision_is_allowed_everywhere() -> None:
    """float16 on a CPU is slow, not wrong."""
    assert (
        TrainingSpec.model_validate({**DATA, "precision": "float16", "device": "cpu"}).precision == "float16"
    )


LABELS = "direction, return, triple-barrier, zigzag"
LOSSES = "cross-entropy, focal, mean-squared-error, mean-absolute-error, huber"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"label": "direction"}, f'give an object such as {{"name": "direction"}}; names: {LABELS}'),
        ({"label": {"horizon": 5}}, f'give an object such as {{"name": "direction"}}; names: {LABELS}'),
        ({"label": None}, f'give an object such as {{"name": "direction"}}; names: {LABELS}'),
        ({"label": {"name": "up"}}, f"up is none of {LABELS}"),
        ({"loss": ["huber"]}, f'give an object such as {{"name": "cross-entropy"}}; names: {LOSSES}'),
        ({"model": "lstm"}, "give an object"),
    ],
)
def test_what_has_no_name_is_answered_with_what_to_give(parameters: dict[str, Any], message: str) -> None:
    """A word where an object belongs, and an object without its name, are told which objects there are."""
    with pytest.raises(ValidationError) as caught:
        BarsTaskParameters.model_validate(parameters)
    (field,) = parameters
    assert problems_of(caught.value, "spec", parameters) == (Problem(field=f"spec.{field}", message=message),)


def test_parts_told_apart_by_name_may_be_objects_of_python() -> None:
    """Whoever builds parameters in Python gives the label and the loss themselves, and they go through JSON."""
    parameters = BarsTaskParameters(label=ReturnLabel(horizon=3), loss=HuberLoss())
    assert BarsTaskParameters.model_validate_json(parameters.model_dump_json()) == parameters


class Square(ContractModel):
    """Of a union that a team told apart."""

    shape: Literal["square"]


class Circle(ContractModel):
    """The other one."""

    shape: Literal["circle"]


class Drawing(ContractModel):
    """With such unions."""

    by_field: Annotated[Square | Circle, Field(discriminator="shape")]
    by_function: Annotated[
        Annotated[Square, Tag("square")] | Annotated[Circle, Tag("circle")],
        Discriminator(lambda value: None),
    ]


def test_unions_of_a_team_are_answered_in_plain_words() -> None:
    """The field that tells is named; a function that tells is not, since nobody could give it."""
    document: dict[str, Any] = {"by_field": {}, "by_function": {}}
    with pytest.raises(ValidationError) as caught:
        Drawing.model_validate(document)
    found = {fault.field: fault.message for fault in problems_of(caught.value, "", document)}
    assert found == {
        "by_field": "must have the field shape",
        "by_function": "has none of the forms that may stand here",
    }
