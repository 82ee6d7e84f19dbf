"""The pages about training stay true: specs are valid, fields are all there, quoted code is the example's."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from milepost_contracts.model import ContractModel
from milepost_contracts.specs.training import TrainingSpec
from milepost_runtime.worker.settings import WorkerSettings
from milepost_trainer.tasks import load_tasks
from milepost_trainer.write_pace import WRITE_VARIABLE, WriteSettings
from pydantic import BaseModel

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parent.parent.parent
TRAINING = (ROOT / "docs/training.md").read_text()
TASKS = (ROOT / "docs/training-tasks.md").read_text()
EXAMPLE = ROOT / "examples/digits"


def blocks(page: str, language: str) -> list[str]:
    """The page's code of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def test_specs_in_the_pages_are_valid() -> None:
    """Every JSON example passes the checks of the spec and of its task's parameters."""
    specs = [json.loads(block) for block in blocks(TRAINING, "json") + blocks(TASKS, "json")]
    assert len(specs) >= 3
    tasks = load_tasks()
    for content in specs:
        spec = TrainingSpec.model_validate(content)
        tasks[spec.task.name].parameters.model_validate(spec.task.parameters)


def leaves(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Dotted names of all fields, those of nested models instead of these, each with its default."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        nested = [
            part
            for part in (field.annotation, *getattr(field.annotation, "__args__", ()))
            if isinstance(part, type) and issubclass(part, ContractModel) and name != "data"
        ]
        if not nested or field.default is None:
            found[f"{prefix}{name}"] = field.default
        for part in nested:
            found |= leaves(part, f"{prefix}{name}.")
    return found


def test_settings_of_a_worker_are_said_with_their_defaults() -> None:
    """Each variable of the table is one that the code reads, with the default that it has."""
    rows = dict(re.findall(r"^\| `(MILEPOST_\w+)` \| ([\d.]+) \|", TRAINING, re.MULTILINE))
    settings = WorkerSettings.from_environment("w", "training", Path(), {})
    assert {name: float(words) for name, words in rows.items()} == {
        WRITE_VARIABLE: WriteSettings().megabytes_per_second,
        "MILEPOST_WORKER_SLOTS": settings.slots,
        "MILEPOST_WORKER_LEASE_SECONDS": settings.lease_seconds,
        "MILEPOST_WORKER_CANCEL_GRACE_SECONDS": settings.cancel_grace_seconds,
    }


def test_every_field_of_the_spec_has_a_row_with_its_default() -> None:
    """The table names each field once, no other, and says the default that the code has."""
    rows = dict(re.findall(r"^\| `([\w.]+)` \| ([^|]+?) \|", TRAINING, re.MULTILINE))
    rows = {name: words for name, words in rows.items() if not name.endswith((".safetensors", ".json"))}
    rows = {name: words for name, words in rows.items() if not name.endswith((".parquet", ".png"))}
    rows = {name: words for name, words in rows.items() if not name.isupper()}
    fields = leaves(TrainingSpec)
    assert set(rows) == set(fields)
    said = {None: "none", True: "true", False: "false", (): "none"}
    for name, default in fields.items():
        words = rows[name].strip("`").replace(" ", "")
        if isinstance(default, int | float) and not isinstance(default, bool):
            assert float(words) == default, name
        elif isinstance(default, dict):
            assert words == "{}", name
        else:
            assert words == (default if isinstance(default, str) else said[default]), name


def test_result_files_have_rows() -> None:
    """The table of results names the files that a training leaves."""
    from milepost_trainer.results import RESULT_FILES

    assert set(
        re.findall(r"^\| `([\w]+\.\w+)` \|", TRAINING.partition("## Results")[2], re.MULTILINE)
    ) == set(RESULT_FILES)


def test_quoted_code_is_the_examples() -> None:
    """Every block of Python that the page quotes stands in the example's source, and its project file too."""
    source = (EXAMPLE / "milepost_digits/__init__.py").read_text()
    quoted = [block for block in blocks(TASKS, "python") if not block.startswith("from ")]
    assert len(quoted) == 4
    assert [block for block in quoted if block.strip() not in source] == []
    (project,) = blocks(TASKS, "toml")
    assert project.strip() in (EXAMPLE / "pyproject.toml").read_text()
    (spec,) = blocks(TASKS, "json")
    assert json.loads(spec) == json.loads((EXAMPLE / "spec.json").read_text())


def test_the_notebook_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """The block for a notebook trains five epochs and prints what was promised."""
    (notebook,) = [block for block in blocks(TASKS, "python") if block.startswith("from ")]
    names: dict[str, Any] = {}
    exec(compile(notebook, "docs/training-tasks.md", "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert names["trainer"].evaluate_best()["test"].metrics["accuracy"] > 0.8
