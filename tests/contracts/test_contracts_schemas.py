"""The published schemas: committed, current, and true of every example."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from milepost_contracts import examples, schema_export
from milepost_contracts.capabilities import Needs
from milepost_contracts.checkpoints import CheckpointPolicySpec
from milepost_contracts.cleanup import KeepBest
from milepost_contracts.commands import COMMANDS, RunOptions
from milepost_contracts.events import EVENTS
from milepost_contracts.messages import encode
from milepost_contracts.model import ContractModel
from milepost_contracts.verdicts import VERDICT
from pydantic import ValidationError

pytestmark = pytest.mark.unit


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((schema_export.DIRECTORY / f"{name}.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def wire_form(model: ContractModel) -> object:
    return json.loads(model.model_dump_json())


def test_committed_schemas_are_current() -> None:
    """Whoever changes a message commits its schema with it."""
    assert schema_export.drifted() == []


def test_check_names_every_drifted_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--check`` exits with 1 and names what is missing, different or too many."""
    schema_export.write(tmp_path)
    assert schema_export.main(["--check", "--directory", str(tmp_path)]) == 0
    (tmp_path / "manifest.v1.json").unlink()
    (tmp_path / "verdict.v1.json").write_text("{}")
    (tmp_path / "event.gone.v1.json").write_text("{}")
    assert schema_export.main(["--check", "--directory", str(tmp_path)]) == 1
    words = capsys.readouterr().err
    assert "manifest.v1.json: missing" in words
    assert "verdict.v1.json: differs" in words
    assert "event.gone.v1.json: describes nothing" in words
    assert schema_export.main(["--directory", str(tmp_path)]) == 0
    assert schema_export.drifted(tmp_path) == []


@pytest.mark.parametrize("name", sorted(examples.COMMAND_EXAMPLES))
def test_commands_are_valid(name: str) -> None:
    """The example of every command keeps to the schemas of envelope and data."""
    document = json.loads(encode(examples.COMMAND_EXAMPLES[name]))
    validator("envelope.v1").validate(document)
    validator(f"command.{name}.v1").validate(document["data"])


@pytest.mark.parametrize(
    "model",
    [*COMMANDS.values(), RunOptions, Needs, CheckpointPolicySpec, KeepBest],
    ids=lambda model: model.__name__,
)
def test_true_and_false_are_no_numbers(model: type[ContractModel]) -> None:
    """No number of a command, or of what it holds, takes the flag that pydantic would take for 0 or 1."""
    for field in (name for name, schema in properties(model).items() if is_number(schema)):
        with pytest.raises(ValidationError) as refused:
            model.model_validate({field: True})
        faults = [fault["type"] for fault in refused.value.errors() if fault["loc"] == (field,)]
        assert faults == ["value_error"], field


def properties(model: type[ContractModel]) -> dict[str, dict[str, Any]]:
    return model.model_json_schema().get("properties", {})


def is_number(schema: dict[str, Any]) -> bool:
    return any(each.get("type") in ("integer", "number") for each in schema.get("anyOf", [schema]))


@pytest.mark.parametrize("type_name", sorted(examples.EVENT_EXAMPLES))
def test_events_are_valid(type_name: str) -> None:
    """The example of every event keeps to the schemas of envelope and data."""
    document = json.loads(encode(examples.EVENT_EXAMPLES[type_name]))
    event = EVENTS[type_name]
    validator("envelope.v1").validate(document)
    validator(f"event.{event.NAME}.v{event.VERSION}").validate(document["data"])


def test_verdicts_are_valid() -> None:
    """Accepted, duplicate and rejected all keep to the one schema of verdicts."""
    for verdict in examples.VERDICT_EXAMPLES.values():
        validator("verdict.v1").validate(json.loads(VERDICT.dump_json(verdict)))


@pytest.mark.parametrize(
    ("name", "example"),
    [
        ("manifest.v1", examples.MANIFEST_EXAMPLE),
        ("dataset.v1", examples.DATASET_EXAMPLE),
        ("verdict.cleanup.v1", examples.CLEANUP_EXAMPLE),
        ("heartbeat.v1", examples.HEARTBEAT_EXAMPLE),
        ("kind.v1", examples.KIND_EXAMPLE),
        ("spec.backtest.v1", examples.BACKTEST_SPEC),
        ("spec.training.v1", examples.TRAINING_SPEC),
    ],
)
def test_documents_are_valid(name: str, example: ContractModel) -> None:
    """Manifest, dataset, heartbeat, kind and both specs keep to their schemas."""
    validator(name).validate(wire_form(example))


def test_schemas_are_closed() -> None:
    """A field that nobody knows is refused by the schema as it is by the model."""
    errors = list(validator("command.cancel.v1").iter_errors({"operation_id": "op-1", "extra": 1}))
    assert [error.validator for error in errors] == ["additionalProperties"]


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_lacks_are_in_the_schema(word: str) -> None:
    """The words that stand for NaN and the infinities are valid metrics; other words are not."""
    data = {"attempt": 1, "unit": 1, "total_units": 2, "metrics": {"loss": word}}
    assert validator("event.progress.v1").is_valid(data)
    assert not validator("event.progress.v1").is_valid({**data, "metrics": {"loss": "much"}})
