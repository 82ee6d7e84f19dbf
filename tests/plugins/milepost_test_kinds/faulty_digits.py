"""The digits, with a wrong line in a place of choice."""

from dataclasses import replace
from typing import Literal

from milepost_digits import DigitsParameters, DigitsTask
from milepost_trainer.task import BuiltTask, TaskContext
from torch import Tensor
from torch.nn.functional import cross_entropy


class FaultyParameters(DigitsParameters):
    """Where."""

    raises_in: Literal["build", "loss"]
    batches: int = 20
    """Good losses before it."""


class FaultyDigitsTask(DigitsTask):
    """Trains like the digits until it raises."""

    name = "faulty-digits"
    parameters = FaultyParameters

    def build(self, context: TaskContext[FaultyParameters]) -> BuiltTask:
        parameters = context.parameters
        if parameters.raises_in == "build":
            raise LookupError("a wrong line in build")
        built, calls = super().build(context), 0

        def loss(outputs: Tensor, targets: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            if calls > parameters.batches:
                raise LookupError("a wrong line in loss")
            return cross_entropy(outputs, targets)

        return replace(built, parts=replace(built.parts, loss=loss))
