"""The state as those who save it use it: live tensors until an update, straight reading, others' generators."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from milepost_trainer.engine.errors import StateMismatchError, TornStateError, TrainingError
from milepost_trainer.engine.parts import TrainingParts
from milepost_trainer.engine.quick_twister import global_state, quick_twister, unfolded
from milepost_trainer.engine.random_states import RandomStates
from milepost_trainer.engine.state import TensorsInMemory, TrainerState
from milepost_trainer.engine.surroundings import Surroundings
from milepost_trainer.engine.trainer import ModelTrainer
from torch import Tensor, nn
from torch.nn import functional

from tests.trainer.trainer_doubles import DATA, QUICK, digest_of, make_trainer, through_files

pytestmark = pytest.mark.unit


def advanced(micro_batches: int, **settings: Any) -> ModelTrainer:
    trainer = make_trainer(averaging_decay=0.9, **settings)
    for _ in range(micro_batches):
        trainer.step()
    return trainer


@pytest.mark.parametrize("micro_batches", [0, 3, 7, 8, 37])
def test_a_live_state_holds_until_the_update_is_announced(micro_batches: int) -> None:
    """When ``before_update`` is called, it is what a copy taken at the boundary was, forward passes or not."""
    trainer = advanced(micro_batches)
    copied, live = trainer.state_dict(), trainer.live_state()
    compared: list[int] = []

    def compare() -> None:
        assert live.values == copied.values
        assert live.tensors.keys() == copied.tensors.keys()
        assert all(torch.equal(value, copied.tensors[key]) for key, value in live.tensors.items())
        compared.append(trainer.unit)

    trainer.before_update = compare
    for _ in range(3):
        trainer.step()
        if compared:
            break
    assert len(compared) == 1


def test_a_live_state_copies_only_what_a_forward_pass_changes() -> None:
    """Weights, optimizer, average and best are the trainer's own memory; all else is not."""
    trainer = advanced(8)
    own = {value.data_ptr() for value in trainer.model.parameters()}
    live = trainer.live_state()
    assert {value.data_ptr() for value in live.part("model.").values()} & own == own
    again = trainer.live_state()
    for key, value in live.tensors.items():
        is_same = value.data_ptr() == again.tensors[key].data_ptr()
        buffer = key.startswith("model.") and ("running" in key or "num_batches" in key)
        assert is_same == (key.startswith(("model.", "optimizer.", "average.", "best.")) and not buffer), key


def test_evaluating_leaves_live_tensors_alone() -> None:
    """The average and the best weights take the places of the present ones without touching their memory."""
    trainer = advanced(20)
    copied, live = trainer.state_dict(), trainer.live_state()
    trainer.evaluate_best()
    trainer.best_weights()
    assert all(torch.equal(value, copied.tensors[key]) for key, value in live.tensors.items())


@dataclass
class Recording:
    """A source that says what it was asked for, and may break in the middle."""

    tensors: Mapping[str, Tensor]
    breaks: bool = False
    read: list[str] = field(default_factory=list)

    def layout(self) -> Any:
        return TensorsInMemory(self.tensors).layout()

    def read_into(self, tensors: Mapping[str, Tensor]) -> None:
        assert all(value.device.type == "cpu" and value.is_contiguous() for value in tensors.values())
        for key, value in tensors.items():
            if self.breaks and len(self.read) == 3:
                raise OSError("the disk is gone")
            value.copy_(self.tensors[key])
            self.read.append(key)


def test_a_state_is_read_straight_into_the_live_weights() -> None:
    """Every tensor is read once, the weights into the memory that the model has."""
    state = advanced(8).state_dict()
    trainer = make_trainer(averaging_decay=0.9, weights_seed=4)
    own = [value.data_ptr() for value in trainer.model.state_dict().values()]
    source = Recording(state.tensors)
    trainer.restore(state.values, source)
    assert sorted(source.read) == sorted(state.tensors)
    assert [value.data_ptr() for value in trainer.model.state_dict().values()] == own
    assert trainer.state_dict().tensors.keys() == state.tensors.keys()


def test_a_source_that_breaks_leaves_the_trainer_torn_until_a_whole_one_comes() -> None:
    """Nobody goes on from, or saves, a state of which only a part was read."""
    state = advanced(8).state_dict()
    trainer = advanced(3)
    announced: list[int] = []
    trainer.before_update = lambda: announced.append(trainer.unit)
    with pytest.raises(OSError, match="the disk is gone"):
        trainer.restore(state.values, Recording(state.tensors, breaks=True))
    assert announced == [0]
    for forbidden in (trainer.live_state, trainer.step):
        with pytest.raises(TornStateError):
            forbidden()
    trainer.restore(state.values, Recording(state.tensors))
    trainer.fit()
    expected = advanced(8)
    expected.fit()
    assert digest_of(trainer) == digest_of(expected)


