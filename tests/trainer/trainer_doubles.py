"""What the trainer tests share: small data, quick settings, trainers and jobs, digests of all they leave."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from milepost_contracts.model import JsonObject
from milepost_contracts.specs.bars_training import BarsTaskParameters
from milepost_contracts.specs.training import TrainingSpec
from milepost_models.families import ModelSettings
from milepost_runtime.bridge.cancellation import CancellationToken, StopRequest
from milepost_runtime.checkpoints.data import LoadedCheckpoint
from milepost_runtime.digests import canonical_json, digest_of_bytes, digest_of_file
from milepost_runtime.worker.kind import JobContext
from milepost_trainer.bars.losses import loss_of, metrics_of
from milepost_trainer.bars.windows import WindowedData
from milepost_trainer.engine.parts import TrainingParts
from milepost_trainer.engine.settings import OptimizerSettings, ScheduleSettings, TrainingSettings
from milepost_trainer.engine.state import TrainerState
from milepost_trainer.engine.trainer import ModelTrainer
from milepost_trainer.results import RESULT_FILES
from milepost_trainer.worker import TrainingKind
from safetensors.torch import load, save

from tests.support.bars import make_bars
from tests.support.bridge import SpoolSink
from tests.trainer.initial_models import initial_model

SMALL = ModelSettings(hidden_size=8, layers=1)
RICH = ModelSettings(hidden_size=8, layers=2, dropout=0.2, normalization="batch")
QUICK = TrainingSettings(
    epochs=8,
    batch_size=16,
    accumulation=3,
    gradient_clip=1.0,
    optimizer=OptimizerSettings("adamw", 0.05, 0.01),
    schedule=ScheduleSettings("plateau", patience=1, factor=0.7),
)
"""Seven micro-batches and three optimizer steps in an epoch, the last of one micro-batch; overfits after five."""


def make_data(samples: int = 110, window: int = 4, seed: int = 1) -> WindowedData:
    """Noise with a little sense in it."""
    generator = torch.Generator().manual_seed(seed)
    rows = samples * 2
    features = torch.randn(rows, 3, generator=generator)
    noise = torch.randn(rows, generator=generator)
    indices = torch.arange(window - 1, rows)
    return WindowedData(
        features=features,
        targets=((features[:, 0] + noise) > 0).float(),
        window=window,
        train=indices[:samples],
        validation=indices[samples : samples + 40],
        test=indices[samples + 40 : samples + 80],
    )


DATA = make_data()


def make_trainer(
    model: ModelSettings = RICH, *, weights_seed: int = 0, data: WindowedData = DATA, **settings: Any
) -> ModelTrainer:
    """A fresh trainer; ``weights_seed`` is another one where a test must not profit from equal beginnings."""
    built = initial_model(model, features=3, window=data.window, seed=weights_seed)
    parts = TrainingParts(
        built, data, loss=loss_of(BarsTaskParameters()), metrics=metrics_of(BarsTaskParameters())
    )
    return ModelTrainer(parts, replace(QUICK, **settings))


def digest_of(trainer: ModelTrainer) -> str:
    """Digest of weights, best model, history and metrics."""
    state = trainer.state_dict()
    tensors = {**state.part("model."), **{f"best.{n}": t for n, t in trainer.best_weights().items()}}
    figures = {name: [found.loss, *found.metrics.values()] for name, found in trainer.evaluate_best().items()}
    rest = {
        "history": list(trainer.history),
        "best_epoch": trainer.best_epoch,
        "unit": trainer.unit,
        "figures": figures,
    }
    return digest_of_bytes(save(tensors) + canonical_json(rest))


def through_files(state: TrainerState) -> TrainerState:
    """The state as a checkpoint would give it back."""
    return TrainerState(json.loads(canonical_json(dict(state.values))), load(save(dict(state.tensors))))


def cancel_after(unit: int) -> CancellationToken:
    """A token that is set exactly for ``unit``."""
    from milepost_contracts.checkpoints import CheckpointReason

    token = CancellationToken()
    token.request(StopRequest(CheckpointReason.CANCELLATION, at_unit=unit))
    return token


def write_bars(path: Path, count: int, seed: int = 1) -> None:
    """Canonical bars."""
    bars = make_bars(count, seed)
    names = ("open", "high", "low", "close", "volume")
    times = pa.array(bars.timestamp, type=pa.timestamp("ns", tz="UTC"))
    columns = {name: pa.array(getattr(bars, name)) for name in names}
    pq.write_table(pa.table({"timestamp": times, **columns}), path)


BARS_FIELDS = frozenset(BarsTaskParameters.model_fields) | {"horizon"}


def small_spec(**fields: Any) -> JsonObject:
    """A training of seconds, without its data; fields of the task may be given beside those of the spec."""
    parameters: dict[str, Any] = {
        "features": {"returns": [1, 3], "moving_averages": [5], "rsi": 6, "zscore": 8},
        "model": {"family": "mlp", "hidden_size": 8, "layers": 1, "dropout": 0.1},
        "window": 5,
        "label": "direction",
        **{name: value for name, value in fields.items() if name in BARS_FIELDS},
    }
    horizon = parameters.pop("horizon", 2)
    if isinstance(parameters["label"], str):
        parameters["label"] = {"name": parameters["label"], "horizon": horizon}
    rest = {name: value for name, value in fields.items() if name not in BARS_FIELDS}
    return {
        "task": {"name": "bars", "parameters": parameters},
        "epochs": 15,
        "batch_size": 32,
        "device": "cpu",
        **rest,
    }


class Workplace:
    """Makes jobs over one dataset."""

    def __init__(self, directory: Path, bars: int = 300, seed: int = 1) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.data = directory / "bars.parquet"
        write_bars(self.data, bars, seed)
        self.digest = digest_of_file(self.data)
        self._made = 0
        self._sinks: list[SpoolSink] = []

    def spec(self, **fields: Any) -> TrainingSpec:
        return TrainingSpec.model_validate({**small_spec(**fields), "data": {"digest": self.digest}})

    def job(self, **fields: Any) -> Any:
        content = {"data": {"name": "test", "digest": self.digest}, **small_spec(**fields)}
        return TrainingKind().create_job(
            JobContext("op-1", content, {self.digest: self.data}, self.directory)
        )

    def sink(self) -> SpoolSink:
        """A sink whose store holds what the earlier ones stored."""
        sink = SpoolSink(self.directory / f"sink-{len(self._sinks)}")
        for earlier in self._sinks:
            sink.take_artifacts(earlier)
        self._sinks.append(sink)
        return sink

    def digests(self, job: Any) -> dict[str, str]:
        self._made += 1
        directory = self.directory / f"results-{self._made}"
        directory.mkdir()
        assert set(job.write_results(directory).files) == set(RESULT_FILES)
        return {name: digest_of_file(directory / name) for name in RESULT_FILES}


def without(checkpoint: LoadedCheckpoint, **fingerprint: str) -> Mapping[str, str]:
    """The checkpoint's fingerprint with some entries changed."""
    return {**checkpoint.fingerprint, **fingerprint}
