"""Parameters of the built-in training task ``bars``: features, label, split and model over market data."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from milepost_contracts.model import ContractModel

Bars = Annotated[int, Field(ge=1, le=10_000)]
Periods = Annotated[tuple[Bars, ...], Field(max_length=16)]


class FeatureSpec(ContractModel):
    """What the model sees of each bar; every feature looks back only."""

    returns: Periods = (1, 5)
    """Log returns over these many bars."""
    log_volume: bool = True
    """The logarithm of the volume."""
    moving_averages: Periods = (10, 30)
    """Log ratios of the close to its mean over these many bars."""
    rsi: Bars | None = 14
    """Relative strength index over this many bars (plain means)."""
    zscore: Annotated[int, Field(ge=2, le=10_000)] | None = 20
    """Distance of the close from its mean over this many bars, in standard deviations."""

    @model_validator(mode="after")
    def _some_feature(self) -> Self:
        if not (self.returns or self.moving_averages or self.log_volume or self.rsi or self.zscore):
            raise ValueError("choose at least one feature")
        for name, periods in (("returns", self.returns), ("moving_averages", self.moving_averages)):
            if len(set(periods)) != len(periods):
                raise ValueError(f"{name}: the same number of bars is given twice")
        return self


class SplitSpec(ContractModel):
    """Shares of the bars in the order of time; what is left is the test part."""

    train: Annotated[float, Field(gt=0, lt=1)] = 0.7
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.15
    embargo: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Bars left out at the beginning of the validation and test parts, beyond the purge of ``horizon`` bars."""

    @model_validator(mode="after")
    def _leaves_a_test_part(self) -> Self:
        if self.train + self.validation >= 1:
            raise ValueError(
                f"train ({self.train}) and validation ({self.validation}) must leave bars for the test"
            )
        return self


class ModelSpec(ContractModel):
    """The model's family and size."""

    family: Literal["mlp", "lstm", "gru", "tcn"] = "mlp"
    """Multi-layer perceptron, recurrent (LSTM, GRU) or temporal convolution."""
    hidden_size: Annotated[int, Field(ge=1, le=8192)] = 64
    layers: Annotated[int, Field(ge=1, le=64)] = 2
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of hidden values left out at random while training."""
    normalization: Literal["none", "batch", "layer"] = "none"
    """Of hidden values: after each layer of an MLP, after the last one of the others."""


class BarsTaskParameters(ContractModel):
    """Parameters of the task ``bars``."""

    features: FeatureSpec = FeatureSpec()
    label: Literal["direction", "return"] = "direction"
    """Of the return over ``horizon`` bars: whether it is positive (classification), or its size (regression)."""
    horizon: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Bars ahead that it predicts the return of."""
    window: Annotated[int, Field(ge=1, le=10_000)] = 32
    """Bars that the model sees for each prediction."""
    split: SplitSpec = SplitSpec()
    model: ModelSpec = ModelSpec()
