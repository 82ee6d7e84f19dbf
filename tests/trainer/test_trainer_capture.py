"""Captures: what is saved while the training goes on is the boundary it says, whole, in bounded memory."""

import gc
import threading
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from milepost_contracts.checkpoints import CheckpointPolicySpec, CheckpointReason
from milepost_runtime.bridge.cancellation import StopRequest
from milepost_runtime.clock import SystemClock
from milepost_trainer import arena_sets, captures
from milepost_trainer.captures import Captures
from milepost_trainer.copier import Copier
from milepost_trainer.engine.trainer import ModelTrainer
from milepost_trainer.state_parts import PREFIXES
from safetensors.torch import load
from torch import nn

from tests.trainer.capture_doubles import Bench, digest_of_state, stepwise

pytestmark = pytest.mark.unit

BOUNDARIES = 200
EVERY_UNIT = CheckpointPolicySpec(every_units=1, min_seconds=0)


@pytest.fixture(autouse=True)
def in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small states too are copied by the other thread."""
    monkeypatch.setattr(captures, "INLINE_BYTES_MAX", -1)


@pytest.fixture(scope="module")
def expected() -> list[str]:
    """Digest of the state at each boundary of an undisturbed run, by unit."""
    trainer = stepwise()
    with trainer.entered():
        found = [digest_of_state(trainer.state_dict())]
        trainer.fit(lambda unit, metrics: found.append(digest_of_state(trainer.state_dict())))
    return found


@pytest.fixture
def one_unit_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boundaries come after every unit, however fast they are."""
    monkeypatch.setattr("milepost_runtime.bridge.pace.UNITS_MAX", 1)


@pytest.mark.usefixtures("one_unit_at_a_time")
def test_every_boundary_is_saved_exactly_while_the_training_goes_on(
    tmp_path: Path, expected: list[str]
) -> None:
    """A checkpoint at each of 200 boundaries, asked for by hand so that none is left out: each is its boundary."""
    bench = Bench(tmp_path, stepwise(), manual=True)
    assert bench.run() is True
    assert len(bench.found) >= BOUNDARIES
    assert bench.found == {unit: expected[unit] for unit in bench.found}


def wait_for(passed: Callable[[], bool], changed: threading.Condition) -> None:
    with changed:
        assert changed.wait_for(passed, 60)


@pytest.mark.usefixtures("one_unit_at_a_time")
def test_a_slow_disk_never_sees_a_later_state(tmp_path: Path, expected: list[str]) -> None:
    """Files are written when the training is two units further: checkpoints are left out, none is torn."""
    trainer, changed = stepwise(), threading.Condition()

    def two_units_later(unit: int) -> None:
        wait_for(lambda: trainer.unit >= min(unit + 2, trainer.total_units), changed)

    bench = Bench(tmp_path, trainer, policy=EVERY_UNIT, before_staging=two_units_later)
    real_advance = trainer.advance

    def advance(until: int) -> None:
        real_advance(until)
        with changed:
            changed.notify_all()

    trainer.advance = advance
    assert bench.run() is True
    assert 1 <= len(bench.found) <= trainer.total_units // 2 + 1
    assert bench.found == {unit: expected[unit] for unit in bench.found}


@pytest.mark.usefixtures("one_unit_at_a_time")
@pytest.mark.parametrize("unit", [0, 1, 7, 44])
def test_a_cancellation_while_a_checkpoint_is_being_written_loses_nothing(
    tmp_path: Path, expected: list[str], unit: int
) -> None:
    """The one under way is whole, and the last one, written from live memory, is of the boundary of the stop."""
    begun = threading.Event()
    bench = Bench(tmp_path, stepwise(), policy=EVERY_UNIT)
    bench.before_staging = lambda unit: begun.wait(60) and None
    bench.token.request(StopRequest(CheckpointReason.CANCELLATION, at_unit=unit))
    real_save = bench.sink.save

    def save(data: Any, reason: CheckpointReason) -> None:
        real_save(data, reason)
        if reason is CheckpointReason.CANCELLATION:
            begun.set()

    bench.sink.save = save
    assert bench.run() is False
    assert bench.reasons[-1] == (unit, CheckpointReason.CANCELLATION)
    assert bench.found == {unit: expected[unit] for unit in bench.found}
    assert len(bench.reasons) == (1 if unit < 2 else 2)


class Breaking(nn.Module):
    """A loss that fails in a chosen micro-batch of the run."""

    def __init__(self, loss: Any, fails_at: int, error: BaseException) -> None:
        super().__init__()
        self._loss, self._fails_at, self._error = loss, fails_at, error
        self.calls = 0

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self.calls += torch.is_grad_enabled()
        if self.calls == self._fails_at:
            raise self._error
        return self._loss(outputs, targets)


