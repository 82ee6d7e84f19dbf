"""The training's progress bridge: what one unit boundary is made of, as a checkpoint."""

from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, cast

from milepost_contracts.model import JsonObject
from milepost_runtime.bridge.host import BridgeHost
from milepost_runtime.bridge.progress_bridge import ProgressBridge
from milepost_runtime.checkpoints.data import CheckpointData, DeferredData

from milepost_trainer.captures import Capture, Captures
from milepost_trainer.engine.state import TensorsInMemory
from milepost_trainer.engine.trainer import ModelTrainer
from milepost_trainer.kept_parts import KeptParts
from milepost_trainer.state_files import StateFiles, files_of_capture, files_of_live
from milepost_trainer.write_pace import WritePace, WriteSettings


class TrainingProgressBridge(ProgressBridge[ModelTrainer]):
    """Saves a trainer's state as ``state.json`` and a safetensors file for each part.

    The trainer goes on while checkpoints are made of captures. The newest capture is the cached state that a
    failure goes back to: it is taken whenever a checkpoint is, and otherwise as often as that costs next to
    nothing. The units after it are computed again.
    """

    def __init__(
        self,
        host: BridgeHost,
        trainer: ModelTrainer,
        *,
        fingerprint: Mapping[str, str],
        kept: KeptParts,
        captures: Captures,
        write: WriteSettings,
    ) -> None:
        super().__init__(host)
        self._trainer = trainer
        self._fingerprint = dict(fingerprint)
        self._kept = kept
        self._captures = captures
        self._write_pace = WritePace(host.clock, write)

    def begin(self) -> bool:
        """Cache the state before the first unit; False when a stop is due already."""
        self._captures.take_patiently(self._refuse_after_an_error)
        return self.start(self._trainer.unit, self._trainer)

    def reach(self) -> bool:
        """Report the boundary that the trainer is at; False when the run must end here."""
        going_on = self.update_state(self._trainer.unit, self._trainer, self._trainer.metrics())
        if going_on and not self._trainer.finished:
            self._captures.take_if_cheap()
        return going_on

    def build_checkpoint_data(self, unit: int, state: ModelTrainer) -> DeferredData:
        """Return what makes the plain values, and writers of a capture of this boundary, in the writing thread."""
        capture = self._captures.take_patiently(self._refuse_after_an_error)
        if self._host.sink.busy():
            capture.begin()  # the thread that would say so may be at work for long
        return DeferredData(unit, partial(self._complete, capture, capture.arena_set.hold()))

    def build_last_checkpoint_data(self, unit: int, state: ModelTrainer) -> CheckpointData:
        """Return the plain values, and writers of the trainer's own memory: nothing changes it any more."""
        self._write_pace.hurry()
        live = self._captures.live()
        return self._data(
            unit, live.values, files_of_live(live, self._captures, self._kept, self._write_pace)
        )

    def can_save_periodic(self) -> bool:
        """Say whether there is memory for a periodic checkpoint, and none is under way."""
        return super().can_save_periodic() and self._captures.take() is not None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, traceback)
        self._write_pace.hurry()
        self._captures.close()

    def return_to_capture(self) -> None:
        """Put the trainer back to the newest whole capture."""
        state = self._captures.newest_whole().state()
        self._trainer.restore(state.values, TensorsInMemory(state.tensors))

    def _refuse_after_an_error(self) -> None:
        """While memory is waited for: what keeps it from becoming free comes up as the sink's error."""
        self._host.sink.progress(self._trainer.unit, {})  # also before the bridge has started

    def _complete(self, capture: Capture, release: Callable[[], None]) -> CheckpointData:
        """One thread is woken at a boundary, and it wakes the other: this one has to do something for both."""
        try:
            capture.begin()
            files = files_of_capture(capture, self._kept, self._write_pace)
        finally:
            release()
        return self._data(capture.unit, capture.values, files)

    def _data(self, unit: int, values: Mapping[str, Any], files: StateFiles) -> CheckpointData:
        return CheckpointData(
            unit=unit,
            state=cast("JsonObject", dict(values)),
            files=files.files,
            kept=files.kept,
            fingerprint=self._fingerprint,
            summary=_summary(values),
        )


def _summary(values: Mapping[str, Any]) -> JsonObject:
    history: list[dict[str, float]] = values["history"]
    newest = history[-1] if history else {}
    return {
        "epoch": values["epoch"],
        "position": values["position"],
        "best_epoch": values["best_epoch"],
        "best_loss": values["best_loss"],
        **{name: figure for name, figure in newest.items() if name != "epoch"},
    }
