"""The stateless order in which a training sees its samples, and generators that follow from the seed."""

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class EpochPlan:
    """How the samples of an epoch make micro-batches, and those make optimizer steps."""

    samples: int
    batch_size: int
    accumulation: int
    """Micro-batches of a step; the last step of an epoch may have fewer."""

    @property
    def micro_batches(self) -> int:
        """Micro-batches in an epoch; a last one of one sample is left out: batch normalization has no
        variance of it."""
        return max(1, self.samples // self.batch_size + (self.samples % self.batch_size > 1))

    @property
    def steps(self) -> int:
        """Optimizer steps in an epoch."""
        return math.ceil(self.micro_batches / self.accumulation)

    def slice_at(self, position: int) -> slice:
        """Return which part of the order the micro-batch at a position takes."""
        return slice(position * self.batch_size, (position + 1) * self.batch_size)

    def ends_step(self, position: int) -> bool:
        """Whether an optimizer step is due after the micro-batch at a position."""
        return (position + 1) % self.accumulation == 0 or self.ends_epoch(position)

    def ends_epoch(self, position: int) -> bool:
        """Whether the micro-batch at a position is the last one."""
        return position + 1 == self.micro_batches

    def accumulated(self, position: int) -> int:
        """Return how many micro-batches the optimizer step has that the one at a position belongs to."""
        return min(self.accumulation, self.micro_batches - position // self.accumulation * self.accumulation)

    def samples_before(self, position: int) -> int:
        """Return how many samples the micro-batches before a position have."""
        return min(position * self.batch_size, self.samples)


def permutation(seed: int, epoch: int, count: int) -> Tensor:
    """Return the order of an epoch's samples: it follows from its arguments alone, so it needs no state."""
    return torch.randperm(count, generator=generator_for(seed, f"order {epoch}"))


def generator_for(seed: int, purpose: str) -> torch.Generator:
    """Return a generator of its own for each purpose under one seed."""
    digest = hashlib.sha256(f"{seed} {purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
