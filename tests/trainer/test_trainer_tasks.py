"""A team's own training: the digits example, from a notebook to the registry."""

import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import torch
from milepost_contracts.kinds import KindDescription
from milepost_contracts.specs.training import TrainingSpec
from milepost_digits import DigitsParameters, DigitsTask
from milepost_runtime.worker.child_process import ChildPool, ChildStartError
from milepost_runtime.worker.kind import JobContext
from milepost_trainer.engine.keyed_random import sample_keys
from milepost_trainer.engine.parts import TrainingParts
from milepost_trainer.engine.settings import OptimizerSettings, TrainingSettings
from milepost_trainer.engine.trainer import ModelTrainer
from milepost_trainer.samples import DatasetSamples, TensorSamples
from milepost_trainer.task import ENTRY_POINT_GROUP, TaskContext, seeded
from milepost_trainer.tasks import load_tasks
from milepost_trainer.worker import TrainingKind
from torch import Tensor, nn

from tests.trainer.trainer_doubles import digest_of, through_files

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parent.parent.parent
QUICK = TrainingSettings(epochs=4, batch_size=128, optimizer=OptimizerSettings("adamw", 0.01))


def notebook(seed: int = 0, settings: TrainingSettings = QUICK, **parameters: Any) -> ModelTrainer:
    """What a notebook does: build the task, give its parts to the engine."""
    context = TaskContext(DigitsParameters.model_validate({"width": 4, **parameters}), seed=seed)
    return ModelTrainer(DigitsTask().build(context).parts, settings)


# --- as ordinary objects ------------------------------------------------------------------------------


def test_digits_are_learned() -> None:
    """A few epochs without any bus read nine of ten handwritten digits that they have not seen."""
    trainer = notebook(settings=replace(QUICK, epochs=6, batch_size=32))
    history = trainer.fit()
    assert history[-1]["validation_loss"] < history[0]["validation_loss"]
    assert trainer.evaluate_best()["test"].metrics["accuracy"] > 0.9


@pytest.mark.parametrize("model", ["convolution", "perceptron"])
@pytest.mark.parametrize("cut", [1, 13, 20])
def test_interrupted_digits_end_as_undisturbed(model: str, cut: int) -> None:
    """Stopped between any two micro-batches and gone on with in a fresh object, it is the same training."""
    whole = notebook(model=model, dropout=0.2)
    whole.fit()
    stopped = notebook(model=model, dropout=0.2)
    for _ in range(cut):
        stopped.step()
    resumed = notebook(model=model, dropout=0.2)
    torch.rand(7)  # what others draw in between is theirs
    resumed.load_state_dict(through_files(stopped.state_dict()))
    resumed.fit()
    assert digest_of(resumed) == digest_of(whole)


def test_another_seed_is_another_training() -> None:
    """Weights, order, dropout and shifts follow from the seed alone."""
    settings = TrainingSettings(epochs=1, batch_size=256)
    first, again = notebook(1, settings), notebook(1, settings)
    other = notebook(2, TrainingSettings(epochs=1, batch_size=256, seed=2))
    for trainer in (first, again, other):
        trainer.fit()
    assert digest_of(first) == digest_of(again) != digest_of(other)


def test_shifts_follow_from_the_sample_alone() -> None:
    """An image is moved the same in whatever company, by no more than allowed, and otherwise in other epochs."""
    augment = DigitsTask().build(TaskContext(DigitsParameters(shift_pixels=2))).parts.augment
    assert augment is not None
    images = torch.zeros(200, 1, 8, 8)
    images[:, 0, 4, 4] = 1.0
    keys = sample_keys(0, 3, torch.arange(200))
    together = augment(images, keys)
    chosen = torch.tensor([150, 3, 77])
    assert torch.equal(augment(images[chosen], keys[chosen]), together[chosen])
    places = together[:, 0].nonzero()[:, 1:]
    assert places.unique().tolist() == [2, 3, 4, 5, 6]
    assert len(places.unique(dim=0)) == 25
    assert not torch.equal(augment(images, sample_keys(0, 4, torch.arange(200))), together)


# --- plain data ---------------------------------------------------------------------------------------


