"""Parts of a state that an earlier checkpoint of the run holds already, so that they are not written again."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from milepost_contracts.artifacts import ArtifactReference
from milepost_runtime.digests import FileDigest

from milepost_trainer.engine.progress import best_is_present
from milepost_trainer.state_parts import PartName, file_of
from milepost_trainer.tensor_files.layout import Form

MEDIA_TYPE = "application/vnd.safetensors"

PartForms: TypeAlias = Mapping[PartName, Mapping[str, Form]]


@dataclass(frozen=True, slots=True)
class _Known:
    epoch: int
    forms: Mapping[str, Form]
    measured: FileDigest


class KeptParts:
    """Knows the artifacts that hold the frozen parameters and the best model; shared by two threads.

    An artifact becomes known when its checkpoint is whole in the spool, or came with the checkpoint that the run
    goes on from. The best model was the present one when its epoch ended: a checkpoint of that boundary holds it
    as ``model``, or as ``average`` where weights are averaged, and files name tensors without their part, so the
    bytes are the same.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[PartName, _Known] = {}

    def find(
        self, values: Mapping[str, Any], part: PartName, forms: Mapping[str, Form]
    ) -> ArtifactReference | None:
        """Return the artifact that holds this part of a state with these values, None when none is known."""
        with self._lock:
            known = self._known.get(part)
        if known is None or known.epoch != _epoch_of(values, part) or known.forms != forms:
            return None
        return ArtifactReference(
            name=file_of(part),
            digest=known.measured.digest,
            size_bytes=known.measured.size_bytes,
            media_type=MEDIA_TYPE,
        )

    def remember(
        self, values: Mapping[str, Any], forms: PartForms, part: PartName, measured: FileDigest
    ) -> None:
        """One part of a state with these values and parts was written, or read."""
        content = lasting_content(values, forms, part)
        if content is not None:
            with self._lock:
                self._known[content] = _Known(_epoch_of(values, content), forms[part], measured)


def _epoch_of(values: Mapping[str, Any], part: PartName) -> int:
    """Which of several contents of a part it is: frozen parameters have one, the best model one for an epoch."""
    return values["best_epoch"] if part == "best" else 0


def lasting_content(values: Mapping[str, Any], forms: PartForms, part: PartName) -> PartName | None:
    """Return what later checkpoints may refer to this part as, by its digest; None when none will."""
    if part in ("best", "frozen"):
        return part
    present = "average" if "average" in forms else "model"
    is_best = part == present and "best" not in forms and best_is_present(values)
    return "best" if is_best else None
