"""From bars and a spec to scaled samples in three parts, none of which sees what it must not.

A sample at bar t sees the features of the bars up to t, of one symbol. Scaling is fitted on the bars that training
samples see.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from milepost_contracts.specs.bars_losses import CrossEntropyLoss, FocalLoss
from milepost_contracts.specs.bars_training import BarsTaskParameters
from milepost_models.bar_files import Bars, Floats, Indices
from milepost_models.features import Features, compute_features
from milepost_models.scaling import Scaling, fit
from milepost_models.windows import rows_tensor
from torch import Tensor

from milepost_trainer.bars.labels import Labels, compute_labels
from milepost_trainer.bars.split import samples_within, spans
from milepost_trainer.bars.windows import WindowedData
from milepost_trainer.engine.parts import PARTS

SAMPLES_MIN = 2
"""Each part needs so many samples."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedData:
    """Samples for the engine, and what inference needs to make them again."""

    data: WindowedData
    scaling: Scaling
    class_counts: Tensor | None
    """Training samples of each class; None when the label is a number."""


@dataclass(frozen=True, slots=True, eq=False)
class _Symbol:
    name: str
    bars: Bars
    features: Features
    labels: Labels
    parts: tuple[Indices, ...]
    """Rows of the training, validation and test samples."""

    def seen(self, window: int) -> Floats:
        """Return the rows of features that training samples see."""
        rows = self.parts[0]
        return self.features.values[rows[0] - window + 1 : rows[-1] + 1]

    def targets(self) -> Floats:
        """Return the labels of the training samples."""
        return self.labels.values[self.parts[0]]


def prepare(symbols: Sequence[tuple[str, Bars]], parameters: BarsTaskParameters) -> PreparedData:
    """Return scaled samples of all symbols (name, bars) in three parts.

    Raises:
        ValueError: there are too few bars, a feature has no value, or training sees one class only; each is named.
    """
    found = _symbols(symbols, parameters)
    _refuse_few(found)
    scaling = _scaling(found, parameters)
    counts = _class_counts(found, parameters) if parameters.label.classes else None
    return PreparedData(_data(found, scaling, parameters), scaling, counts)


def _symbols(symbols: Sequence[tuple[str, Bars]], parameters: BarsTaskParameters) -> list[_Symbol]:
    parts = spans([bars.timestamp for _, bars in symbols], parameters.split)
    found: list[_Symbol] = []
    for name, bars in symbols:
        try:
            features = compute_features(bars, parameters.features)
        except ValueError as error:
            raise ValueError(f"spec.data: {name}: {error}") from error
        labels = compute_labels(bars.close, parameters.label)
        first = features.first + parameters.window - 1
        rows = tuple(samples_within(span, bars.timestamp, labels, first) for span in parts)
        found.append(_Symbol(name, bars, features, labels, rows))
    return found


def _refuse_few(symbols: Sequence[_Symbol]) -> None:
    counts = {part: sum(len(symbol.parts[number]) for symbol in symbols) for number, part in enumerate(PARTS)}
    short = [
        f"the {part} part has {count} samples, it needs {SAMPLES_MIN}"
        for part, count in counts.items()
        if count < SAMPLES_MIN
    ]
    if short:
        bars = sum(len(symbol.bars) for symbol in symbols)
        raise ValueError(f"spec.data: {bars} bars are too few: " + "; ".join(short))


def _scaling(symbols: Sequence[_Symbol], parameters: BarsTaskParameters) -> Scaling:
    trained = [symbol for symbol in symbols if len(symbol.parts[0])]
    window, numbers = parameters.window, not parameters.label.classes
    names = symbols[0].features.names
    if parameters.scaling == "shared":
        seen = [symbol.seen(window) for symbol in trained]
        targets = [symbol.targets() for symbol in trained] if numbers else None
        return Scaling(names, shared=fit(seen, targets))
    without = [symbol.name for symbol in symbols if not len(symbol.parts[0])]
    if without:
        raise ValueError(
            f"spec.data: {', '.join(without)} has no bars in the training part, so no scaling of its own;"
            " leave it out, or take the scaling shared"
        )
    own = {
        symbol.name: fit([symbol.seen(window)], [symbol.targets()] if numbers else None) for symbol in trained
    }
    return Scaling(names, shared=None, symbols=own)


def _class_counts(symbols: Sequence[_Symbol], parameters: BarsTaskParameters) -> Tensor:
    label = parameters.label
    targets = np.concatenate([symbol.targets() for symbol in symbols]).astype(np.int64)
    counts = np.bincount(targets, minlength=len(label.classes))
    seen = [name for name, count in zip(label.classes, counts, strict=True) if count]
    if len(seen) == 1:
        raise ValueError(
            f"spec.task.parameters.label: all {len(targets)} training samples are of the class {seen[0]},"
            " so there is nothing to learn"
        )
    missing = [name for name in label.classes if name not in seen]
    loss = parameters.loss
    balanced = isinstance(loss, CrossEntropyLoss | FocalLoss) and loss.class_weights == "balanced"
    if missing and balanced:
        raise ValueError(
            "spec.task.parameters.loss.class_weights: balanced is not possible, no training sample is of the"
            f" class {missing[0]}"
        )
    return torch.from_numpy(counts)


def _data(symbols: Sequence[_Symbol], scaling: Scaling, parameters: BarsTaskParameters) -> WindowedData:
    starts = np.cumsum([0, *(len(symbol.bars) for symbol in symbols)]).tolist()
    parts = {
        part: torch.from_numpy(
            np.concatenate(
                [symbol.parts[number] + start for symbol, start in zip(symbols, starts, strict=False)]
            )
        )
        for number, part in enumerate(PARTS)
    }
    features = [scaling.of(symbol.name).apply(symbol.features.values) for symbol in symbols]
    targets = [symbol.labels.values / scaling.of(symbol.name).target_deviation for symbol in symbols]
    return WindowedData(
        features=rows_tensor(np.concatenate(features)),
        targets=torch.tensor(
            np.nan_to_num(np.concatenate(targets)),
            # One logit tells two classes apart and wants a number; cross entropy of more wants the class.
            dtype=torch.int64 if len(parameters.label.classes) > 2 else torch.float32,
        ),
        window=parameters.window,
        **parts,
    )
