"""Parameters of the built-in training task ``bars``: features, label, split, model and loss over market data."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from milepost_contracts.model import ContractModel
from milepost_contracts.specs.bars_labels import DirectionLabel, LabelSpec
from milepost_contracts.specs.bars_losses import REGRESSION_LOSSES, CrossEntropyLoss, FocalLoss, LossSpec

Bars = Annotated[int, Field(ge=1, le=10_000)]
SmoothedBars = Annotated[int, Field(ge=2, le=10_000)]
Periods = Annotated[tuple[Bars, ...], Field(max_length=16)]
SmoothedPeriods = Annotated[tuple[SmoothedBars, ...], Field(max_length=16)]


class MacdSpec(ContractModel):
    """Moving average convergence divergence: line, signal and their difference, each as a share of the close."""

    fast: SmoothedBars = 12
    slow: SmoothedBars = 26
    signal: SmoothedBars = 9

    @model_validator(mode="after")
    def _fast_is_faster(self) -> Self:
        if self.fast >= self.slow:
            raise ValueError(f"fast ({self.fast}) must be less than slow ({self.slow})")
        return self


class BollingerSpec(ContractModel):
    """Bollinger bands: where the close lies between them (0 lower, 1 upper), and their width."""

    period: SmoothedBars = 20
    deviations: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 2.0
    """Distance of the bands from the mean, in standard deviations."""


class FeatureSpec(ContractModel):
    """What the model sees of each bar; every feature looks back only."""

    returns: Periods = (1, 5)
    """Log returns over these many bars."""
    log_volume: bool = True
    """The logarithm of the volume."""
    moving_averages: SmoothedPeriods = (10, 30)
    """Log ratios of the close to its mean over these many bars."""
    exponential_averages: SmoothedPeriods = ()
    """Log ratios of the close to its exponential mean over these many bars."""
    rsi: SmoothedBars | None = 14
    """Wilder's relative strength index over this many bars."""
    macd: MacdSpec | None = None
    atr: SmoothedBars | None = None
    """Wilder's average true range over this many bars, as a share of the close."""
    bollinger: BollingerSpec | None = None
    zscore: SmoothedBars | None = 20
    """Distance of the close from its mean over this many bars, in standard deviations."""

    @model_validator(mode="after")
    def _some_feature_and_none_twice(self) -> Self:
        lists = {
            "returns": self.returns,
            "moving_averages": self.moving_averages,
            "exponential_averages": self.exponential_averages,
        }
        others = (self.log_volume, self.rsi, self.macd, self.atr, self.bollinger, self.zscore)
        if not (any(lists.values()) or any(others)):
            raise ValueError("choose at least one feature")
        for name, periods in lists.items():
            if len(set(periods)) != len(periods):
                raise ValueError(f"{name}: the same number of bars is given twice")
        return self


class SplitSpec(ContractModel):
    """Shares of the times at which any symbol has a bar, in their order; what is left is the test part.

    A sample whose label reaches into the next part is left out (purge).
    """

    train: Annotated[float, Field(gt=0, lt=1)] = 0.7
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.15
    embargo: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Times left out at the beginning of the validation and test parts, beyond the purge."""

    @model_validator(mode="after")
    def _leaves_a_test_part(self) -> Self:
        if self.train + self.validation >= 1:
            raise ValueError(
                f"train ({self.train}) and validation ({self.validation}) must leave bars for the test"
            )
        return self


class ModelSpec(ContractModel):
    """The model's family and size."""

    family: Literal["mlp", "lstm", "gru", "tcn", "transformer"] = "mlp"
    """Multi-layer perceptron, recurrent (LSTM, GRU), temporal convolution or transformer encoder."""
    hidden_size: Annotated[int, Field(ge=1, le=8192)] = 64
    layers: Annotated[int, Field(ge=1, le=64)] = 2
    heads: Annotated[int, Field(ge=1, le=64)] = 4
    """Attention heads of a transformer; they share the hidden size evenly."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of hidden values left out at random while training."""
    normalization: Literal["none", "batch", "layer"] = "none"
    """Of hidden values: after each layer of an MLP, after the last one of the others."""

    @model_validator(mode="after")
    def _heads_share_evenly(self) -> Self:
        if self.family == "transformer" and self.hidden_size % self.heads:
            raise ValueError(f"hidden_size ({self.hidden_size}) must be a multiple of heads ({self.heads})")
        return self


class AugmentationSpec(ContractModel):
    """Changes to the inputs of training samples; drawn afresh in each epoch, equal in every run of a seed."""

    noise: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] = 0.01
    """Standard deviation of normal noise added to the scaled features."""


class BarsTaskParameters(ContractModel):
    """Parameters of the task ``bars``."""

    features: FeatureSpec = FeatureSpec()
    label: LabelSpec = DirectionLabel()
    window: Bars = 32
    """Bars that the model sees for each prediction."""
    split: SplitSpec = SplitSpec()
    scaling: Literal["shared", "per-symbol"] = "shared"
    """Mean and deviation of each feature, from the training part of all symbols together, or of each alone."""
    model: ModelSpec = ModelSpec()
    loss: LossSpec | None = None
    """None: cross entropy for classes, mean squared error for returns."""
    augmentation: AugmentationSpec | None = None

    @model_validator(mode="after")
    def _loss_fits_the_label(self) -> Self:
        classes = self.label.classes
        if self.loss is None:
            return self
        if bool(classes) == (self.loss.name in REGRESSION_LOSSES):
            kind = "classes" if classes else "numbers"
            raise ValueError(
                f"the label {self.label.name} gives {kind}; the loss {self.loss.name} is not for these"
            )
        weights = self.loss.class_weights if isinstance(self.loss, CrossEntropyLoss | FocalLoss) else None
        if weights is not None and weights != "balanced" and len(weights) != len(classes):
            raise ValueError(
                f"loss.class_weights has {len(weights)} numbers; the label {self.label.name} has"
                f" {len(classes)} classes: {', '.join(classes)}"
            )
        return self
