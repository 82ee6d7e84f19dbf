"""Small models trained in the test's own process."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milepost_contracts.specs.training import TrainingSpec
from milepost_contracts.trained_models import CARD_FILE, WEIGHTS_FILE
from milepost_runtime.digests import digest_of_file
from milepost_trainer.bars.task import BarsTask
from milepost_trainer.engine.trainer import ModelTrainer
from milepost_trainer.results import write_results
from milepost_trainer.specs import training_settings
from milepost_trainer.task import TaskContext

from tests.trainer.bars_doubles import spec_of
from tests.trainer.trainer_doubles import small_spec, write_bars


@dataclass(frozen=True)
class TrainedModel:
    """Result files of a training."""

    directory: Path

    @property
    def card(self) -> Path:
        return self.directory / CARD_FILE

    @property
    def weights(self) -> Path:
        return self.directory / WEIGHTS_FILE

    @property
    def digest(self) -> str:
        return digest_of_file(self.card)

    @property
    def files(self) -> dict[str, Path]:
        """As a worker has its inputs."""
        return {digest_of_file(path): path for path in (self.card, self.weights)}


def trained_model(directory: Path, *, bars: int = 400, name: str = "walk", **fields: Any) -> TrainedModel:
    """Train for a few epochs on a random walk called ``name``."""
    directory.mkdir(exist_ok=True)
    data = directory / "bars.parquet"
    write_bars(data, bars)
    content = {"epochs": 4, "optimizer": {"name": "adamw", "learning_rate": 0.02}, **fields}
    spec = TrainingSpec.model_validate({**small_spec(**content), "data": {"name": name}})
    built = BarsTask().build(TaskContext(spec_of(**fields), seed=3, inputs=(data,), names=(name,)))
    trainer = ModelTrainer(built.parts, training_settings(spec, device="cpu"))
    trainer.fit()
    write_results(trainer, spec, built.card, directory)
    return TrainedModel(directory)
