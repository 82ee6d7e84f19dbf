"""A trained model of the task ``bars``, loaded from its result files alone: no spec, no training data, no bus.

A prediction at a bar follows from the bars up to it alone, bit for bit, whatever else is predicted with it. Matrix
kernels give a row other last bits in a batch of another size, on some processors at another place of it too; so
bars go through the model in blocks of ``BLOCK_BARS`` that begin at its multiples, each bar at its own place.
With the same versions, threads and kind of processor they are the bits of the training's model in such blocks; its
own batches were of other sizes. Indicators run on from the first bar, so bars that begin later give slightly other
features.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from milepost_contracts.trained_models import CARD_FILE, WEIGHTS_FILE
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor, nn

from milepost_models.bar_files import Bars, Floats, Indices
from milepost_models.card import ModelCard, read_card
from milepost_models.families import model_of
from milepost_models.features import compute_features, data_versions, first_row
from milepost_models.windows import rows_tensor, windows_at

# Its types are half there; Any says so once.
files: Any = safetensors.torch

BLOCK_BARS = 256
"""Small enough that a cancel waits for no more than a few blocks, large enough to keep a processor busy."""
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


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


@dataclass(frozen=True, slots=True, eq=False)
class ScaledRows:
    """What a model sees of each bar of one symbol."""

    values: Tensor
    """float32, bars by features."""
    target_deviation: float
    """What predicted returns are multiplied with."""


class Predictor:
    """Computes on the CPU, and leaves torch's settings as they are."""

    def __init__(self, model: nn.Module, card: ModelCard) -> None:
        self._model = model.eval()
        self._card = card
        parameters = card.parameters
        self.classes: tuple[str, ...] = parameters.label.classes
        """Names of the classes, in the order of probabilities; none when the label is a number."""
        self.first_row: int = first_row(parameters.features) + parameters.window - 1
        """The first bar that can be predicted at; as many bars have to come before it."""
        self.version_differences = _version_differences(card.versions)
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
        return self.predict_rows(self.rows_of(bars, symbol=symbol), chosen)

    def rows_of(self, bars: Bars, *, symbol: str = "") -> ScaledRows:
        """Return what the model sees of each bar, which follows from the bars up to it.

        Raises:
            ValueError: a feature is not finite, or the symbol was not trained on.
        """
        scaling = self._card.scaling.of(symbol)
        features = compute_features(bars, self._card.parameters.features)
        return ScaledRows(rows_tensor(scaling.apply(features.values)), scaling.target_deviation)

    def predict_rows(self, seen: ScaledRows, rows: Indices) -> Predictions:
        """Return predictions at these rows, in their order; none may be before ``first_row``."""
        numbers, whose = np.unique(rows // BLOCK_BARS, return_inverse=True)
        values, at = seen.values, whose * BLOCK_BARS + rows % BLOCK_BARS
        blocks = [self._block_outputs(values, int(number)) for number in numbers] or [self._nothing()]
        outputs = torch.cat(blocks)
        # Block by block here too: where threads share the work, or at its end, it may be rounded otherwise.
        shares = torch.cat([probabilities(block.double()) for block in blocks]) if self.classes else None
        return Predictions(
            rows=rows,
            outputs=outputs.numpy()[at],
            probabilities=None if shares is None else shares.numpy()[at],
            returns=None if self.classes else outputs.double().numpy()[at] * seen.target_deviation,
        )

    def block_rows(self, seen: ScaledRows, number: int) -> Indices:
        """Return the bars of a block that can be predicted at; there may be none."""
        start = number * BLOCK_BARS
        stop = min(start + BLOCK_BARS, len(seen.values))
        return np.arange(max(start, self.first_row), stop, dtype=np.int64)

    def _block_outputs(self, values: Tensor, number: int) -> Tensor:
        """Return what leaves the model for each place of a block; places that have no window repeat another."""
        window, precision = self._card.parameters.window, self._card.precision
        places = torch.arange(number * BLOCK_BARS, (number + 1) * BLOCK_BARS)
        lower = torch.autocast("cpu", dtype=_DTYPES[precision], enabled=precision != "float32")
        with torch.no_grad(), lower:
            inputs = windows_at(values, places.clamp(self.first_row, len(values) - 1), window)
            outputs: Tensor = self._model(inputs)
        return outputs.float()

    def _nothing(self) -> Tensor:
        return torch.empty((0, len(self.classes)) if len(self.classes) > 2 else 0)


def probabilities(outputs: Tensor) -> Tensor:
    """Return the probability of each class (samples by classes)."""
    if outputs.ndim == 1:
        up = torch.sigmoid(outputs)
        return torch.stack((1 - up, up), dim=1)
    return torch.softmax(outputs, dim=1)


def load_model(directory: Path) -> Predictor:
    """Load ``model.json`` and ``model.safetensors`` of a training's results.

    Raises:
        ValueError: a file is missing or damaged, the weights are not the card's, or the model is of another task
            or version; the reason is named.
    """
    return load_files(directory / CARD_FILE, directory / WEIGHTS_FILE)


def load_files(card_path: Path, weights_path: Path) -> Predictor:
    """Load a model card and its weights; see ``load_model``."""
    try:
        card = read_card(card_path)
        _refuse_other_weights(weights_path, card.weights_digest)
        # What is drawn here is overwritten, and nobody else's random numbers are touched.
        with torch.random.fork_rng(devices=[]):
            model = model_of(card.parameters, features=len(card.scaling.features))
        model.load_state_dict(files.load_file(weights_path))
        return Predictor(model, card)
    # RuntimeError is torch's: tensors are missing, too many, or of another shape; it lists them.
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise ValueError(f"the model cannot be loaded from {card_path}: {error}") from error


def _refuse_other_weights(path: Path, digest: str) -> None:
    """A changed bit loads silently, and so do the weights of another training of the same shape."""
    with path.open("rb") as file:
        found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    if found != digest:
        raise ValueError(f"the card is of the weights {digest}, the file is {found}")


def _version_differences(was: Mapping[str, str]) -> tuple[str, ...]:
    present = {**data_versions(), "torch": torch.__version__}
    return tuple(
        f"{name} was {was.get(name)} and is {present.get(name)}"
        for name in sorted(was.keys() | present.keys())
        if was.get(name) != present.get(name)
    )
