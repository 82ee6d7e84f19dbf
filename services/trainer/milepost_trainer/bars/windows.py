"""Samples for the engine: windows over rows of features, in three parts."""

from dataclasses import dataclass

from milepost_models.windows import windows_at
from torch import Tensor

from milepost_trainer.engine.errors import TrainingError
from milepost_trainer.engine.parts import PARTS, Part


@dataclass(frozen=True, slots=True, eq=False)
class WindowedData:
    """Implements ``TrainingData``; a sample is the window of rows that ends at its row, with that row's target."""

    features: Tensor
    """float32, rows by features."""
    targets: Tensor
    """float32, or int64 for classes, one for each row; rows that no part names may hold anything."""
    window: int
    train: Tensor
    """Rows (int64) at which the samples of each part end."""
    validation: Tensor
    test: Tensor

    def __post_init__(self) -> None:
        for name in PARTS:
            rows = self._rows(name)
            if not len(rows):
                raise TrainingError(f"the {name} part has no samples")
            if int(rows.min()) < self.window - 1 or int(rows.max()) >= len(self.features):
                raise TrainingError(f"the {name} part names rows whose window is not there")

    def count(self, part: Part) -> int:
        """Return how many samples a part has."""
        return len(self._rows(part))

    def batch(self, part: Part, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs (samples by window by features) and targets."""
        rows = self._rows(part)[samples]
        return windows_at(self.features, rows, self.window), self.targets[rows]

    def _rows(self, part: Part) -> Tensor:
        rows: Tensor = getattr(self, part)
        return rows
