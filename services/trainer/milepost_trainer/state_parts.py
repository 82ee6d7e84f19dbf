"""The parts of a training's state: what changes together lies together, in a checkpoint as in memory.

Each part is one file, and one artifact. See ``docs/adr/0008-checkpoints-by-groups-of-tensors.md``.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias, TypeVar

from torch import Tensor

from milepost_trainer.engine.state import AVERAGE, BEST, FROZEN, MODEL, OPTIMIZER

EntryT = TypeVar("EntryT")

PartName: TypeAlias = Literal["model", "optimizer", "average", "best", "frozen", "rest"]

PREFIXES: Mapping[PartName, str] = {
    "model": MODEL,
    "optimizer": OPTIMIZER,
    "average": AVERAGE,
    "best": BEST,
    "frozen": FROZEN,
    "rest": "",
}
"""What the keys of a part begin with in the state, and do without in its file: equal weights are equal files."""

PARTS_BY_PREFIX: Mapping[str, PartName] = {
    prefix.removesuffix("."): part for part, prefix in PREFIXES.items() if prefix
}

COPIED_PARTS: tuple[PartName, ...] = ("model", "optimizer", "average")
"""What an optimizer step changes; the engine refers to it and copies all the rest."""


def split(tensors: Mapping[str, Tensor]) -> dict[PartName, dict[str, Tensor]]:
    """Sort the tensors of a state into parts, by the names in the parts' files; empty parts are left out."""
    found: dict[PartName, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        prefix, _, name = key.partition(".")
        part = PARTS_BY_PREFIX.get(prefix)
        if part is None:
            found.setdefault("rest", {})[key] = tensor
        else:
            found.setdefault(part, {})[name] = tensor
    return found


def with_keys(part: PartName, entries: Mapping[str, EntryT]) -> dict[str, EntryT]:
    """Return what belongs to the tensors of a part by their keys in the state."""
    return {PREFIXES[part] + name: entry for name, entry in entries.items()}


def file_of(part: PartName) -> str:
    """Return the artifact name of a part."""
    return f"{part}.safetensors"