class Pairs:
    """A map-style dataset."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self._inputs, self._targets = inputs, targets

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self._inputs[index], self._targets[index]


def linear_trainer(data: TensorSamples | DatasetSamples) -> ModelTrainer:
    with seeded(5):
        model = nn.Linear(3, 1)
    return ModelTrainer(TrainingParts(model, data, nn.functional.mse_loss), TrainingSettings(3, 8))


def test_datasets_and_tensors_train_alike() -> None:
    """The same samples item by item or in one tensor give the same weights; a test part may be absent."""
    generator = torch.Generator().manual_seed(1)
    inputs, targets = torch.randn(50, 3, generator=generator), torch.randn(50, 1, generator=generator)
    parts = {"train": slice(0, 40), "validation": slice(40, 50)}
    tensors = linear_trainer(TensorSamples(**{name: (inputs[p], targets[p]) for name, p in parts.items()}))
    items = linear_trainer(
        DatasetSamples(**{name: Pairs(inputs[p], targets[p]) for name, p in parts.items()})
    )
    assert tensors.fit() == items.fit()
    assert digest_of(tensors) == digest_of(items)
    assert set(tensors.evaluate_best()) == {"validation"}


def test_unequal_inputs_and_targets_are_refused() -> None:
    """The part and both counts are named."""
    whole, short = torch.zeros(3, 1), torch.zeros(2, 1)
    with pytest.raises(ValueError, match="validation: 3 inputs and 2 targets"):
        TensorSamples(train=(whole, whole), validation=(whole, short))


def test_seeded_leaves_other_random_numbers_alone() -> None:
    """Inside it draws follow from seed and purpose; outside nothing has happened."""
    before = torch.get_rng_state()
    with seeded(1):
        first = torch.rand(3)
    with seeded(1, "other"):
        other = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    with seeded(1):
        assert torch.equal(torch.rand(3), first)
    assert not torch.equal(first, other)


# --- the registry -------------------------------------------------------------------------------------


def test_the_tests_register_what_the_package_does() -> None:
    """The entry points beside the tests are those that installing the example would make."""
    project = tomllib.loads((ROOT / "examples/digits/pyproject.toml").read_text())["project"]
    (found,) = entry_points(group=ENTRY_POINT_GROUP, name="digits")
    assert project["entry-points"][ENTRY_POINT_GROUP] == {"digits": found.value}
    assert found.dist is not None
    assert (found.dist.name, found.dist.version) == (project["name"], project["version"])


def test_installed_tasks_are_announced_with_their_schemas() -> None:
    """The kind's description has each task's parameters, described, with limits and defaults."""
    kind = TrainingKind().describe()
    assert KindDescription.model_validate_json(kind.model_dump_json()) == kind
    width = kind.parts["task"]["digits"]["properties"]["width"]  # pyright: ignore
    assert (width["default"], width["minimum"], width["maximum"]) == (16, 1, 1024)
    assert "convolution" in width["description"]


def test_the_example_of_the_kind_is_valid() -> None:
    """What `milepost spec example training` prints passes the spec's and its task's own checks."""
    kind = TrainingKind().describe()
    spec = TrainingSpec.model_validate(kind.example)
    load_tasks()[spec.task.name].parameters.model_validate(spec.task.parameters)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, str], None]:
    """Install a package of one module for the time of a test."""
    monkeypatch.syspath_prepend(tmp_path)

    def installed(module: str, source: str, points: str) -> None:
        information = tmp_path / f"{module}-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\n{points}\n")
        (tmp_path / f"{module}.py").write_text(source)
        monkeypatch.delitem(sys.modules, module, raising=False)

    return installed


TASK = """
class Task:
    name = "{name}"
    version = "1"
    parameters = dict
    def build(self, context):
        return None
"""


def test_every_unusable_task_is_named(install: Callable[[str, str, str], None]) -> None:
    """A module that raises, a task of another name, one without a version, one registered twice: all at once."""
    install("broken_team", "import milepost_no_such_module", "broken = broken_team:Task")
    install("other_team", TASK.format(name="same"), "different = other_team:Task")
    install("short_team", "class Task:\n    name = 'short'\n", "short = short_team:Task")
    install("second_team", TASK.format(name="digits"), "digits = second_team:Task")
    with pytest.raises(ValueError, match="broken") as caught:
        load_tasks()
    words = str(caught.value)
    assert "the task broken (broken_team:Task) cannot be loaded: ModuleNotFoundError" in words
    assert "the task different (other_team:Task) calls itself same" in words
    assert "the task short (short_team:Task) has no version, parameters, build" in words
    assert "the task digits is registered twice" in words


# --- the job ------------------------------------------------------------------------------------------


def job(tmp_path: Path, **spec: Any) -> Any:
    return TrainingKind().create_job(JobContext("op-1", spec, {}, tmp_path))


def test_a_task_without_data_makes_a_job(tmp_path: Path) -> None:
    """Its fingerprint holds the task's version and the versions of what its samples rest on."""
    made = job(tmp_path, task={"name": "digits", "parameters": {"width": 2}}, epochs=3)
    assert made.total_units == 3
    assert made.fingerprint["task"] == "digits 1"
    assert any(name.endswith("scikit-learn") for name in made.fingerprint)


def test_problems_that_only_the_worker_can_see_are_named(tmp_path: Path) -> None:
    """An unknown task and wrong parameters that got past the command name their fields."""
    with pytest.raises(ValueError, match=r"spec\.task\.name: unknown task poetry; known: .*digits"):
        job(tmp_path, task={"name": "poetry"})
    with pytest.raises(ValueError, match=r"spec\.task\.parameters\.width: .*1024; .*\.dropout: "):
        job(tmp_path, task={"name": "digits", "parameters": {"width": 5000, "dropout": -1}})


async def test_a_worker_with_a_broken_task_does_not_start(
    install: Callable[[str, str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would refuse work that others do; its last words name the task and why."""
    install("broken_team", "import milepost_no_such_module", "broken = broken_team:Task")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ChildStartError, match=r"the task broken \(broken_team:Task\) cannot be loaded"):
        await ChildPool("training", start_grace_seconds=60).take()
