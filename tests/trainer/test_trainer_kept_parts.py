"""Parts that an earlier checkpoint holds are not written again; how fast the others are written."""

import threading
from typing import Any

import pytest
import torch
from milepost_contracts.checkpoints import CheckpointPolicySpec
from milepost_runtime.digests import FileDigest
from milepost_trainer.kept_parts import KeptParts
from milepost_trainer.tensor_files.layout import Form
from milepost_trainer.write_pace import WritePace, WriteSettings

from tests.support.bridge import ManualClock, SpoolSink, host_of
from tests.trainer.trainer_doubles import Workplace, cancel_after

pytestmark = pytest.mark.unit

EVERY_EPOCH = CheckpointPolicySpec(every_units=1, min_seconds=0)
MODEL, BEST, FROZEN = "model.safetensors", "best.safetensors", "frozen.safetensors"
FORMS: dict[str, Form] = {"a": (torch.Size([2]), torch.float32)}
ONE, OTHER = FileDigest("sha256:" + "1" * 64, 8), FileDigest("sha256:" + "2" * 64, 8)


@pytest.fixture
def one_unit_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boundaries come after every epoch."""
    monkeypatch.setattr("milepost_runtime.bridge.pace.UNITS_MAX", 1)


@pytest.fixture
def place(tmp_path: Any) -> Workplace:
    return Workplace(tmp_path)


def digests(sink: SpoolSink, name: str) -> list[str | None]:
    """Digest of an artifact in each checkpoint, None where it is not."""
    found: list[str | None] = []
    for checkpoint in sink.checkpoints:
        by_name = {reference.name: reference.digest for reference in checkpoint.artifacts}
        found.append(by_name.get(name))
    return found


@pytest.mark.usefixtures("one_unit_at_a_time")
@pytest.mark.parametrize("averaging", [None, {"decay": 0.5}])
def test_the_best_model_is_never_written_twice(place: Workplace, averaging: Any) -> None:
    """Left out while it is the last one, referred to as that epoch's weights after it; no file of its own."""
    job, sink = place.job(averaging=averaging, epochs=20, optimizer={"learning_rate": 0.03}), place.sink()
    job.run(host_of(sink, job.total_units, policy=EVERY_EPOCH))
    present = digests(sink, MODEL if averaging is None else "average.safetensors")
    best_epochs = [checkpoint.state()["best_epoch"] for checkpoint in sink.checkpoints]
    expected = [
        None if best == epoch else present[best - 1] for epoch, best in enumerate(best_epochs, start=1)
    ]
    assert digests(sink, BEST) == expected
    assert any(expected)
    assert not any(BEST in names for names in sink.new_names)


def test_a_best_model_of_an_epoch_without_a_checkpoint_is_written_once(place: Workplace) -> None:
    """The first checkpoint after it has the file, the later ones refer to it, also those of a resumed run."""
    fields: dict[str, Any] = {"epochs": 30, "optimizer": {"learning_rate": 0.05}}
    whole = place.job(**fields)
    whole._trainer.fit()
    best = whole._trainer.best_epoch
    assert 0 < best < 26
    first, sink = place.job(**fields), place.sink()
    assert first.run(host_of(sink, 30, token=cancel_after(best + 2))) is False
    assert BEST in sink.new_names[-1]
    second, later = place.job(**fields), place.sink()
    second.restore_from_checkpoint(sink.checkpoints[-1])
    assert second.run(host_of(later, 30, token=cancel_after(best + 4))) is False
    assert BEST not in later.new_names[-1]
    assert digests(later, BEST) == digests(sink, BEST)[-1:]
    third = place.job(**fields)
    third.restore_from_checkpoint(later.checkpoints[-1])
    third.run(host_of(place.sink(), 30))
    assert place.digests(third) == place.digests(whole)


