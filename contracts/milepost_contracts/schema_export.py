"""Write the JSON Schemas of every message, or check that the committed ones are what the code says.

``python -m milepost_contracts.schema_export`` writes ``contracts/schemas``; with ``--check`` it writes
nothing, names every file that differs, and exits with 1 if there is one.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from milepost_contracts.checkpoints import Manifest
from milepost_contracts.commands import COMMANDS
from milepost_contracts.datasets import Dataset
from milepost_contracts.dispatch import DISPATCH_EVENTS
from milepost_contracts.envelope import Envelope
from milepost_contracts.events import EVENTS
from milepost_contracts.fleet import WorkerHeartbeat
from milepost_contracts.kinds import KindDescription
from milepost_contracts.records import DispatchEnvelope
from milepost_contracts.schedules import SCHEDULE_EVENTS
from milepost_contracts.specs.backtest import BacktestSpec
from milepost_contracts.specs.bars_training import BarsTaskParameters
from milepost_contracts.specs.sweep import SweepSpec
from milepost_contracts.specs.training import TrainingSpec
from milepost_contracts.upkeep import UPKEEP_EVENTS
from milepost_contracts.verdicts import CLEANUP_VERDICT, VERDICT

DIRECTORY = Path(__file__).parent.parent / "schemas"
_NOT_NUMBERS = ["NaN", "Infinity", "-Infinity"]

_Model: TypeAlias = TypeAdapter[Any]


class _Generator(GenerateJsonSchema):
    """Floats that may be NaN or infinite are strings then: JSON has no word for them (see ``model``)."""

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        number = super().float_schema(schema)
        bounded = {"gt", "ge", "lt", "le", "multiple_of"} & set(schema)
        if bounded or schema.get("allow_inf_nan") is False:
            return number
        return {"anyOf": [number, {"enum": _NOT_NUMBERS, "type": "string"}]}


def schemas() -> dict[str, dict[str, Any]]:
    """Return every schema by its file name.

    ``command.*`` and ``event.*`` describe the ``data`` of an ``envelope``.
    """
    models: dict[str, _Model] = {
        **{f"command.{name}.v1": TypeAdapter(model) for name, model in COMMANDS.items()},
        **{f"event.{event.NAME}.v{event.VERSION}": TypeAdapter(event) for event in EVENTS.values()},
        **{
            f"{name.removeprefix('milepost.')}": TypeAdapter(event)
            for name, event in (DISPATCH_EVENTS | SCHEDULE_EVENTS | UPKEEP_EVENTS).items()
        },
        "dataset.v1": TypeAdapter(Dataset),
        "dispatch-envelope.v1": TypeAdapter(DispatchEnvelope),
        "envelope.v1": TypeAdapter(Envelope),
        "heartbeat.v1": TypeAdapter(WorkerHeartbeat),
        "kind.v1": TypeAdapter(KindDescription),
        "manifest.v1": TypeAdapter(Manifest),
        "spec.backtest.v1": TypeAdapter(BacktestSpec),
        "spec.sweep.v1": TypeAdapter(SweepSpec),
        "spec.training.v1": TypeAdapter(TrainingSpec),
        "task.bars.v1": TypeAdapter(BarsTaskParameters),
        "verdict.cleanup.v1": CLEANUP_VERDICT,
        "verdict.v1": VERDICT,
    }
    return {f"{name}.json": _schema(name, model) for name, model in sorted(models.items())}


def write(directory: Path = DIRECTORY) -> None:
    """Write every schema into ``directory`` and remove what is no schema any more."""
    directory.mkdir(parents=True, exist_ok=True)
    wanted = schemas()
    for stray in sorted(path for path in directory.glob("*.json") if path.name not in wanted):
        stray.unlink()
    for name, schema in wanted.items():
        (directory / name).write_text(_text(schema), encoding="utf-8")


def drifted(directory: Path = DIRECTORY) -> list[str]:
    """Return the names of the files that are missing, different or too many, each with what is wrong."""
    wanted = schemas()
    found = {path.name: path.read_text(encoding="utf-8") for path in directory.glob("*.json")}
    missing = [f"{name}: missing" for name in wanted if name not in found]
    different = [
        f"{name}: differs" for name in wanted if name in found and found[name] != _text(wanted[name])
    ]
    stray = [f"{name}: describes nothing" for name in found if name not in wanted]
    return sorted(missing + different + stray)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check; return the exit code."""
    parser = argparse.ArgumentParser(description="Write the JSON Schemas of every message.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file differs")
    parser.add_argument("--directory", type=Path, default=DIRECTORY)
    options = parser.parse_args(arguments)
    if not options.check:
        write(options.directory)
        return 0
    problems = drifted(options.directory)
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    if problems:
        sys.stderr.write("run `python -m milepost_contracts.schema_export` and commit what it writes\n")
    return 1 if problems else 0


def _schema(name: str, model: _Model) -> dict[str, Any]:
    schema = model.json_schema(mode="validation", schema_generator=_Generator)
    head = {"$schema": GenerateJsonSchema.schema_dialect, "$id": f"urn:milepost:schema:{name}"}
    # OpenAPI's word: JSON Schema ignores it, AsyncAPI refuses it, and each variant has its tag as a const.
    schema.pop("discriminator", None)
    return {**head, **schema}


def _text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
