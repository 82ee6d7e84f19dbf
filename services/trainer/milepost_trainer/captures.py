"""Copies of a training's state at unit boundaries, made while the training goes on.

What a forward pass changes (buffers, random states) is copied at once. What only an optimizer step changes
(parameters, moments, average) a background thread copies during the next forward and backward pass, and
``before_update`` of the engine waits for it; what is copied already can be written meanwhile. A run that ends at a
boundary needs no copy: its files are written from live memory, and an engine that goes on all the same waits for
them too.

States of a capture: taken -> being copied, from when its files are put together, which the writing thread does, or
sooner (``begin``) -> whole -> its memory used again, once it is neither the newest one nor held by
a file to be written. Authority: the computing thread takes captures, at boundaries only. Failures: what the
copying raises comes up once, in ``before_update``, while the engine's own state is still that of the boundary; the
capture before it is kept until then.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Protocol

from milepost_runtime.clock import Clock
from torch import Tensor

from milepost_trainer.arena_sets import ArenaSet, ArenaSets, PartForms, PartTensors, size_of
from milepost_trainer.buffer_copies import BufferCopies
from milepost_trainer.copier import Copier, Piece
from milepost_trainer.engine.state import Boundary, TrainerState
from milepost_trainer.state_parts import PartName, split, with_keys
from milepost_trainer.tensor_files.layout import Form, forms_of

INLINE_BYTES_MAX = 2 * 1024 * 1024
"""States up to this size are copied by the computing thread: sooner than another one would wake up."""
QUIET_FACTOR = 200
"""A capture that no checkpoint asked for may cost this part of the time since the last one."""
LIVE_SECONDS_MAX = 600.0
BUFFERS_PART: PartName = "model"


class LiveTrainer(Protocol):
    """What of ``ModelTrainer`` is needed here."""

    before_update: Callable[[], None] | None

    @property
    def unit(self) -> int: ...  # noqa: D102 - as in ModelTrainer

    @property
    def resting_count(self) -> int: ...  # noqa: D102 - as in ModelTrainer

    def live_state(self) -> TrainerState: ...  # noqa: D102 - as in ModelTrainer

    def boundary(self) -> Boundary: ...  # noqa: D102 - as in ModelTrainer

    def resting_tensors(self) -> Mapping[str, Tensor]: ...  # noqa: D102 - as in ModelTrainer


class Capture:
    """The state at one boundary, in memory that is used again later."""

    def __init__(self, unit: int, boundary: Boundary, forms: PartForms, arena_set: ArenaSet) -> None:
        self.unit = unit
        self.values = boundary.values
        self.forms = forms
        """Of the parts that lie in the arenas, which are whole after ``wait``."""
        self.arena_set = arena_set
        self.copying: Piece | None = None
        self._boundary = boundary

    @cached_property
    def settled(self) -> PartTensors:
        """Parts that nothing changes any more, but for the random states."""
        return split(self._boundary.settled)

    def begin(self) -> None:
        """Have the copying begin, if it has not; any thread may say so, and must before it looks at the arenas."""
        if self.copying is not None:
            self.copying.begin()

    def wait(self) -> None:
        """Return when everything is copied; raises what the copying raised."""
        if self.copying is not None:
            self.copying.result()

    def whole(self) -> bool:
        """Say whether everything was copied, when the copying is over."""
        return self.copying is None or self.copying.exception() is None

    def size_bytes(self, part: PartName) -> int:
        """Return how long the file of a part is; raises what the copying raised."""
        self.begin()
        arena = self.arena_set.arenas[part]
        if not arena.frontier.reaches(1):
            self.wait()
        return arena.size_bytes

    def blocks(self, part: PartName) -> Iterator[memoryview]:
        """Yield the file of a part, each block as soon as it is copied; raises what the copying raised."""
        self.begin()
        frontier = self.arena_set.arenas[part].frontier
        for start, block in self.arena_set.arenas[part].blocks():
            if not frontier.reaches(start + len(block)):
                self.wait()
            yield block

    def rest(self) -> dict[str, Tensor]:
        """Return what belongs to no other part: random states, gradients."""
        return {**self.settled.get("rest", {}), **self._boundary.random()}

    def state(self) -> TrainerState:
        """Return the whole state; its tensors are views of the memory that is used again."""
        self.wait()
        tensors: dict[str, Tensor] = {}
        for part, found in self.settled.items():
            tensors |= with_keys(part, found)
        tensors |= with_keys("rest", self.rest())
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
        self._copier = Copier()
        self._sets = ArenaSets(self._copier)
        self._newest: Capture | None = None
        self._previous: Capture | None = None
        """The one to go back to while the newest one is being copied."""
        self._retired: tuple[Capture | None, Capture | None] = (None, None)
        self._taken_seconds = float("-inf")
        self._copy_seconds = 0.0
        self._grown = False
        self._forms = _Forms({}, {}, -1, 0)
        self._buffer_copies = BufferCopies()
        self._live_files: list[threading.Event] = []
        self._settled = False
        """Nobody reads live memory; asked at every step, where anything else would show."""

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
        boundary, forms = self._boundary()
        chosen = self._sets.choose(forms, self._newest_set())
        return None if chosen is None else self._capture(boundary, forms, chosen)

    def take_patiently(self, while_waiting: Callable[[], None]) -> Capture:
        """Capture the boundary, if need be when files were written and their memory is free.

        ``while_waiting`` is called now and then, and ends the wait by raising.
        """
        if self._newest is not None and self._newest.unit == self._trainer.unit:
            return self._newest
        boundary, forms = self._boundary()
        newest = self._newest_set()
        chosen = self._sets.choose(forms, newest)
        if chosen is None:
            chosen = self._sets.choose_patiently(forms, newest, while_waiting)
        return self._capture(boundary, forms, chosen)

    def take_if_cheap(self) -> None:
        """Capture the boundary when that costs next to nothing: a failure has less to compute again then."""
        quiet_seconds = self._clock.monotonic_seconds() - self._taken_seconds
        # The first time for its memory, which has to be there when the first checkpoint is due.
        if not self._grown or quiet_seconds >= QUIET_FACTOR * self._copy_seconds:
            self._grown = True
            capture = self.take()
            if capture is not None:
                capture.begin()

    def live(self) -> TrainerState:
        """Return the state at this boundary in the trainer's own memory; ``hold_live`` keeps it so."""
        return self._trainer.live_state()

    def hold_live(self) -> Callable[[], None]:
        """Keep the trainer from going on until what is returned was called."""
        written = threading.Event()
        self._live_files.append(written)
        self._settled = False
        return written.set

    def settle(self) -> None:
        """Return when nobody reads the trainer's live memory any more; raises what the copying raised."""
        if self._settled:
            return
        self._wait_for_newest()
        while self._live_files:
            if not self._live_files[-1].wait(LIVE_SECONDS_MAX):
                raise TimeoutError("a checkpoint of the live state was not written; the trainer cannot go on")
            self._live_files.pop()
        self._settled = True

    def close(self) -> None:
        """Return when all copies are made and the background thread has ended; lets go of all memory.

        Files still to be written keep what they need. The trainer stays bound only while its live memory is read.
        """
        if self._newest is not None:
            self._newest.begin()
        self._copier.close()
        self._newest = self._previous = None
        self._retired = (None, None)
        self._sets = ArenaSets(self._copier)
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

    def _drop_newest(self) -> None:
        self._newest, self._previous = self._previous, None

    def _boundary(self) -> tuple[Boundary, PartForms]:
        """Return what there is to capture, and the forms of all that is to be copied."""
        if not self._settled:
            self._wait_for_newest()
        boundary = self._trainer.boundary()
        known, count = self._forms, self._trainer.resting_count
        if count != known.count or boundary.buffers is not known.buffers:
            self._forms = known = _Forms.of(boundary.buffers, self._trainer.resting_tensors(), count)
        return boundary, known.parts

    def _capture(self, boundary: Boundary, forms: PartForms, chosen: ArenaSet) -> Capture:
        capture = Capture(self._trainer.unit, boundary, forms, chosen)
        self._taken_seconds = self._clock.monotonic_seconds()
        # What lies in the chosen set is no state any more. The copying thread lets go of what was newest before.
        self._retired = self._newest, self._previous
        self._previous = None if self._newest_set() is chosen else self._newest
        self._newest = self._previous
        copy = partial(self._copy, self._buffer_copies.of(boundary.buffers), self._forms, chosen)
        if self._forms.size_bytes <= INLINE_BYTES_MAX:
            chosen.start(forms)
            copy()
        else:
            capture.copying = self._copier.piece(copy, before=partial(chosen.start, forms))
        self._newest = capture
        self._settled = False
        return capture

    def _copy(self, buffers: Mapping[str, Tensor], forms: "_Forms", chosen: ArenaSet) -> None:
        try:
            self._retired = (None, None)
            resting = self._trainer.resting_tensors()
            if forms_of(resting) != forms.resting:
                raise RuntimeError(
                    "the optimizer has other tensors, but as many as before; they cannot be saved"
                )
            chosen.prepare(forms.parts)
            began_seconds = self._clock.monotonic_seconds()
            parts = split(resting)
            if buffers:
                parts[BUFFERS_PART] = {**parts.get(BUFFERS_PART, {}), **buffers}
            chosen.copy_in(parts)
            self._copy_seconds = self._clock.monotonic_seconds() - began_seconds
        finally:
            chosen.stop()

    def _newest_set(self) -> ArenaSet | None:
        return None if self._newest is None else self._newest.arena_set


@dataclass(frozen=True, slots=True)
class _Forms:
    """Of all that is to be copied; good as long as the buffers are the same ones, and the others as many."""

    buffers: Mapping[str, Tensor]
    resting: Mapping[str, Form]
    count: int
    size_bytes: int
    parts: PartForms = field(default_factory=dict[PartName, Mapping[str, Form]])

    @classmethod
    def of(cls, buffers: Mapping[str, Tensor], resting: Mapping[str, Tensor], count: int) -> "_Forms":
        """Look at each tensor."""
        parts: dict[PartName, Mapping[str, Form]] = {}
        for part, tensors in split(resting).items():
            parts[part] = forms_of(tensors)
        if buffers:
            parts[BUFFERS_PART] = {**parts.get(BUFFERS_PART, {}), **forms_of(buffers)}
        return cls(buffers, forms_of(resting), count, size_of(parts), parts)
