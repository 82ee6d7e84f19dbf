"""A trained model of the task ``bars``, loaded from its result files alone: no spec, no training data, no bus.

A prediction at a bar follows from the bars up to it alone, bit for bit, so a strategy may have them all computed
once and look them up bar by bar. They are the bits of the training's own outputs for the same bars from the same
first bar on, with the same versions, threads and kind of processor: rows go through the model in multiples of
``ROWS_MULTIPLE``, since the last rows of other batches are computed by other kernels. Indicators run on from the
first bar, so bars that begin later give slightly other features.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import safetensors.torch
import torch
from milepost_contracts.specs.bars_training import BarsTaskParameters
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from torch import Tensor, nn

from milepost_trainer.bars.bar_files import Bars, Floats, Indices
from milepost_trainer.bars.features import compute_features, data_versions, first_row
from milepost_trainer.bars.losses import probabilities
from milepost_trainer.bars.preparation import rows_tensor
from milepost_trainer.bars.scaling import ColumnScaling, Scaling, scaling_from_json
from milepost_trainer.bars.task import TASK_VERSION, model_of
from milepost_trainer.bars.windows import windows_at
from milepost_trainer.engine.evaluation import EVALUATION_BATCH
from milepost_trainer.engine.precision import computing_in
from milepost_trainer.engine.settings import Precision

# Its types are half there; Any says so once.
files: Any = safetensors.torch

ROWS_MULTIPLE = 16
"""Batches are filled up to multiples of this; in trials those of 16, 64 and 1024 rows gave the same bits."""
_UNREADABLE = (OSError, json.JSONDecodeError, UnicodeDecodeError, SafetensorError)


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What the model says at each of some bars."""

    rows: Indices
    """Numbers of the bars."""
    outputs: NDArray[np.float32]
    """As they leave the model: logits of classes, or scaled returns."""
    probabilities: Floats | None
    """Of each class (rows by classes); None when the label is a number."""
    returns: Floats | None
    """Expected log returns; None when the label is a class."""


class Predictor:
    """Computes on the CPU, and leaves torch's settings as they are."""

    def __init__(
        self, model: nn.Module, parameters: BarsTaskParameters, scaling: Scaling, card: Mapping[str, Any]
    ) -> None:
        self._model = model.eval()
        self._parameters = parameters
        self._scaling = scaling
        self._precision: Precision = card["precision"]
        self.classes: tuple[str, ...] = parameters.label.classes
        """Names of the classes, in the order of probabilities; none when the label is a number."""
        self.first_row: int = first_row(parameters.features) + parameters.window - 1
        """The first bar that can be predicted at; as many bars have to come before it."""
        self.version_differences = _version_differences(card)
        """What is other than it was in the training, in words; then last bits may be others too."""

    def predict(self, bars: Bars, *, symbol: str = "", rows: Indices | None = None) -> Predictions:
        """Return predictions at these rows, in their order; None: at all rows from ``first_row`` on.

        ``symbol`` counts only when each had a scaling of its own.

        Raises:
            ValueError: rows are not there or too early, or the symbol was not trained on.
        """
        chosen = np.arange(self.first_row, len(bars), dtype=np.int64) if rows is None else rows
        if len(chosen) and not self.first_row <= int(chosen.min()) <= int(chosen.max()) < len(bars):
            raise ValueError(
                f"predictions at bars {self.first_row} to {len(bars) - 1} only, not at {int(chosen.min())}"
                f" to {int(chosen.max())}"
            )
        scaling = self._scaling.of(symbol)
        outputs = self._outputs(bars, scaling, torch.from_numpy(chosen))
        return Predictions(
            rows=chosen,
            outputs=outputs.numpy(),
            probabilities=probabilities(outputs.double()).numpy() if self.classes else None,
            returns=None if self.classes else outputs.double().numpy() * scaling.target_deviation,
        )

    def _outputs(self, bars: Bars, scaling: ColumnScaling, rows: Tensor) -> Tensor:
        if not len(rows):
            return torch.empty((0, len(self.classes)) if len(self.classes) > 2 else 0)
        features = rows_tensor(scaling.apply(compute_features(bars, self._parameters.features).values))
        # Filled up with the last row again; what it gives is cut off.
        filled = torch.cat((rows, rows[-1:].expand(-len(rows) % ROWS_MULTIPLE)))
        starts = range(0, len(filled), EVALUATION_BATCH)
        with torch.no_grad(), computing_in(self._precision, "cpu"):
            found: list[Tensor] = [
                self._model(
                    windows_at(features, filled[start : start + EVALUATION_BATCH], self._parameters.window)
                )
                for start in starts
            ]
        return torch.cat(found)[: len(rows)].float()


def load_model(directory: Path) -> Predictor:
    """Load ``model.json`` and ``model.safetensors`` of a training's results.

    Raises:
        ValueError: a file is missing or damaged, or is of another task or version; the reason is named.
    """
    try:
        card = cast("dict[str, Any]", json.loads((directory / "model.json").read_bytes()))
        _refuse_others(card)
        parameters = BarsTaskParameters.model_validate(card["parameters"])
        scaling = scaling_from_json(card["scaling"])
        model = model_of(parameters, features=len(scaling.features), seed=0)
        model.load_state_dict(files.load_file(directory / "model.safetensors"))
        return Predictor(model, parameters, scaling, card)
    # RuntimeError is torch's: tensors are missing, too many, or of another shape; it lists them.
    except (*_UNREADABLE, KeyError, TypeError, ValidationError, RuntimeError) as error:
        raise ValueError(f"the model in {directory} cannot be loaded: {error}") from error


def _refuse_others(card: Mapping[str, Any]) -> None:
    found, known = (card["task"], card["task_version"]), ("bars", TASK_VERSION)
    if found != known:
        raise ValueError(f"the model is of the task {' '.join(found)}, not of {' '.join(known)}")


def _version_differences(card: Mapping[str, Any]) -> tuple[str, ...]:
    was: dict[str, str] = {**card["data_versions"], "torch": card["versions"]["torch"]}
    present = {**data_versions(), "torch": torch.__version__}
    return tuple(
        f"{name} was {was.get(name)} and is {present.get(name)}"
        for name in sorted(was.keys() | present.keys())
        if was.get(name) != present.get(name)
    )
