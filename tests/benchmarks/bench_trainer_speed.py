"""What the training engine costs beside a bare PyTorch loop: same model, order, batches, optimizer and validation.

Run it alone: ``python -m tests.benchmarks.bench_trainer_speed``. Both train in turns, an epoch each, the one that
goes first changing; the figure is the median of the ratios of neighbouring epochs, since a machine's speed drifts.
Where the tensors of a training happen to lie in memory makes it several percent faster or slower for all its life,
so both are made anew a few times, in turns as well. Both use one thread, and what is measured is that thread's own
time: others on the machine count for less. How far apart two bare loops come out says what the figures are worth.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from milepost_models.families import ModelSettings
from milepost_trainer.bars.windows import WindowedData
from milepost_trainer.engine.order import permutation
from milepost_trainer.engine.parts import TrainingParts
from milepost_trainer.engine.settings import OptimizerSettings, TrainingSettings
from milepost_trainer.engine.trainer import ModelTrainer
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tests.trainer.initial_models import initial_model

Row = tuple[str, float, str]

ROUNDS, PAIRS, WARM_UP = 6, 8, 2
"""Made anew, epochs of each, and epochs before those that count."""
BARE = "bare loop"
FEATURES, WINDOW, VALIDATION = 16, 32, 64


@dataclass(frozen=True)
class Case:
    """One model, and how many steps make an epoch."""

    name: str
    model: ModelSettings
    batch_size: int
    steps: int


CASES = (
    Case("MLP 32x1, batch 64", ModelSettings("mlp", hidden_size=32, layers=1), 64, 100),
    Case("MLP 512x3, batch 256", ModelSettings("mlp", hidden_size=512, layers=3), 256, 20),
    Case("LSTM 64x1, batch 64", ModelSettings("lstm", hidden_size=64, layers=1), 64, 20),
)
VARIANTS: dict[str, dict[str, object]] = {
    "": {},
    BARE: {},
    "unit step": {"unit": "step"},
    "not deterministic": {"deterministic": False},
    "both clipping": {"gradient_clip": 1e6},
    "both averaging": {"averaging_decay": 0.99},
}


class BareLoop:
    """What one writes by hand."""

    def __init__(
        self,
        model: nn.Module,
        data: WindowedData,
        batch_size: int,
        *,
        gradient_clip: float | None = None,
        averaging_decay: float | None = None,
    ) -> None:
        self._model, self._data, self._batch_size = model, data, batch_size
        self._gradient_clip = gradient_clip
        self._average = None
        if averaging_decay is not None:
            self._average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(averaging_decay))
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0)
        self._epoch = 0
        self.losses: list[float] = []

    def epoch(self) -> None:
        """Train for an epoch and validate."""
        order = permutation(0, self._epoch, self._data.count("train"))
        total = 0.0
        self._model.train()
        for chosen in order.split(self._batch_size):
            inputs, targets = self._data.batch("train", chosen)
            self._optimizer.zero_grad()
            loss = functional.mse_loss(self._model(inputs), targets)
            loss.backward()
            if self._gradient_clip is not None:
                nn.utils.clip_grad_norm_(self._model.parameters(), self._gradient_clip)
            self._optimizer.step()
            if self._average is not None:
                self._average.update_parameters(self._model)
            total += loss.item() * len(chosen)
        self._model.eval()
        with torch.no_grad():
            inputs, targets = self._data.batch("validation", torch.arange(VALIDATION))
            self.losses.append(functional.mse_loss(self._model(inputs), targets).item())
        self._epoch += 1


class EngineLoop:
    """The engine, driven as the worker does it."""

    def __init__(self, case: Case, data: WindowedData, settings: dict[str, object]) -> None:
        self._units = case.steps if settings.get("unit") == "step" else 1
        self._trainer = ModelTrainer(
            TrainingParts(_model(case), data, functional.mse_loss),
            TrainingSettings(
                epochs=PAIRS + WARM_UP,
                batch_size=case.batch_size,
                optimizer=OptimizerSettings("adamw", 1e-4),
                **settings,
            ),
        )

    @property
    def losses(self) -> list[float]:
        """On validation, after each epoch."""
        return [entry["validation_loss"] for entry in self._trainer.history]

    def epoch(self) -> None:
        """Train for an epoch and validate."""
        with self._trainer.entered():
            for _ in range(self._units):
                self._trainer.advance(self._trainer.unit + 1)


def measure() -> list[Row]:
    """Return what was measured."""
    rows: list[Row] = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for case in CASES:
            for variant, settings in VARIANTS.items():
                name = f"{case.name}{', ' if variant else ''}{variant}"
                ratio, seconds = _compared(case, settings, with_itself=variant == BARE)
                who = "another bare loop" if variant == BARE else "ModelTrainer"
                rows.append((f"{name}: time of {who} over the bare loop's", ratio, "times"))
                if not variant:
                    rows.append((f"{name}: bare loop", seconds / case.steps * 1000, "ms/step"))
    finally:
        torch.set_num_threads(threads)
    return rows


def _compared(case: Case, settings: dict[str, object], *, with_itself: bool) -> tuple[float, float]:
    """Return the median ratio, and the median seconds of the bare loop's epochs."""
    data = _data(case.steps * case.batch_size)
    same = {name: value for name, value in settings.items() if name in ("gradient_clip", "averaging_decay")}

    def bare() -> BareLoop:
        return BareLoop(_model(case), data, case.batch_size, **same)

    def other() -> BareLoop | EngineLoop:
        return bare() if with_itself else EngineLoop(case, data, settings)

    ratios: list[float] = []
    bare_seconds: list[float] = []
    for number in range(ROUNDS):
        measured, reference = (other(), bare()) if number % 2 else (bare(), other())[::-1]
        for pair in range(PAIRS + WARM_UP):
            turns = [measured, reference] if pair % 2 else [reference, measured]
            taken = {turn: _seconds(turn.epoch) for turn in turns}
            if pair >= WARM_UP:
                ratios.append(taken[measured] / taken[reference])
                bare_seconds.append(taken[reference])
        if "averaging_decay" not in settings:
            assert measured.losses == reference.losses, "not the same training"
    return statistics.median(ratios), statistics.median(bare_seconds)


def _seconds(work: Callable[[], None]) -> float:
    begun = time.thread_time()
    work()
    return time.thread_time() - begun


def _model(case: Case) -> nn.Module:
    return initial_model(case.model, features=FEATURES, window=WINDOW, seed=1)


def _data(samples: int) -> WindowedData:
    generator = torch.Generator().manual_seed(1)
    rows = samples + 2 * VALIDATION + WINDOW
    ends = torch.arange(WINDOW - 1, rows)
    return WindowedData(
        features=torch.randn(rows, FEATURES, generator=generator),
        targets=torch.randn(rows, generator=generator),
        window=WINDOW,
        train=ends[:samples],
        validation=ends[samples : samples + VALIDATION],
        test=ends[samples + VALIDATION : samples + 2 * VALIDATION],
    )


if __name__ == "__main__":
    for what, figure, unit in measure():
        print(f"{what:80} {figure:8.3f} {unit}")
