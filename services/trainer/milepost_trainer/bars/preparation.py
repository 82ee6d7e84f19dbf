"""From bars and a spec to scaled samples in three parts, none of which sees what it must not.

A sample at bar t sees the bars up to t; its label is the return from t to t + horizon. Parts follow each other
in time. Purge: a sample whose label reaches into the next part is left out. Embargo: so many bars at the
beginning of the validation and test parts are left out too. Scaling is fitted on the bars of training samples.
A window at the beginning of a part reaches back into the bars before it: they are past, and known then.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from milepost_contracts.model import JsonObject
from milepost_contracts.specs.bars_training import BarsTaskParameters

from milepost_trainer.bars.bar_files import Bars, Floats, Indices
from milepost_trainer.bars.features import Features, compute_features
from milepost_trainer.bars.windows import WindowedData

SAMPLES_MIN = 2
"""Each part needs so many samples."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """Value = (raw - mean) / deviation, fitted on the training part only."""

    features: tuple[str, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    target_deviation: float
    """What predicted returns are multiplied with (1 for directions)."""

    def as_json(self) -> JsonObject:
        """Return it as it stands in ``model.json``."""
        return {
            "features": list(self.features),
            "mean": list(self.mean),
            "deviation": list(self.deviation),
            "target_deviation": self.target_deviation,
        }


@dataclass(frozen=True, slots=True, eq=False)
class PreparedData:
    """Samples for the engine, and what inference needs to make them again."""

    data: WindowedData
    scaling: Scaling


def prepare(bars: Bars, spec: BarsTaskParameters) -> PreparedData:
    """Return scaled samples in three parts.

    Raises:
        ValueError: there are too few bars; each part that has too few samples is named.
    """
    features = compute_features(bars, spec.features)
    train, validation, test = split(len(bars), spec, features.first)
    short = [
        f"the {name} part has {len(part)} samples, it needs {SAMPLES_MIN}"
        for name, part in (("train", train), ("validation", validation), ("test", test))
        if len(part) < SAMPLES_MIN
    ]
    if short:
        raise ValueError(f"spec.data: {len(bars)} bars are too few: " + "; ".join(short))
    targets = forward_returns(bars.close, spec.horizon)
    scaling = _fit(features, targets, train, spec)
    scaled = (features.values - np.array(scaling.mean)) / np.array(scaling.deviation)
    if spec.label == "direction":
        targets = (targets > 0).astype(np.float64)
    targets = targets / scaling.target_deviation
    data = WindowedData(
        features=torch.tensor(np.nan_to_num(scaled), dtype=torch.float32),
        targets=torch.tensor(np.nan_to_num(targets), dtype=torch.float32),
        window=spec.window,
        train=torch.tensor(train),
        validation=torch.tensor(validation),
        test=torch.tensor(test),
    )
    return PreparedData(data, scaling)


def forward_returns(close: Floats, horizon: int) -> Floats:
    """ln(close[t + horizon] / close[t]); NaN where that bar is not there."""
    found = np.full(len(close), np.nan)
    logs = np.log(close)
    found[:-horizon] = logs[horizon:] - logs[:-horizon]
    return found


def split(bars: int, spec: BarsTaskParameters, first_row: int) -> tuple[Indices, ...]:
    """Return the bars at which the samples of training, validation and test end."""
    shares = spec.split
    edges = [0, int(bars * shares.train), int(bars * (shares.train + shares.validation)), bars]
    whole_window = first_row + spec.window - 1
    parts: list[Indices] = []
    for number, (start, stop) in enumerate(pairwise(edges)):
        begin = max(start + (shares.embargo if number else 0), whole_window)
        # Purge: the label of the last sample is known at the part's last bar.
        parts.append(np.arange(begin, max(begin, stop - spec.horizon), dtype=np.int64))
    return tuple(parts)


def _fit(features: Features, targets: Floats, train: Indices, spec: BarsTaskParameters) -> Scaling:
    seen = features.values[train[0] - spec.window + 1 : train[-1] + 1]
    deviation = seen.std(axis=0)
    # A feature that never changes is zero after the shift, whatever it is divided by.
    deviation[deviation == 0] = 1.0
    spread = float(targets[train].std()) if spec.label == "return" else 1.0
    return Scaling(
        features=features.names,
        mean=tuple(seen.mean(axis=0).tolist()),
        deviation=tuple(deviation.tolist()),
        target_deviation=spread or 1.0,
    )
