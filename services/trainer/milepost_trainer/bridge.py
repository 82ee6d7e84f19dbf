"""The training's progress bridge: what one unit boundary is made of, as a checkpoint."""

from collections.abc import Mapping
from typing import cast

from milepost_contracts.model import JsonObject
from milepost_runtime.bridge.host import BridgeHost
from milepost_runtime.bridge.progress_bridge import ProgressBridge
from milepost_runtime.checkpoints.data import CheckpointData

from milepost_trainer.engine.state import TrainerState
from milepost_trainer.state_files import TENSORS_FILE, TensorsWriter


class TrainingProgressBridge(ProgressBridge[TrainerState]):
    """Saves a trainer's state as ``state.json`` and ``tensors.safetensors``.

    The cached state is a copy, so the training goes on while a checkpoint of it is being written.
    """

    def __init__(self, host: BridgeHost, *, fingerprint: Mapping[str, str]) -> None:
        super().__init__(host)
        self._fingerprint = dict(fingerprint)

    @property
    def state(self) -> TrainerState:
        """The cached state."""
        return self._state()[1]

    def build_checkpoint_data(self, unit: int, state: TrainerState) -> CheckpointData:
        """Return the plain values, and a writer of the tensors."""
        return CheckpointData(
            unit=unit,
            state=cast("JsonObject", dict(state.values)),
            files={TENSORS_FILE: TensorsWriter(state.tensors)},
            fingerprint=self._fingerprint,
            summary=self._summary(state),
        )

    def _summary(self, state: TrainerState) -> JsonObject:
        values = state.values
        history: list[dict[str, float]] = values["history"]
        newest = history[-1] if history else {}
        return {
            "epoch": values["epoch"],
            "position": values["position"],
            "best_epoch": values["best_epoch"],
            "best_loss": values["best_loss"],
            **{name: figure for name, figure in newest.items() if name != "epoch"},
        }