def without(state: TrainerState, key: str) -> dict[str, Tensor]:
    return {name: value for name, value in state.tensors.items() if name != key}


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("model.layers.1.weight", "model.layers.1.weight is missing"),
        ("model.layers.2.running_mean", "model.layers.2.running_mean is missing"),
        ("optimizer.layers.1.weight.step", "optimizer.layers.1.weight.step is missing"),
        ("optimizer.layers.1.bias.exp_avg", "optimizer.layers.1.bias.exp_avg is missing"),
        ("average.layers.1.weight", "average.layers.1.weight is missing"),
        ("best.layers.1.weight", "best.layers.1.weight is missing"),
        ("random.python", "random.python is missing"),
    ],
)
def test_a_missing_tensor_is_refused_by_its_name(key: str, message: str) -> None:
    """Before anything is announced or changed."""
    state = advanced(10).state_dict()
    assert key in state.tensors
    trainer = make_trainer(averaging_decay=0.9)
    before = digest_of(trainer)
    trainer.before_update = lambda: pytest.fail("nothing is to change")
    with pytest.raises(StateMismatchError, match=message):
        trainer.restore(state.values, TensorsInMemory(without(state, key)))
    trainer.before_update = None
    assert digest_of(trainer) == before


def test_what_does_not_belong_there_is_refused_by_its_name() -> None:
    """Unknown kinds, tensors of another setting, values that are not those of a training."""
    state = advanced(3).state_dict()
    values, tensors = dict(state.values), dict(state.tensors)
    trainer = make_trainer(averaging_decay=0.9)
    for changed_values, changed_tensors, message in (
        (values, tensors | {"surprise.x": torch.zeros(1)}, "surprise.x is unknown"),
        (
            values,
            tensors | {"optimizer.nobody.step": torch.zeros(())},
            "optimizer.nobody.step is of no parameter",
        ),
        (values, tensors | {"best.layers.1.weight": torch.zeros(1)}, "best.layers.1.weight is unknown"),
        (values | {"averaged_steps": 0}, tensors, "average.layers.1.weight is unknown"),
        (values | {"position": -1}, tensors, "no counts: position"),
        (values | {"position": True}, tensors, "no counts: position"),
        (values | {"surprise": 1}, tensors, "fields missing or unknown: surprise"),
        (values | {"scheduler": {}}, tensors, "of the scheduler missing or unknown: best, cuts, wait"),
        (values | {"scaler": {"scale": 1.0}}, tensors, "of the scaler missing or unknown: scale"),
    ):
        with pytest.raises(StateMismatchError, match=message):
            trainer.load_state_dict(TrainerState(changed_values, changed_tensors))


def test_a_random_state_of_a_gpu_is_left_alone_on_a_cpu() -> None:
    """A checkpoint of a GPU can be taken up where there is none."""
    state = advanced(3).state_dict()
    trainer = make_trainer(averaging_decay=0.9)
    trainer.restore(
        state.values,
        TensorsInMemory({**state.tensors, "random.cuda": torch.zeros(16, dtype=torch.uint8)}),
    )
    assert trainer.state_dict().tensors.keys() == state.tensors.keys()


def draws() -> list[float]:
    """Two of each, so that half a pair of normal draws is left over in both Mersenne Twisters."""
    return [
        *(random.gauss(0.0, 1.0) for _ in range(3)),
        random.random(),
        *(float(np.random.standard_normal()) for _ in range(3)),
        float(np.random.random()),
        *torch.rand(2).tolist(),
    ]


@pytest.mark.parametrize("inside", [True, False])
def test_random_states_go_through_tensors_and_back(inside: bool) -> None:
    """Python's, NumPy's and torch's next draws are those that would have come, also halfway through a pair."""
    one = Surroundings(seed=1, threads=1, deterministic=True)
    other = Surroundings(seed=2, threads=1, deterministic=True)
    with one.entered():
        draws()
        saved = one.random_tensors()
        expected = draws()
    if inside:
        with other.entered():
            other.load_random_tensors(saved)
            assert draws() == expected
    else:
        other.load_random_tensors(saved)
        with other.entered():
            assert draws() == expected


def test_a_training_draws_apart_from_the_rest_of_the_process() -> None:
    """Its generators follow from its seed, and what others draw is not disturbed."""
    outer = RandomStates.of_process("cpu")
    expected = draws()
    outer.put_back("cpu")
    found = []
    for seed in (1, 1, 2):
        with (surroundings := Surroundings(seed=seed, threads=1, deterministic=True)).entered():
            first = draws()
            with surroundings.entered():
                found.append(first + draws())
    assert found[0] == found[1] != found[2]
    assert draws() == expected