@pytest.mark.usefixtures("one_unit_at_a_time")
@pytest.mark.parametrize("fails_at", [1, 2, 8, 33, 36])
@pytest.mark.parametrize("captured", [True, False])
@pytest.mark.parametrize("error", [MemoryError("none left"), SystemExit(3)])
def test_a_failure_saves_the_last_whole_unit(
    tmp_path: Path,
    expected: list[str],
    monkeypatch: pytest.MonkeyPatch,
    fails_at: int,
    captured: bool,
    error: Any,
) -> None:
    """In the middle of a unit, with the newest capture of that unit or of one long ago: its exact boundary."""
    trainer = stepwise()
    learner: Any = trainer._learner
    learner._loss = Breaking(learner._loss, fails_at, error)
    if not captured:
        monkeypatch.setattr(Captures, "take_if_cheap", lambda self: None)
    bench = Bench(tmp_path, trainer)
    with pytest.raises(type(error)):
        bench.run()
    assert bench.reasons == [(fails_at - 1, CheckpointReason.FAILURE)]
    assert bench.found == {fails_at - 1: expected[fails_at - 1]}
    assert digest_of_state(trainer.state_dict()) == expected[fails_at - 1]


def test_what_cannot_be_computed_again_leaves_the_capture(
    tmp_path: Path, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the way back to the last whole unit fails too, the failure checkpoint is of the newest capture."""
    monkeypatch.setattr(Captures, "take_if_cheap", lambda self: None)
    trainer = stepwise()
    learner: Any = trainer._learner
    real = learner._loss

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if trainer.unit >= 5:
            raise MemoryError
        return real(outputs, targets)

    learner._loss = loss
    bench = Bench(tmp_path, trainer)
    with pytest.raises(MemoryError):
        bench.run()
    assert bench.reasons == [(5, CheckpointReason.FAILURE)]


def test_the_trainer_goes_on_only_when_its_live_memory_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trainer used after its run was stopped waits for the writer, and says so when that never comes."""
    monkeypatch.setattr(captures, "LIVE_SECONDS_MAX", 0.0)
    trainer = stepwise()
    release = Captures(trainer, SystemClock()).hold_live()
    with pytest.raises(TimeoutError, match="live state was not written"):
        trainer.advance(1)
    release()
    trainer.load_state_dict(stepwise().state_dict())
    trainer.advance(1)
    assert trainer.unit == 1


@pytest.mark.parametrize("part", ["model", "optimizer", "average"])
def test_a_file_of_a_capture_that_nobody_began_to_copy_is_of_its_boundary(part: Any) -> None:
    """Memory that holds an older state is never taken for the new one: whoever reads it has it copied first."""
    trainer = stepwise()
    found = Captures(trainer, SystemClock())
    for _ in range(2 * arena_sets.SETS_MAX + 1):
        trainer.advance(trainer.unit + 1)
        expected = trainer.state_dict()
        capture = found.take()
        assert capture is not None
    content = b"".join(capture.blocks(part))
    tensors = {name: value.contiguous() for name, value in expected.part(PREFIXES[part]).items()}
    assert len(content) == capture.size_bytes(part)
    assert forms_and_bits(load(content)) == forms_and_bits(tensors)
    assert digest_of_state(capture.state()) == digest_of_state(expected)
    found.close()


def forms_and_bits(tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    return {name: (value.shape, value.dtype, value.numpy().tobytes()) for name, value in tensors.items()}


def test_a_piece_of_work_is_done_once_however_many_begin_it() -> None:
    """Eight threads at the same time: what comes before it was called when each goes on, and is called once."""
    for _ in range(50):
        copier, calls, seen = Copier(), list[str](), list[bool]()
        piece = copier.piece(partial(calls.append, "work"), before=partial(calls.append, "before"))
        together = threading.Barrier(8)

        def begin(piece: Any = piece, together: Any = together, calls: Any = calls, seen: Any = seen) -> None:
            together.wait(60)
            piece.begin()
            seen.append(calls[0] == "before")

        threads = [threading.Thread(target=begin) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        copier.close()
        assert calls == ["before", "work"]
        assert seen == [True] * 8


def test_memory_is_bounded() -> None:
    """With both sets held by files a periodic capture is left out, a manual one waits for the first free one."""
    trainer = stepwise()
    found = Captures(trainer, SystemClock())
    releases = []
    for _ in range(arena_sets.SETS_MAX):
        trainer.advance(trainer.unit + 1)
        capture = found.take()
        assert capture is not None
        releases.append(capture.arena_set.hold())
    kept = digest_of_state(capture.state())
    trainer.advance(trainer.unit + 1)
    assert found.take() is None
    assert found.take() is None
    asked: list[int] = []

    def free_one() -> None:
        asked.append(1)
        releases[0]()

    assert found.take_patiently(free_one).unit == trainer.unit == 3
    assert asked == [1]
    assert digest_of_state(capture.state()) == kept
    found.close()


def test_waiting_for_memory_ends_with_the_sinks_error() -> None:
    """When nothing will ever become free, the error that is why comes up."""
    trainer = stepwise()
    found = Captures(trainer, SystemClock())
    for _ in range(arena_sets.SETS_MAX):
        trainer.advance(trainer.unit + 1)
        capture = found.take()
        assert capture is not None
        capture.arena_set.hold()
    trainer.advance(trainer.unit + 1)

    def full_disk() -> None:
        raise OSError(28, "No space left")

    with pytest.raises(OSError, match="No space left"):
        found.take_patiently(full_disk)
    found.close()


def test_fresh_memory_of_a_large_model_is_made_ready_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first capture of a new form is left out, the next one has its memory; the one before stays good."""
    monkeypatch.setattr(arena_sets, "DEFERRED_BYTES_MIN", 1)
    trainer = stepwise()
    found = Captures(trainer, SystemClock())
    first = found.take_patiently(lambda: None)
    before = digest_of_state(first.state())
    trainer.advance(1)
    assert found.take() is None
    assert digest_of_state(found.newest.state()) == before
    found._copier.submit(lambda: None).result()
    taken = found.take()
    assert taken is not None
    assert digest_of_state(taken.state()) == digest_of_state(trainer.state_dict())
    found.close()


def capture_and_go_on(found: Captures, trainer: ModelTrainer) -> None:
    found.take()
    trainer.advance(trainer.unit + 1)


@pytest.mark.parametrize("inline_bytes", [-1, 10**9])
def test_a_copy_that_fails_leaves_the_capture_before_it(
    expected: list[str], monkeypatch: pytest.MonkeyPatch, inline_bytes: int
) -> None:
    """No memory for a second set: the error comes up once, and the first set still leads back to the boundary."""
    monkeypatch.setattr(captures, "INLINE_BYTES_MAX", inline_bytes)
    trainer = stepwise()
    found = Captures(trainer, SystemClock())
    trainer.advance(2)
    first = found.take()
    assert first is not None
    first.arena_set.hold()
    trainer.advance(4)
    real = arena_sets.ArenaSet.prepare

    def no_memory(self: Any, forms: Any) -> None:
        raise MemoryError("no memory for the copy")

    monkeypatch.setattr(arena_sets.ArenaSet, "prepare", no_memory)
    with pytest.raises(MemoryError, match="no memory for the copy"):
        capture_and_go_on(found, trainer)
    monkeypatch.setattr(arena_sets.ArenaSet, "prepare", real)
    state = found.newest_whole().state()
    assert digest_of_state(state) == expected[2]
    trainer.load_state_dict(state)
    trainer.advance(4)
    assert digest_of_state(trainer.state_dict()) == expected[4]
    found.close()


def test_a_copy_that_fails_with_nothing_to_go_back_to_is_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first copy of all fails: the operation fails with that error, and says that there is no checkpoint."""

    def no_memory(self: Any, parts: Any) -> None:
        raise MemoryError("no memory for the copy")

    monkeypatch.setattr(arena_sets.ArenaSet, "copy_in", no_memory)
    bench = Bench(tmp_path, stepwise())
    with pytest.raises(MemoryError, match="no memory for the copy") as failure:
        bench.run()
    assert "nothing to go back to" in failure.value.__notes__[0]


def test_a_run_that_ended_lets_go_of_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While results are written no copy of the state is left, and nothing was copied after the last unit."""
    sets: list[weakref.ref[Any]] = []
    all_made = threading.Event()
    taken: list[int] = []
    real_init, real_capture = arena_sets.ArenaSet.__init__, Captures._capture

    def init(self: Any, *arguments: Any) -> None:
        real_init(self, *arguments)
        sets.append(weakref.ref(self))
        if len(sets) == arena_sets.SETS_MAX:
            all_made.set()

    def write_when_the_next_one_is_taken(unit: int) -> None:
        assert all_made.wait(20)

    def capture(self: Any, *arguments: Any) -> Any:
        taken.append(self._trainer.unit)
        return real_capture(self, *arguments)

    monkeypatch.setattr(arena_sets.ArenaSet, "__init__", init)
    monkeypatch.setattr(Captures, "_capture", capture)
    monkeypatch.setattr(captures, "QUIET_FACTOR", 0)
    trainer = stepwise()
    once = CheckpointPolicySpec(every_units=150, min_seconds=0)
    bench = Bench(tmp_path, trainer, policy=once, before_staging=write_when_the_next_one_is_taken)
    assert bench.run() is True
    gc.collect()
    assert len(sets) == arena_sets.SETS_MAX
    assert [found() for found in sets] == [None] * len(sets)
    assert trainer.before_update is None
    assert max(taken) < trainer.total_units


def test_what_the_copying_raises_comes_up_before_the_next_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """No memory for the copy: the trainer stops before it changes, and says why."""
    trainer = stepwise()
    found = Captures(trainer, SystemClock())

    def no_memory(self: Any, parts: Any) -> None:
        raise MemoryError("no memory for the copy")

    monkeypatch.setattr(arena_sets.ArenaSet, "copy_in", no_memory)
    found.take()
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    with pytest.raises(MemoryError, match="no memory for the copy"):
        trainer.advance(1)
    assert all(torch.equal(before[name], value) for name, value in trainer.model.named_parameters())
    found.close()
