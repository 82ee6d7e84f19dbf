"""A small transformer encoder over windows of rows.

Source: A. Vaswani and others, Attention Is All You Need, 2017; norm first as in R. Xiong and others, On Layer
Normalization in the Transformer Architecture, 2020. Attention is written out with plain products: torch's fused
forms choose their algorithm by device and size, and some have no deterministic backward pass.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

INITIAL_DEVIATION = 0.02
"""Of the learned positions."""
WIDENING = 4
"""Size of the hidden layer between two attentions, as a multiple of the hidden size."""


class AttentionLayer(nn.Module):
    """Rows look at each other, then each is transformed by itself."""

    def __init__(self, size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention = nn.LayerNorm(size)
        self.projections = nn.Linear(size, 3 * size)
        self.joining = nn.Linear(size, size)
        self.before_transformation = nn.LayerNorm(size)
        self.transformation = nn.Sequential(
            nn.Linear(size, WIDENING * size), nn.GELU(), nn.Dropout(dropout), nn.Linear(WIDENING * size, size)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: Tensor) -> Tensor:
        """Return as many rows of the same size (samples by window by size)."""
        values = values + self.dropout(self._attended(self.before_attention(values)))
        return values + self.dropout(self.transformation(self.before_transformation(values)))

    def _attended(self, values: Tensor) -> Tensor:
        samples, rows, size = values.shape
        queries, keys, contents = (
            part.view(samples, rows, self.heads, size // self.heads).transpose(1, 2)
            for part in self.projections(values).chunk(3, dim=2)
        )
        scores = queries @ keys.transpose(2, 3) / math.sqrt(size // self.heads)
        mixed = self.dropout(functional.softmax(scores, dim=3)) @ contents
        joined: Tensor = self.joining(mixed.transpose(1, 2).reshape(samples, rows, size))
        return joined


class TransformerEncoder(nn.Module):
    """Learned positions, attention layers, a last normalization; returns the newest row (samples by size)."""

    def __init__(
        self, features: int, window: int, *, size: int, layers: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.entry = nn.Linear(features, size)
        self.positions = nn.Parameter(torch.randn(window, size) * INITIAL_DEVIATION)
        self.layers = nn.ModuleList(AttentionLayer(size, heads, dropout) for _ in range(layers))
        self.exit = nn.LayerNorm(size)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the newest row's hidden values."""
        values = self.entry(inputs) + self.positions
        for layer in self.layers:
            values = layer(values)
        newest: Tensor = self.exit(values[:, -1])
        return newest
