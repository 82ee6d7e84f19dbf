"""What a trained model says at each bar; the one module of the backtester that loads torch."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from milepost_contracts.specs.model_strategy import DOWN, UP, ModelParameters, misfits, with_thresholds
from milepost_models.bar_files import Bars as ModelBars
from milepost_models.card import read_card
from milepost_models.environment import environment_of
from milepost_models.features import data_versions
from milepost_models.forecast import Forecast
from milepost_models.inference import BLOCK_BARS, Predictor, load_files

from milepost_backtester.engine.bars import Bars, Floats
from milepost_backtester.strategies.inputs import StrategyInputs

FIELD = "spec.strategy.parameters"
KEPT_BLOCKS = 4


class ModelScores:
    """Scores of rising and falling prices, computed in blocks when they are first asked for; a cache, no state."""

    block_bars = BLOCK_BARS

    def __init__(self, forecast: Forecast, classes: tuple[str, ...]) -> None:
        self._forecast = forecast
        self._columns = (classes.index(UP), classes.index(DOWN)) if classes else None
        self._blocks: dict[int, tuple[Floats, Floats]] = {}

    def block(self, number: int) -> tuple[Floats, Floats]:
        """Return both scores at the bars of a block (``BLOCK_BARS`` each); not a number where there are none."""
        found = self._blocks.get(number)
        if found is None:
            values = self._forecast.block(number)
            up, down = (values[:, 0], -values[:, 0])
            if self._columns is not None:
                up, down = values[:, self._columns[0]], values[:, self._columns[1]]
            # Asked for in order: what lies further back is not needed again.
            found = self._blocks[number] = (np.ascontiguousarray(up), np.ascontiguousarray(down))
            self._blocks.pop(number - KEPT_BLOCKS, None)
        return found

    def between(self, start: int, stop: int) -> tuple[Floats, Floats]:
        """Return both scores at the bars from ``start`` to before ``stop``."""
        first = start // BLOCK_BARS
        blocks = [self.block(number) for number in range(first, (stop - 1) // BLOCK_BARS + 1)]
        part = slice(start - first * BLOCK_BARS, stop - first * BLOCK_BARS)
        up, down = (np.concatenate(columns)[part] for columns in zip(*blocks, strict=True))
        return up, down


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model over the bars of a run."""

    scores: ModelScores
    parameters: ModelParameters
    """With all thresholds."""
    digests: Mapping[str, str]
    """Of the model's files."""
    environment: Mapping[str, str]
    """What decides the last bits of predictions: versions, kind of processor, settings of the libraries."""


def load_scores(parameters: ModelParameters, inputs: StrategyInputs) -> LoadedModel:
    """Return the model that the parameters name over the run's bars.

    Raises:
        ValueError: the model is missing, damaged, of another task, or cannot be traded so; every problem is named.
    """
    predictor, digests = _predictor(parameters, inputs)
    problems = misfits(parameters, predictor.classes)
    if problems:
        raise ValueError("; ".join(f"{FIELD}.{problem.field}: {problem.message}" for problem in problems))
    try:
        forecast = Forecast(predictor, _bars(inputs.bars), symbol=inputs.symbol, threads=parameters.threads)
    except ValueError as error:
        raise ValueError(f"{FIELD}.model: {error}") from error
    return LoadedModel(
        ModelScores(forecast, predictor.classes),
        with_thresholds(parameters, predictor.classes),
        digests,
        environment_of("cpu", versions=data_versions()),
    )


def _predictor(parameters: ModelParameters, inputs: StrategyInputs) -> tuple[Predictor, dict[str, str]]:
    digest = parameters.model.digest
    if digest is None:
        raise ValueError(f"{FIELD}.model: give the digest of the model.json; an operation is none yet")
    if digest not in inputs.files:
        raise ValueError(f"{FIELD}.model: the model.json {digest} is not among the inputs")
    try:
        weights = read_card(inputs.files[digest]).weights_digest
        predictor = load_files(inputs.files[digest], inputs.files[weights])
    except KeyError as error:
        raise ValueError(f"{FIELD}.model: the weights {error} are not among the inputs") from error
    except ValueError as error:
        raise ValueError(f"{FIELD}.model: {error}") from error
    return predictor, {"model": digest, "weights": weights}


def _bars(bars: Bars) -> ModelBars:
    return ModelBars(bars.timestamp, bars.open, bars.high, bars.low, bars.close, bars.volume)