class Tied(nn.Module):
    """One weight under two names, one that is not trained, and a buffer that is not in the state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(3, 3, bias=False)
        self.decoder = nn.Linear(3, 3, bias=False)
        self.decoder.weight = self.encoder.weight
        self.fixed = nn.Parameter(torch.ones(3), requires_grad=False)
        self.register_buffer("count", torch.zeros(()), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            self.count += 1
        return (self.decoder(torch.tanh(self.encoder(inputs[:, -1]))) * self.fixed).sum(1) / (
            1 + self.count / 100
        )


def test_shared_and_frozen_weights_and_unlisted_buffers_are_all_there_once() -> None:
    """A run cut in two ends as the whole one; the best weights have every name of the model's state dict."""

    def make() -> ModelTrainer:
        torch.manual_seed(3)
        return ModelTrainer(TrainingParts(Tied(), DATA, functional.mse_loss), replace(QUICK, epochs=4))

    whole, first, second = make(), make(), make()
    whole.fit()
    first.advance(2)
    first.step()
    state = first.state_dict()
    assert sorted(key for key in state.tensors if key.startswith(("model.", "frozen."))) == [
        "frozen.fixed",
        "model.count",
        "model.encoder.weight",
    ]
    second.load_state_dict(through_files(state))
    second.fit()
    assert digest_of(second) == digest_of(whole)
    assert second.best_weights().keys() == second.model.state_dict().keys() == second.present_weights().keys()


def test_a_model_without_anything_to_train_is_refused() -> None:
    """With the reason."""
    model = Tied().requires_grad_(False)
    with pytest.raises(TrainingError, match="no parameter that needs a gradient"):
        ModelTrainer(TrainingParts(model, DATA, functional.mse_loss), QUICK)


def plain(state: Any) -> tuple[Any, ...]:
    """NumPy's state as values that can be compared."""
    name, words, *rest = state
    return (name, words.dtype, words.tolist(), *rest)


def test_numpys_state_read_the_quick_way_is_the_one_that_numpy_reads() -> None:
    """After draws of every kind, half pairs, seeding and states put back, at many places in the words."""
    quick, slow = quick_twister(), np.random.RandomState(np.random.MT19937(0))
    outer_generator, outer = np.random.get_bit_generator(), RandomStates.of_process("cpu")
    np.random.set_bit_generator(quick)
    try:
        for number in range(200):
            slow.set_state(np.random.get_state())
            assert plain(unfolded(global_state())) == plain(np.random.get_state()) == plain(slow.get_state())
            if number % 9 == 0:
                np.random.seed(number)
                slow.seed(number)
            for generator in (np.random, slow):
                generator.standard_normal(number % 4)
                generator.randint(9, size=number)
            assert plain(unfolded(global_state())) == plain(slow.get_state())
    finally:
        np.random.set_bit_generator(outer_generator)
        outer.put_back("cpu")


@pytest.mark.parametrize("change", ["seed", "put back"])
def test_a_half_pair_of_normal_draws_is_seen_where_all_words_are_as_before(change: str) -> None:
    """Seeded again, the words of two boundaries can be equal and what is left of a pair not: both are saved."""
    found = []
    surroundings = Surroundings(seed=1, threads=1, deterministic=True)
    with surroundings.entered():
        for draw in (np.random.standard_normal, lambda: np.random.random(2)):
            np.random.seed(4)
            draw()
            if change == "put back":
                np.random.set_state(np.random.get_state())
            found.append((surroundings.random_tensors()["numpy"], np.random.standard_normal(2).tolist()))
    (one, one_draws), (other, other_draws) = found
    assert torch.equal(one[:625], other[:625])
    assert not torch.equal(one, other)
    assert one_draws != other_draws


def test_a_training_has_numpys_own_generator_where_the_memory_is_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the state lies otherwise than is known here nothing stands in, and the draws are the same."""
    surroundings = Surroundings(seed=1, threads=1, deterministic=True)
    with surroundings.entered():
        expected = draws()
    words = surroundings.random_tensors()["numpy"]
    monkeypatch.setattr("milepost_trainer.engine.quick_twister._WORDS", 623)
    quick_twister.cache_clear()
    try:
        assert quick_twister() is None
        generator = np.random.get_bit_generator()
        with (other := Surroundings(seed=1, threads=1, deterministic=True)).entered():
            assert np.random.get_bit_generator() is generator
            assert draws() == expected
        assert torch.equal(other.random_tensors()["numpy"], words)
    finally:
        quick_twister.cache_clear()


def test_the_process_has_its_own_generator_again_after_a_training() -> None:
    """Also when the training put another one in its place, and failed."""

    def fail() -> None:
        with Surroundings(seed=1, threads=1, deterministic=True).entered():
            np.random.set_bit_generator(np.random.MT19937(3))
            raise RuntimeError("the training fails")

    generator = np.random.get_bit_generator()
    with pytest.raises(RuntimeError, match="the training fails"):
        fail()
    assert np.random.get_bit_generator() is generator
