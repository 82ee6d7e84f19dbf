"""Models, losses and metrics of the task ``bars``."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from milepost_contracts.specs.bars_training import BarsTaskParameters
from milepost_models.families import ModelSettings
from milepost_models.inference import probabilities
from milepost_trainer.bars.losses import (
    accuracy,
    entropies,
    loss_of,
    mean_absolute_error,
    metrics_of,
)
from milepost_trainer.bars.task import augmentation_of
from milepost_trainer.engine.keyed_random import sample_keys
from pydantic import ValidationError
from torch import Tensor, nn

from tests.trainer.bars_doubles import spec_of
from tests.trainer.initial_models import initial_model

pytestmark = pytest.mark.unit

FAMILIES = ("mlp", "lstm", "gru", "tcn", "transformer")
WINDOW, FEATURES = 6, 3
INPUTS = torch.randn(32, WINDOW, FEATURES, generator=torch.Generator().manual_seed(1))


def model_of(family: Any, outputs: int = 1, seed: int = 0, **settings: Any) -> nn.Module:
    made = ModelSettings(family, hidden_size=8, layers=2, heads=2, **settings)
    return initial_model(made, features=FEATURES, window=WINDOW, seed=seed, outputs=outputs)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_gives_one_output_or_one_for_each_class(family: str) -> None:
    """One number for each sample, or as many as asked for."""
    assert model_of(family)(INPUTS).shape == (32,)
    assert model_of(family, outputs=3)(INPUTS).shape == (32, 3)


@pytest.mark.parametrize("family", FAMILIES)
def test_initial_weights_follow_from_the_seed(family: str) -> None:
    """The same seed gives the same bits, another one others, and nobody else's random numbers move."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same, other = model_of(family), model_of(family), model_of(family, seed=1)
    assert torch.equal(torch.rand(3), expected)
    weights = [torch.cat([p.flatten() for p in model.parameters()]) for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("normalization", ["none", "batch", "layer"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_learns_the_same_each_time(family: str, normalization: str) -> None:
    """A gradient reaches every parameter, and a second time it is the same bit for bit."""
    found: list[list[Tensor]] = []
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(2):
            model = model_of(family, normalization=normalization, dropout=0.2)
            torch.manual_seed(3)
            model(INPUTS).square().mean().backward()
            found.append([p.grad for p in model.parameters() if p.grad is not None])
            assert len(found[-1]) == len(list(model.parameters()))
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    if normalization == "none":
        assert all(gradient.abs().max() > 0 for gradient in found[0][-2:])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_row_of_the_window_counts(family: str) -> None:
    """Each sample's output changes with each of its rows, the oldest too, and with nobody else's."""
    inputs = INPUTS.clone().requires_grad_()
    model_of(family).eval()(inputs)[0].backward()
    assert inputs.grad is not None
    assert (inputs.grad[0].abs().amax(dim=1) > 0).all()
    assert (inputs.grad[1:] == 0).all()


def test_a_transformer_knows_the_order_of_rows() -> None:
    """Without positions, older rows in another order would give the same output."""
    model = model_of("transformer").eval()
    shuffled = INPUTS[:, [1, 0, 3, 2, 4, 5]]
    assert not torch.allclose(model(INPUTS), model(shuffled), atol=1e-6)


REFUSED: dict[str, dict[str, Any]] = {
    r"hidden_size \(10\) must be a multiple of heads \(4\)": {
        "model": {"family": "transformer", "hidden_size": 10}
    },
    "the label direction gives classes; the loss huber is not for these": {"loss": {"name": "huber"}},
    "the label return gives numbers; the loss focal is not for these": {
        "label": "return",
        "loss": {"name": "focal"},
    },
    "class_weights has 3 numbers; the label direction has 2 classes: down, up": {
        "loss": {"name": "cross-entropy", "class_weights": [1, 2, 3]}
    },
}


@pytest.mark.parametrize("words", REFUSED)
def test_parts_that_do_not_fit_are_refused(words: str) -> None:
    """When the command is made, with the reason."""
    with pytest.raises(ValidationError, match=words):
        spec_of(**REFUSED[words])


def test_heads_do_not_matter_without_attention() -> None:
    """Ten hidden values cannot be shared by four heads, and a perceptron has none."""
    assert spec_of(model={"family": "mlp", "hidden_size": 10}).model.heads == 4


LOGITS = torch.tensor([2.0, -1.0, 0.5])
TARGETS = torch.tensor([1.0, 1.0, 0.0])
RIGHT = torch.where(TARGETS > 0.5, torch.sigmoid(LOGITS), 1 - torch.sigmoid(LOGITS))
CLASS_LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 3.0], [1.0, 1.0, 1.0]])
CLASSES = torch.tensor([0, 1, 2])
RIGHT_CLASS = torch.softmax(CLASS_LOGITS, 1)[torch.arange(3), CLASSES]
BARRIERS: dict[str, Any] = {"label": {"name": "triple-barrier"}}
ERRORS = torch.tensor([1.0, -3.0, 0.5])

