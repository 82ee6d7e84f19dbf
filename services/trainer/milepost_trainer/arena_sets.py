"""Reused memory for the states of a training: a few sets of arenas, each good for one whole state.

States of a set: free -> held, as long as files are still to be written from it -> free. Authority: the computing
thread alone chooses sets and fills them, through ``ArenaSets``; writers in other threads only release them.
Fresh memory of a large model costs more than the copy itself, so it is made ready in the background, and until
then ``choose`` has none to give.
"""

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

from torch import Tensor

from milepost_trainer.copier import Copier, Piece
from milepost_trainer.state_parts import PartName
from milepost_trainer.tensor_files.arena import TensorArena
from milepost_trainer.tensor_files.layout import Form

SETS_MAX = 2
"""One can be written while the other takes over newer states."""
DEFERRED_BYTES_MIN = 64 * 1024 * 1024
"""From this size on fresh memory is made ready in the background."""
WAIT_SLICE_SECONDS = 0.25

PartForms: TypeAlias = Mapping[PartName, Mapping[str, Form]]
PartTensors: TypeAlias = Mapping[PartName, Mapping[str, Tensor]]


class ArenaSet:
    """One arena for each part."""

    def __init__(self, lock: threading.Lock, changed: threading.Condition) -> None:
        """``changed`` goes by the same lock, and takes longer to enter."""
        self.arenas: dict[PartName, TensorArena] = {}
        self.forms: PartForms | None = None
        """Those it was prepared for."""
        self._holds = 0
        self._lock = lock
        self._changed = changed

    @property
    def held(self) -> bool:
        """Files are still to be written from it."""
        return self._holds > 0

    def hold(self) -> Callable[[], None]:
        """Keep the set as it is for one more file, until what is returned is called."""
        with self._lock:
            self._holds += 1
        return self._release

    def fits(self, forms: PartForms) -> bool:
        """Say whether there is memory for exactly these parts."""
        return all(part in self.arenas and self.arenas[part].fits(found) for part, found in forms.items())

    def prepare(self, forms: PartForms) -> None:
        """Make memory for these parts, of which nothing changes any more."""
        self.forms = None
        for part, found in forms.items():
            self._arena(part).prepare(found)
        self.forms = forms

    def start(self, forms: PartForms) -> None:
        """Another state takes the place of the one that is here; ``copy_in`` or ``stop`` follows."""
        for part in forms:
            self._arena(part).frontier.start()

    def stop(self) -> None:
        """No more will be copied: whoever waits for it waits no longer."""
        for arena in self.arenas.values():
            arena.frontier.stop()

    def copy_in(self, parts: PartTensors) -> None:
        """Copy the parts it was prepared for."""
        for part, tensors in parts.items():
            self.arenas[part].copy_in(tensors)

    def _arena(self, part: PartName) -> TensorArena:
        if part not in self.arenas:
            self.arenas[part] = TensorArena()
        return self.arenas[part]

    def _release(self) -> None:
        with self._changed:
            self._holds -= 1
            self._changed.notify_all()


class ArenaSets:
    """Chooses the set that the next state is copied to."""

    def __init__(self, copier: Copier) -> None:
        self._copier = copier
        self._sets: list[ArenaSet] = []
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._preparing: dict[ArenaSet, Piece] = {}

    def choose(self, forms: PartForms, newest: ArenaSet | None) -> ArenaSet | None:
        """Return a free set, not the one of the newest state if there is a choice; None when none is ready.

        The newest one may be filled again only if it has the right memory already: the engine's own state is
        whole while it is being filled, but not while memory is looked for.
        """
        again: ArenaSet | None = None
        for found in self._sets:  # nearly always one is known by the very object of the forms
            if found.forms is forms and not found.held:
                if found is not newest:
                    return found
                again = found
        return again or self._choose_otherwise(forms, newest)

    def _choose_otherwise(self, forms: PartForms, newest: ArenaSet | None) -> ArenaSet | None:
        again: ArenaSet | None = None
        others: list[ArenaSet] = []
        for found in self._sets:
            if found.held or not self._is_ready(found):
                continue
            if found is newest:
                again = found
            elif found.fits(forms):
                return found
            else:
                others.append(found)
        if again is not None and again.fits(forms):
            return again
        if not others and len(self._sets) < SETS_MAX:
            self._sets.append(ArenaSet(self._lock, self._changed))
            others = self._sets[-1:]
        if not others:
            return None
        if size_of(forms) < DEFERRED_BYTES_MIN:
            return others[0]
        self._preparing[others[0]] = self._copier.submit(partial(others[0].prepare, forms))
        return None

    def choose_patiently(
        self, forms: PartForms, newest: ArenaSet | None, while_waiting: Callable[[], None]
    ) -> ArenaSet:
        """Wait for a set; ``while_waiting`` is called now and then, and ends the wait by raising."""
        while (found := self.choose(forms, newest)) is None:
            for piece in list(self._preparing.values()):
                piece.result()
            with self._changed:
                self._changed.wait_for(lambda: self._could_take(forms, newest), WAIT_SLICE_SECONDS)
            while_waiting()
        return found

    def _could_take(self, forms: PartForms, newest: ArenaSet | None) -> bool:
        return any(not found.held and (found is not newest or found.fits(forms)) for found in self._sets)

    def _is_ready(self, found: ArenaSet) -> bool:
        preparing = self._preparing.get(found)
        if preparing is None:
            return True
        if not preparing.done():
            return False
        del self._preparing[found]
        preparing.result()
        return True


def size_of(forms: PartForms) -> int:
    """Return how many bytes tensors of these forms have."""
    return sum(shape.numel() * dtype.itemsize for found in forms.values() for shape, dtype in found.values())
