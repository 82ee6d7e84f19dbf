"""Features and targets brought to mean 0 and deviation 1, by figures of the training part alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from milepost_contracts.model import JsonObject

from milepost_models.bar_files import Floats


@dataclass(frozen=True, slots=True)
class ColumnScaling:
    """Value = (raw - mean) / deviation, for each feature."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    target_deviation: float
    """What predicted returns are multiplied with (1 for classes)."""

    def apply(self, values: Floats) -> Floats:
        """Return scaled rows."""
        return (values - np.array(self.mean)) / np.array(self.deviation)


@dataclass(frozen=True, slots=True)
class Scaling:
    """One scaling for all symbols, or one for each."""

    features: tuple[str, ...]
    shared: ColumnScaling | None
    symbols: Mapping[str, ColumnScaling] = field(default_factory=dict[str, ColumnScaling])

    def of(self, symbol: str) -> ColumnScaling:
        """Return the scaling of a symbol.

        Raises:
            ValueError: each symbol has its own, and this one was not trained on.
        """
        found = self.shared or self.symbols.get(symbol)
        if found is None:
            known = ", ".join(sorted(self.symbols))
            raise ValueError(f"no scaling was fitted for {symbol!r}; there is one for: {known}")
        return found

    def as_json(self) -> JsonObject:
        """Return it as it stands in ``model.json``."""
        if self.shared is not None:
            return {"features": list(self.features), **_lists(self.shared)}
        return {
            "features": list(self.features),
            "symbols": {name: _lists(scaling) for name, scaling in self.symbols.items()},
        }


def scaling_from_json(content: Mapping[str, Any]) -> Scaling:
    """Return what ``as_json`` gave; floats come back exactly."""
    symbols: Mapping[str, Any] = content.get("symbols", {})
    return Scaling(
        features=tuple(content["features"]),
        shared=None if symbols else _columns(content),
        symbols={name: _columns(scaling) for name, scaling in symbols.items()},
    )


def fit(seen: Sequence[Floats], targets: Sequence[Floats] | None) -> ColumnScaling:
    """Return the scaling of rows that training sees, and of its targets when these are numbers."""
    rows = np.concatenate(seen)
    deviation = rows.std(axis=0)
    # A feature that never changes is zero after the shift, whatever it is divided by.
    deviation[deviation == 0] = 1.0
    spread = float(np.concatenate(targets).std()) if targets is not None else 1.0
    return ColumnScaling(
        mean=tuple(rows.mean(axis=0).tolist()),
        deviation=tuple(deviation.tolist()),
        target_deviation=spread or 1.0,
    )


def _lists(scaling: ColumnScaling) -> JsonObject:
    return {
        "mean": list(scaling.mean),
        "deviation": list(scaling.deviation),
        "target_deviation": scaling.target_deviation,
    }


def _columns(content: Mapping[str, Any]) -> ColumnScaling:
    return ColumnScaling(tuple(content["mean"]), tuple(content["deviation"]), content["target_deviation"])