LOSSES: dict[str, tuple[dict[str, Any], Tensor, Tensor, Tensor]] = {
    "two classes": ({}, LOGITS, TARGETS, -RIGHT.log()),
    "weights": (
        {"loss": {"name": "cross-entropy", "class_weights": [3, 0.5]}},
        LOGITS,
        TARGETS,
        -RIGHT.log() * torch.tensor([0.5, 0.5, 3]),
    ),
    "balanced": (
        {"loss": {"name": "cross-entropy", "class_weights": "balanced"}},
        LOGITS,
        TARGETS,
        -RIGHT.log() * torch.tensor([0.75, 0.75, 1.5]),
    ),
    "focal": (
        {"loss": {"name": "focal", "gamma": 1.5}},
        LOGITS,
        TARGETS,
        -((1 - RIGHT) ** 1.5) * RIGHT.log(),
    ),
    "three classes": (BARRIERS, CLASS_LOGITS, CLASSES, -RIGHT_CLASS.log()),
    "focal of three, weights": (
        {**BARRIERS, "loss": {"name": "focal", "class_weights": [1, 2, 4]}},
        CLASS_LOGITS,
        CLASSES,
        -((1 - RIGHT_CLASS) ** 2) * RIGHT_CLASS.log() * torch.tensor([1, 2, 4]),
    ),
    "return": ({"label": "return"}, ERRORS, torch.zeros(3), ERRORS**2),
    "absolute": (
        {"label": "return", "loss": {"name": "mean-absolute-error"}},
        ERRORS,
        torch.zeros(3),
        ERRORS.abs(),
    ),
    "huber": (
        {"label": "return", "loss": {"name": "huber", "delta": 2}},
        ERRORS,
        torch.zeros(3),
        torch.tensor([0.5, 2 * (3 - 1), 0.125]),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_what_its_formula_says(name: str) -> None:
    """The mean over the samples of the formula, weighted or not."""
    fields, outputs, targets, expected = LOSSES[name]
    counts = torch.tensor([1, 2]) if name == "balanced" else None
    assert float(loss_of(spec_of(**fields), counts)(outputs, targets)) == pytest.approx(
        float(expected.mean())
    )


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("logit", [-200.0, 0.0, 200.0])
def test_focal_slopes_are_finite_however_sure_the_model_is(gamma: float, logit: float) -> None:
    """Neither a certain hit nor a certain miss gives NaN, and a miss is still pushed."""
    outputs = torch.full((4,), logit, requires_grad=True)
    loss_of(spec_of(loss={"name": "focal", "gamma": gamma}))(outputs, torch.ones(4)).backward()
    assert outputs.grad is not None
    assert torch.isfinite(outputs.grad).all()
    assert (outputs.grad < 0).all() == (logit < 100)


def test_balanced_weights_need_counts() -> None:
    """Without them there is an error, not an unweighted loss."""
    with pytest.raises(ValueError, match="need the counts"):
        loss_of(spec_of(loss={"name": "cross-entropy", "class_weights": "balanced"}))


@pytest.mark.parametrize(("outputs", "targets"), [(LOGITS, TARGETS), (CLASS_LOGITS, CLASSES)])
def test_losses_of_half_precision_outputs_are_computed_in_full(outputs: Tensor, targets: Tensor) -> None:
    """As mixed precision hands them over."""
    assert entropies(outputs.bfloat16(), targets).dtype == torch.float32


def test_metrics_are_named_after_the_label() -> None:
    """Classes have an accuracy, returns a mean absolute error."""
    assert accuracy(LOGITS, TARGETS).item() == pytest.approx(1 / 3)
    assert accuracy(CLASS_LOGITS, torch.tensor([0, 2, 1])).item() == pytest.approx(2 / 3)
    assert mean_absolute_error(ERRORS, torch.zeros(3)).item() == pytest.approx(1.5)
    assert set(metrics_of(BarsTaskParameters())) == {"accuracy"}
    assert set(metrics_of(spec_of(label="return"))) == {"mean_absolute_error"}


def test_probabilities_add_up() -> None:
    """Of two classes from one logit, of three from three."""
    two, three = probabilities(LOGITS), probabilities(CLASS_LOGITS)
    assert two[:, 1].tolist() == torch.sigmoid(LOGITS).tolist()
    assert three[1].argmax() == 2
    for found in (two, three):
        np.testing.assert_allclose(found.sum(dim=1), 1.0, rtol=1e-6)


def test_noise_follows_from_each_sample_alone() -> None:
    """Of the size asked for, whatever the batch; another epoch has other noise, and no option none."""
    augment = augmentation_of(spec_of(augmentation={"noise": 0.1}).augmentation)
    assert augment is not None
    keys = sample_keys(7, 0, torch.arange(32))
    noise = augment(INPUTS, keys) - INPUTS
    order = torch.tensor([5, 31, 0])
    assert torch.equal(augment(INPUTS[order], keys[order]), augment(INPUTS, keys)[order])
    assert not torch.equal(augment(INPUTS, sample_keys(7, 1, torch.arange(32))) - INPUTS, noise)
    assert float(noise.std()) == pytest.approx(0.1, rel=0.1)
    assert abs(float(noise.mean())) < 3 * 0.1 / math.sqrt(noise.numel())
    assert augmentation_of(None) is None
