"""Copies of a training's state at unit boundaries, made while the training goes on.

What a forward pass changes (buffers, gradients, random states) the engine copies at once. What only an optimizer
step changes (parameters, moments, average) a background thread copies during the next forward and backward pass,
and ``before_update`` of the engine waits for it. A run that ends at a boundary needs no copy: its files are
written from live memory, and an engine that goes on all the same waits for them too.

States of a capture: being copied -> whole -> its memory used again, once it is neither the newest one nor held by
a file to be written. Authority: the computing thread takes captures, at boundaries only. Failures: what the
copying raises comes up once, in ``before_update``, while the engine's own state is still that of the boundary; the
capture before it is kept until then.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from milepost_runtime.clock import Clock
from torch import Tensor

from milepost_trainer.arena_sets import ArenaSet, ArenaSets, PartForms, PartTensors, size_of
from milepost_trainer.engine.state import TrainerState
from milepost_trainer.state_parts import COPIED_PARTS, split, with_keys
from milepost_trainer.tensor_files.layout import forms_of

INLINE_BYTES_MAX = 2 * 1024 * 1024
"""States up to this size are copied by the computing thread: sooner than another one would wake up."""
QUIET_FACTOR = 200
"""A capture that no checkpoint asked for may cost this part of the time since the last one."""
LIVE_SECONDS_MAX = 600.0


class LiveTrainer(Protocol):
    """What of ``ModelTrainer`` is needed here."""

    before_update: Callable[[], None] | None

    @property
    def unit(self) -> int: ...  # noqa: D102 - as in ModelTrainer

    @property
    def resting_count(self) -> int: ...  # noqa: D102 - as in ModelTrainer

    def live_state(self) -> TrainerState: ...  # noqa: D102 - as in ModelTrainer

    def changing_state(self) -> TrainerState: ...  # noqa: D102 - as in ModelTrainer

    def resting_tensors(self) -> Mapping[str, Tensor]: ...  # noqa: D102 - as in ModelTrainer


class Capture:
    """The state at one boundary, in memory that is used again later."""

    def __init__(
        self,
        unit: int,
        values: Mapping[str, Any],
        loose: PartTensors,
        forms: PartForms,
        arena_set: ArenaSet,
    ) -> None:
        self.unit = unit
        self.values = values
        self.loose = loose
        """Parts that nothing changes any more."""
        self.forms = forms
        """Of the parts that lie in the arenas, which are whole after ``wait``."""
        self.arena_set = arena_set
        self.copying: Future[None] | None = None

    def wait(self) -> None:
        """Return when everything is copied; raises what the copying raised."""
        if self.copying is not None:
            self.copying.result()

    def whole(self) -> bool:
        """Say whether everything was copied, when the copying is over."""
        return self.copying is None or self.copying.exception() is None

    def state(self) -> TrainerState:
        """Return the whole state; its tensors are views of the memory that is used again."""
        self.wait()
        tensors: dict[str, Tensor] = {}
        for part, found in self.loose.items():
            tensors |= with_keys(part, found)
        for part in self.forms:
            tensors |= with_keys(part, self.arena_set.arenas[part].tensors)
        return TrainerState(self.values, tensors)


class Captures:
    """Takes captures of one trainer, and keeps the newest."""

    def __init__(self, trainer: LiveTrainer, clock: Clock) -> None:
        if trainer.before_update is not None:
            trainer.before_update()  # whoever was here before must have its copies first
        trainer.before_update = self.settle
        self._trainer = trainer
        self._clock = clock
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="copier")
        self._sets = ArenaSets(self._executor)
        self._newest: Capture | None = None
        self._previous: Capture | None = None
        """The one to go back to while the newest one is being copied."""
        self._taken_seconds = float("-inf")
        self._copy_seconds = 0.0
        self._grown = False
        self._forms: PartForms = {}
        self._forms_count = -1
        self._forms_bytes = 0
        self._live_files: list[threading.Event] = []

    @property
    def newest(self) -> Capture:
        """The newest capture."""
        if self._newest is None:
            raise RuntimeError("there is no whole capture")
        return self._newest

    def newest_whole(self) -> Capture:
        """Return the newest capture, or the one before when the copying of it failed."""
        if self._newest is not None and not self._newest.whole():
            self._drop_newest()
        return self.newest

    def take(self) -> Capture | None:
        """Capture the boundary that the trainer is at; None when no memory is free or ready."""
        if self._newest is not None and self._newest.unit == self._trainer.unit:
            return self._newest
        boundary = self._boundary()
        chosen = self._sets.choose(boundary.forms, self._newest_set())
        return None if chosen is None else self._capture(boundary, chosen)

    def take_patiently(self, while_waiting: Callable[[], None]) -> Capture:
        """Capture the boundary, if need be when files were written and their memory is free.

        ``while_waiting`` is called now and then, and ends the wait by raising.
        """
        if self._newest is not None and self._newest.unit == self._trainer.unit:
            return self._newest
        boundary = self._boundary()
        chosen = self._sets.choose_patiently(boundary.forms, self._newest_set(), while_waiting)
        return self._capture(boundary, chosen)

    def take_if_cheap(self) -> None:
        """Capture the boundary when that costs next to nothing: a failure has less to compute again then."""
        quiet_seconds = self._clock.monotonic_seconds() - self._taken_seconds
        # The first time for its memory, which has to be there when the first checkpoint is due.
        if not self._grown or quiet_seconds >= QUIET_FACTOR * self._copy_seconds:
            self._grown = True
            self.take()

    def live(self) -> TrainerState:
        """Return the state at this boundary in the trainer's own memory; ``hold_live`` keeps it so."""
        return self._trainer.live_state()

    def hold_live(self) -> Callable[[], None]:
        """Keep the trainer from going on until what is returned was called."""
        written = threading.Event()
        self._live_files.append(written)
        return written.set

    def settle(self) -> None:
        """Return when nobody reads the trainer's live memory any more; raises what the copying raised."""
        self._wait_for_newest()
        while self._live_files:
            if not self._live_files[-1].wait(LIVE_SECONDS_MAX):
                raise TimeoutError("a checkpoint of the live state was not written; the trainer cannot go on")
            self._live_files.pop()

    def close(self) -> None:
        """Return when all copies are made and the background thread has ended; lets go of all memory.

        Files still to be written keep what they need. The trainer stays bound only while its live memory is read.
        """
        self._executor.shutdown(wait=True, cancel_futures=False)
        self._newest = self._previous = None
        self._sets = ArenaSets(self._executor)
        if all(written.is_set() for written in self._live_files):
            self._trainer.before_update = None

    def _wait_for_newest(self) -> None:
        if self._newest is None:
            return
        try:
            self._newest.wait()
        except BaseException:
            self._drop_newest()  # raised once: the trainer goes back, and on from there
            raise
        self._previous = None

    def _drop_newest(self) -> None:
        self._newest, self._previous = self._previous, None

    def _boundary(self) -> "_Boundary":
        self._wait_for_newest()
        changing = self._trainer.changing_state()
        loose = split(changing.tensors)
        # Buffers are of the model's part, so they are copied once more, with its parameters.
        copied: PartTensors = {part: loose.pop(part) for part in COPIED_PARTS if part in loose}
        return _Boundary(self._trainer.unit, changing.values, loose, copied, self._forms_with(copied))

    def _forms_with(self, copied: PartTensors) -> PartForms:
        """Return the forms of all that is to be copied; looking at each tensor only when they are others."""
        count = self._trainer.resting_count + sum(map(len, copied.values()))
        if count != self._forms_count:
            self._forms_count = count
            self._forms = _forms_of(_joined(copied, self._trainer.resting_tensors()))
            self._forms_bytes = size_of(self._forms)
        return self._forms

    def _capture(self, boundary: "_Boundary", chosen: ArenaSet) -> Capture:
        capture = Capture(boundary.unit, boundary.values, boundary.loose, boundary.forms, chosen)
        self._taken_seconds = self._clock.monotonic_seconds()
        # What lies in the chosen set is no state any more.
        self._previous = None if self._newest_set() is chosen else self._newest
        self._newest = self._previous
        if self._forms_bytes <= INLINE_BYTES_MAX:
            self._copy(boundary, chosen)
        else:
            capture.copying = self._executor.submit(self._copy, boundary, chosen)
        self._newest = capture
        return capture

    def _copy(self, boundary: "_Boundary", chosen: ArenaSet) -> None:
        parts = _joined(boundary.copied, self._trainer.resting_tensors())
        if _forms_of(parts) != boundary.forms:
            raise RuntimeError("the optimizer has other tensors, but as many as before; they cannot be saved")
        chosen.prepare(boundary.forms)
        began_seconds = self._clock.monotonic_seconds()
        chosen.copy_in(parts)
        self._copy_seconds = self._clock.monotonic_seconds() - began_seconds

    def _newest_set(self) -> ArenaSet | None:
        return None if self._newest is None else self._newest.arena_set


@dataclass(frozen=True, slots=True)
class _Boundary:
    """What there is to capture."""

    unit: int
    values: Mapping[str, Any]
    loose: PartTensors
    copied: PartTensors
    """What of the parts to be copied is no live memory."""
    forms: PartForms
    """Of all that is to be copied."""


def _joined(copied: PartTensors, resting: Mapping[str, Tensor]) -> PartTensors:
    found = split(resting)
    for part, tensors in copied.items():
        found[part] = {**found.get(part, {}), **tensors}
    return found


def _forms_of(parts: PartTensors) -> PartForms:
    return {part: forms_of(tensors) for part, tensors in parts.items()}