@pytest.mark.usefixtures("one_unit_at_a_time")
def test_frozen_parameters_are_written_once(place: Workplace) -> None:
    """The first checkpoint has them, all others refer to them, and a resumed run has them back."""
    job, sink = place.job(), place.sink()
    freeze(job)
    job.run(host_of(sink, 15, policy=EVERY_EPOCH))
    assert [FROZEN in names for names in sink.new_names] == [True] + [False] * 14
    assert len(set(digests(sink, FROZEN))) == 1
    again, later = place.job(), place.sink()
    freeze(again, by=1.0)
    again.restore_from_checkpoint(sink.checkpoints[6])
    again.run(host_of(later, 15, policy=EVERY_EPOCH))
    assert not any(FROZEN in names for names in later.new_names)
    assert place.digests(again) == place.digests(job)


def freeze(job: Any, by: float = 0.0) -> None:
    """Have the first parameter frozen, before anything was trained; ``by`` is added to it."""
    from milepost_trainer.engine.trainer import ModelTrainer

    parameter = next(iter(job._trainer.model.parameters()))
    parameter.requires_grad_(False).add_(by)
    job._trainer = ModelTrainer(job._trainer._parts, job._trainer._settings)


def values(epoch: int, best_epoch: int, position: int = 0) -> dict[str, int]:
    return {"epoch": epoch, "best_epoch": best_epoch, "position": position}


def test_only_what_surely_is_the_same_is_kept() -> None:
    """Another epoch's best, other forms, weights in the middle of an epoch and those beside an average are not."""
    kept = KeptParts()
    kept.remember(values(3, 3, position=1), {"model": FORMS}, "model", ONE)
    kept.remember(values(3, 3), {"model": FORMS, "average": FORMS}, "model", ONE)
    kept.remember(values(3, 2), {"model": FORMS}, "model", ONE)
    kept.remember(values(0, 0), {"model": FORMS}, "model", ONE)
    assert kept.find(values(4, 3), "best", FORMS) is None
    kept.remember(values(3, 3), {"model": FORMS}, "model", ONE)
    found = kept.find(values(4, 3), "best", FORMS)
    assert found is not None
    assert (found.name, found.digest) == (BEST, ONE.digest)
    assert kept.find(values(4, 2), "best", FORMS) is None
    assert kept.find(values(4, 3), "best", {"a": (torch.Size([3]), torch.float32)}) is None
    kept.remember(values(5, 5), {"model": FORMS}, "model", OTHER)
    assert kept.find(values(6, 3), "best", FORMS) is None


class Hurry(threading.Event):
    """Remembers how long it was waited for, and lets the time pass."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        if not self.is_set():
            self.waits.append(round(timeout, 6))
            self._clock.seconds += timeout
        return self.is_set()


def test_writing_keeps_to_its_pace_until_somebody_is_in_a_hurry() -> None:
    """Blocks come no faster than the setting, time lost elsewhere counts, and a stop lifts the limit at once."""
    clock = ManualClock()
    pace = WritePace(clock, WriteSettings(100))
    hurry = pace._hurry = Hurry(clock)
    for _ in range(3):
        pace(50_000_000)
    assert hurry.waits == [0.5, 0.5]
    clock.seconds += 0.4
    pace(50_000_000)
    assert hurry.waits == [0.5, 0.5, 0.1]
    clock.seconds += 100
    pace(50_000_000)
    pace.hurry()
    pace(50_000_000)
    assert hurry.waits == [0.5, 0.5, 0.1]


def test_the_write_cap_is_read_and_checked() -> None:
    """The default, a setting, and figures that make no sense."""
    assert WriteSettings.from_environment({}) == WriteSettings(300.0)
    name = "MILEPOST_TRAINER_WRITE_MB_PER_SECOND"
    assert WriteSettings.from_environment({name: "50"}) == WriteSettings(50.0)
    for text in ("0", "-1", "nan", "inf", "fast", ""):
        with pytest.raises(ValueError, match=name):
            WriteSettings.from_environment({name: text})
