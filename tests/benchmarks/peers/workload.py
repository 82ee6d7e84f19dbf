"""The training that every contender saves: one model, one loss, one thread, so that only the saving differs."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.01
BATCHES = 4
"""Ready batches that are used in turn: reading data is no part of the figures."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large the model is, and how many steps a save is spread over."""

    name: str
    width: int
    layers: int
    batch: int
    during: int
    """Steps after a save that count as disturbed by it."""
    quiet: int
    """Steps between two disturbed stretches, which the disturbed ones are compared with."""
    share: int
    """How many times as often as the largest one it is saved, since its steps are short."""

    @property
    def samples(self) -> int:
        """Samples in all ready batches."""
        return self.batch * BATCHES


SIZES = (
    Size("1 M", width=512, layers=4, batch=256, during=20, quiet=10, share=6),
    Size("50 M", width=2048, layers=12, batch=128, during=7, quiet=3, share=1),
)


def build_model(size: Size, seed: int) -> nn.Module:
    """Return a perceptron with batch normalization, so that there are buffers as well."""
    torch.manual_seed(seed)
    width = size.width
    blocks = [
        module
        for _ in range(size.layers)
        for module in (nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU())
    ]
    return nn.Sequential(*blocks, nn.Linear(width, 1)).train()


def build_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """Return AdamW as the engine builds it: neither fused nor foreach."""
    return torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, foreach=False, fused=False
    )


def samples_of(size: Size) -> tuple[Tensor, Tensor]:
    """Return inputs and targets of all ready batches."""
    generator = torch.Generator().manual_seed(7)
    return (
        torch.randn(size.samples, size.width, generator=generator),
        torch.randn(size.samples, 1, generator=generator),
    )


def endless_batches(size: Size) -> Iterator[tuple[Tensor, Tensor]]:
    """Return the ready batches in turn, for ever."""
    inputs, targets = samples_of(size)
    ready = list(zip(inputs.split(size.batch), targets.split(size.batch), strict=True))
    while True:
        yield from ready


def loss_of(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the loss that is minimised."""
    return nn.functional.mse_loss(outputs, targets)


def tensors_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return every tensor of the training, not copied: what a checkpoint must bring back."""
    found = {f"model.{name}": value for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        slots = optimizer.state.get(parameter, {})
        found |= {f"optimizer.{name}.{slot}": value for slot, value in slots.items()}
    return found


def bytes_of(tensors: dict[str, Tensor]) -> int:
    """Return how many bytes tensors hold."""
    return sum(value.nbytes for value in tensors.values())
