"""Buffers at a boundary: found again without looking for them, and never missed when they are others."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from milepost_trainer.buffer_copies import BufferCopies
from milepost_trainer.engine.buffers import Buffers
from milepost_trainer.engine.errors import TrainingError
from torch import nn

pytestmark = pytest.mark.unit


class Kept(nn.Module):
    """Buffers of several types, an empty one, a scalar, one that is not contiguous, and one that is None."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        for name, value in {
            "coarse": torch.randn(2, 3).bfloat16(),
            "flags": torch.tensor([True, False]),
            "empty": torch.empty(0, 4),
            "turned": torch.randn(2, 5).t(),
            "absent": None,
        }.items():
            self.register_buffer(name, value)


def assign(model: Any) -> None:
    model.norm.running_mean = torch.ones(3)


def give_other_memory(model: Any) -> None:
    model.coarse.data = torch.zeros(2, 3).bfloat16()


def register(model: Any) -> None:
    model.norm.register_buffer("more", torch.ones(1))


def fill(model: Any) -> None:
    model.absent = torch.ones(2)


def remove(model: Any) -> None:
    del model.flags


def rename(model: Any) -> None:
    value = model.flags
    del model.flags
    model.register_buffer("signs", value)


def exchange_a_module(model: Any) -> None:
    model.norm = nn.BatchNorm1d(3)


def add_a_module(model: Any) -> None:
    model.norm.inner = nn.BatchNorm1d(2)


CHANGES = [assign, give_other_memory, register, fill, remove, rename, exchange_a_module, add_a_module]


def assert_found(buffers: Buffers, copies: BufferCopies, model: nn.Module) -> None:
    expected = dict(model.named_buffers())
    found = buffers.by_name()
    assert found.keys() == expected.keys()
    assert all(found[name] is value for name, value in expected.items())
    copied = copies.of(found)
    assert copied.keys() == expected.keys()
    for name, value in expected.items():
        assert (copied[name].shape, copied[name].dtype) == (value.shape, value.dtype)
        assert torch.equal(copied[name], value)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_other_buffers_are_found(change: Callable[[Any], None]) -> None:
    """Assigned, given other memory, added, removed, renamed, in another module: they are those of the model."""
    model = Kept()
    buffers, copies = Buffers(model), BufferCopies()
    assert_found(buffers, copies, model)
    before = buffers.by_name()
    change(model)
    assert_found(buffers, copies, model)
    assert buffers.by_name() is not before
    buffers.check()


def test_values_that_change_in_place_are_copied_and_looked_for_no_more() -> None:
    """The same buffers are the same object, and a copy has what they hold at its time."""
    model = Kept()
    buffers, copies = Buffers(model), BufferCopies()
    first = buffers.by_name()
    kept = {name: value.clone() for name, value in copies.of(first).items()}
    model.norm.train()(torch.randn(4, 3))
    assert not torch.equal(copies.of(first)["norm.running_mean"], kept["norm.running_mean"])
    assert_found(buffers, copies, model)
    assert buffers.by_name() is first
    buffers.check()


def test_what_cannot_be_seen_at_a_boundary_is_refused_by_name() -> None:
    """Another shape in the same memory, another dictionary: the copy may be wrong, so the training fails."""
    reshaped = Kept()
    buffers = Buffers(reshaped)
    reshaped.coarse.t_()
    with pytest.raises(TrainingError, match="coarse"):
        buffers.check()
    exchanged = Kept()
    buffers = Buffers(exchanged)
    exchanged.norm._buffers = dict(exchanged.norm._buffers)
    with pytest.raises(TrainingError, match="BatchNorm1d"):
        buffers.check()
