"""The model card ``model.json``: what inference needs beside the weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from milepost_contracts.model import JsonObject
from milepost_contracts.specs.bars_training import BarsTaskParameters
from milepost_contracts.trained_models import MODEL_TASK
from pydantic import ValidationError

from milepost_models.features import data_versions
from milepost_models.scaling import Scaling, scaling_from_json

TASK_VERSION = "1"
"""Raised with every change that can change a sample, a label or a prediction."""
Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class ModelCard:
    """How a model's inputs are made and what its outputs mean."""

    parameters: BarsTaskParameters
    scaling: Scaling
    precision: Precision
    """Of the forward pass."""
    weights_digest: str
    versions: Mapping[str, str]
    """Of the libraries that the training computed with, as far as they decide a prediction's bits."""


def card_of(parameters: BarsTaskParameters, scaling: Scaling) -> JsonObject:
    """Return what the task puts into the card; the training adds its own."""
    return {
        "task_version": TASK_VERSION,
        "parameters": parameters.model_dump(mode="json"),
        "classes": list(parameters.label.classes),
        "scaling": scaling.as_json(),
        "data_versions": {**data_versions()},
    }


def read_card(path: Path) -> ModelCard:
    """Read a card.

    Raises:
        ValueError: it is missing or damaged, or of another task or version; the reason is named.
    """
    try:
        card = cast("dict[str, Any]", json.loads(path.read_bytes()))
        _refuse_others(card)
        return ModelCard(
            parameters=BarsTaskParameters.model_validate(card["parameters"]),
            scaling=scaling_from_json(card["scaling"]),
            precision=card["precision"],
            weights_digest=card["weights"]["digest"],
            versions={**card["data_versions"], "torch": card["versions"]["torch"]},
        )
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValidationError, json.JSONDecodeError) as error:
        raise ValueError(f"it is no model card: {type(error).__name__}: {error}") from error


def _refuse_others(card: Mapping[str, Any]) -> None:
    found, known = (card["task"], card.get("task_version", "")), (MODEL_TASK, TASK_VERSION)
    if found != known:
        raise ValueError(f"the model is of the task {' '.join(found).strip()}, not of {' '.join(known)}")
