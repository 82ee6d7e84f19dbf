"""What an operation needs of the machine that computes it, and what a worker has."""

from typing import Annotated, TypeAlias

from pydantic import Field, StringConstraints

from milepost_contracts.model import NO_FLAG, ContractModel

Label: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
LABELS_MAX = 32


class Needs(ContractModel):
    """What a worker must have to be given the operation; it waits in the queue until there is such a one."""

    gpus: Annotated[int, NO_FLAG] = Field(default=0, ge=0, le=64)
    memory_bytes: Annotated[int, NO_FLAG] = Field(default=0, ge=0)
    """Of the machine, or of the share of it that the worker may use."""
    labels: tuple[Label, ...] = Field(default=(), max_length=LABELS_MAX)
    """Words that the worker was started with, every one of them."""


class Capabilities(ContractModel):
    """What a worker has."""

    gpus: int = Field(default=0, ge=0)
    memory_bytes: int = Field(default=0, ge=0)
    """0 when it is not known, which is enough for nothing that asks for memory."""
    labels: tuple[Label, ...] = ()


def lacking(needs: Needs | None, capabilities: Capabilities) -> tuple[str, ...]:
    """Return what a worker lacks of what is needed, in words; nothing when it may have the operation."""
    if needs is None:
        return ()
    lacks: list[str] = []
    if capabilities.gpus < needs.gpus:
        lacks.append(_gpus(needs.gpus))
    if capabilities.memory_bytes < needs.memory_bytes:
        lacks.append(f"{needs.memory_bytes / 1e9:.3g} GB of memory")
    lacks.extend(f"the label {label}" for label in needs.labels if label not in capabilities.labels)
    return tuple(lacks)


def needs_words(needs: Needs) -> str:
    """Return all that is needed, in words."""
    return " and ".join(lacking(needs, Capabilities())) or "nothing"


def _gpus(count: int) -> str:
    return "a GPU" if count == 1 else f"{count} GPUs"
