"""The exponential moving average of the weights."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class WeightAverage:
    """Follows the trainable parameters; buffers are the model's own.

    The first step takes the weights as they are. After it the decay of step ``n`` is at most ``(1 + n) / (10
    + n)``, so that the weights of the beginning are soon forgotten: Tarvainen and Valpola, Mean teachers
    (arXiv:1703.01780), by way of TensorFlow's ``ExponentialMovingAverage(num_updates)``.
    """

    def __init__(self, decay: float, parameters: Mapping[str, nn.Parameter]) -> None:
        self._decay = decay
        self._parameters = parameters
        self.steps = 0
        """Steps averaged so far; those that a loss scaler skipped are not among them."""
        self.tensors: dict[str, Tensor] = {}
        """By parameter name; none before the first step. Changed in place by ``update``."""

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights of one more step."""
        if not self.steps:
            self.tensors = {name: value.detach().clone() for name, value in self._parameters.items()}
        else:
            weight = 1 - min(self._decay, (1 + self.steps) / (10 + self.steps))
            for name, value in self._parameters.items():
                self.tensors[name].lerp_(value, weight)
        self.steps += 1
