"""Models over windows of rows: each returns one number for a sample, or one for each of several classes."""

from dataclasses import dataclass
from typing import Literal

from milepost_contracts.specs.bars_training import BarsTaskParameters
from torch import Tensor, nn
from torch.nn import functional

from milepost_models.transformer import TransformerEncoder


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Family and size."""

    family: Literal["mlp", "lstm", "gru", "tcn", "transformer"] = "mlp"
    hidden_size: int = 64
    layers: int = 2
    heads: int = 4
    dropout: float = 0.0
    normalization: Literal["none", "batch", "layer"] = "none"


class Perceptron(nn.Module):
    """A multi-layer perceptron over the flattened window."""

    def __init__(self, settings: ModelSettings, features: int, window: int, outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        size = features * window
        for _ in range(settings.layers):
            layers += [
                nn.Linear(size, settings.hidden_size),
                _normalization(settings),
                nn.ReLU(),
                nn.Dropout(settings.dropout),
            ]
            size = settings.hidden_size
        self.layers = nn.Sequential(*layers, nn.Linear(size, outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs of each sample."""
        return _single(self.layers(inputs))


class Recurrent(nn.Module):
    """LSTM or GRU; the last row's hidden values decide."""

    def __init__(self, settings: ModelSettings, features: int, outputs: int) -> None:
        super().__init__()
        cell = nn.LSTM if settings.family == "lstm" else nn.GRU
        self.cells = cell(
            features,
            settings.hidden_size,
            settings.layers,
            batch_first=True,
            # With one layer torch has nothing between layers to drop, and warns.
            dropout=settings.dropout if settings.layers > 1 else 0.0,
        )
        self.head = _head(settings, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs of each sample."""
        hidden: Tensor = self.cells(inputs)[0]
        return _single(self.head(hidden[:, -1]))


class TemporalConvolution(nn.Module):
    """Causal convolutions over the rows, each layer with twice the reach of the one before."""

    KERNEL = 3

    def __init__(self, settings: ModelSettings, features: int, window: int, outputs: int) -> None:
        super().__init__()
        self.reach: list[int] = []
        self.convolutions = nn.ModuleList()
        size = features
        for layer in range(settings.layers):
            # A reach beyond the window would see padding only.
            dilation = min(2**layer, max(1, (window - 1) // (self.KERNEL - 1)))
            self.reach.append(dilation * (self.KERNEL - 1))
            self.convolutions.append(nn.Conv1d(size, settings.hidden_size, self.KERNEL, dilation=dilation))
            size = settings.hidden_size
        self.dropout = nn.Dropout(settings.dropout)
        self.head = nn.Sequential(_normalization(settings), nn.Linear(settings.hidden_size, outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs of each sample."""
        values = inputs.transpose(1, 2)
        for reach, convolution in zip(self.reach, self.convolutions, strict=True):
            # Padding on the left only: a row sees itself and what came before.
            values = self.dropout(functional.relu(convolution(functional.pad(values, (reach, 0)))))
        return _single(self.head(values[:, :, -1]))


class Transformer(nn.Module):
    """A transformer encoder; the last row, which has looked at all others, decides."""

    def __init__(self, settings: ModelSettings, features: int, window: int, outputs: int) -> None:
        super().__init__()
        self.encoder = TransformerEncoder(
            features,
            window,
            size=settings.hidden_size,
            layers=settings.layers,
            heads=settings.heads,
            dropout=settings.dropout,
        )
        self.head = _head(settings, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs of each sample."""
        return _single(self.head(self.encoder(inputs)))


def model_of(parameters: BarsTaskParameters, *, features: int) -> nn.Module:
    """Return a new model; one logit tells two classes apart, more have one each."""
    classes = len(parameters.label.classes)
    return build_model(
        ModelSettings(**parameters.model.model_dump()),
        features=features,
        window=parameters.window,
        outputs=classes if classes > 2 else 1,
    )


def build_model(settings: ModelSettings, *, features: int, window: int, outputs: int = 1) -> nn.Module:
    """Return a model; its initial weights are drawn from torch's generator."""
    match settings.family:
        case "mlp":
            return Perceptron(settings, features, window, outputs)
        case "lstm" | "gru":
            return Recurrent(settings, features, outputs)
        case "tcn":
            return TemporalConvolution(settings, features, window, outputs)
        case "transformer":
            return Transformer(settings, features, window, outputs)


def _head(settings: ModelSettings, outputs: int) -> nn.Module:
    return nn.Sequential(
        _normalization(settings), nn.Dropout(settings.dropout), nn.Linear(settings.hidden_size, outputs)
    )


def _single(outputs: Tensor) -> Tensor:
    """One number for each sample has no dimension of its own."""
    return outputs.squeeze(1) if outputs.shape[1] == 1 else outputs


def _normalization(settings: ModelSettings) -> nn.Module:
    match settings.normalization:
        case "batch":
            return nn.BatchNorm1d(settings.hidden_size)
        case "layer":
            return nn.LayerNorm(settings.hidden_size)
        case "none":
            return nn.Identity()
