"""The result files of a finished training; the same training writes the same bytes."""

import math
from importlib import import_module
from pathlib import Path

import torch
from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.model import JsonObject
from milepost_contracts.specs.training import TrainingSpec
from milepost_contracts.trained_models import CARD_FILE, WEIGHTS_FILE
from milepost_runtime.digests import canonical_json, measure_file

from milepost_trainer.engine.trainer import ENGINE_VERSION, ModelTrainer
from milepost_trainer.parquet_tables import MEDIA_TYPE, write_table
from milepost_trainer.tensor_files.writing import write_tensors

TENSORS_MEDIA_TYPE = "application/vnd.safetensors"
RESULT_FILES = {
    WEIGHTS_FILE: TENSORS_MEDIA_TYPE,
    "last.safetensors": TENSORS_MEDIA_TYPE,
    CARD_FILE: "application/json",
    "history.parquet": MEDIA_TYPE,
    "metrics.json": "application/json",
    "loss.png": "image/png",
}
"""Weights of the best model and of the last epoch, what inference needs, all epochs, figures, and the curve."""


def write_results(trainer: ModelTrainer, spec: TrainingSpec, card: JsonObject, directory: Path) -> JsonObject:
    """Write the result files and return the figures."""
    write_tensors(directory / WEIGHTS_FILE, trainer.best_weights())
    write_tensors(directory / "last.safetensors", trainer.present_weights())
    (directory / CARD_FILE).write_bytes(canonical_json(model_card(spec, card, weights_of(directory))))
    history = history_columns(trainer)
    write_table(history, directory / "history.parquet")
    # matplotlib takes a second to import, and only a finished training needs it.
    draw_losses = import_module("milepost_trainer.loss_curve").draw_losses
    draw_losses(history, trainer.best_epoch, directory / "loss.png")
    metrics = figures(trainer)
    (directory / "metrics.json").write_bytes(canonical_json(metrics))
    return metrics


def history_columns(trainer: ModelTrainer) -> dict[str, list[float]]:
    """Return the history by column, in an order of its own: entries that went through JSON have theirs sorted."""
    history = trainer.history
    first = ("epoch", "learning_rate", "train_loss", "validation_loss")
    names = [*first, *sorted(history[0].keys() - set(first))] if history else list(first)
    return {name: [entry[name] for entry in history] for name in names}


def weights_of(directory: Path) -> ArtifactReference:
    """Return what the card names its weights by, so that its own digest stands for the whole model."""
    measured = measure_file(directory / WEIGHTS_FILE)
    return ArtifactReference(
        name=WEIGHTS_FILE,
        digest=measured.digest,
        size_bytes=measured.size_bytes,
        media_type=TENSORS_MEDIA_TYPE,
    )


def model_card(spec: TrainingSpec, card: JsonObject, weights: ArtifactReference) -> JsonObject:
    """Return enough to load the weights and to make their inputs, for inference alone."""
    return {
        **card,
        "task": spec.task.name,
        "data": [reference.digest for reference in spec.datasets],
        "precision": spec.precision,
        "weights": weights.model_dump(mode="json"),
        "versions": {"engine": ENGINE_VERSION, "torch": torch.__version__},
    }


def figures(trainer: ModelTrainer) -> JsonObject:
    """Return the best model's figures on the validation and test parts."""
    parts: JsonObject = {}
    for part, found in trainer.evaluate_best().items():
        numbers: JsonObject = {name: _number(value) for name, value in found.metrics.items()}
        parts[part] = {"loss": _number(found.loss), "samples": found.samples, **numbers}
    return {
        "epochs": len(trainer.history),
        "best_epoch": trainer.best_epoch,
        "stopped_early": trainer.stopped_early,
        **parts,
    }


def _number(value: float) -> float | None:
    """JSON has no form of what is no number; a test part of one class, say, has no area under a curve."""
    return value if math.isfinite(value) else None
