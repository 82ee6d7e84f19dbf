"""Trained models: how a spec names one, and what its card says to whoever does not load it."""

from typing import Self

from pydantic import ConfigDict, model_validator

from milepost_contracts.artifacts import ArtifactReference, Digest
from milepost_contracts.ids import OperationId
from milepost_contracts.model import ContractModel, JsonObject

MODEL_TASK = "bars"
"""The training task whose models a strategy can use."""
CARD_FILE, WEIGHTS_FILE = "model.json", "model.safetensors"
"""Names among a training's results."""


class ModelReference(ContractModel):
    """How a spec names a model: by its training when a person writes it, by digest once it is accepted."""

    operation: OperationId | None = None
    """A completed training, by its id or the beginning of it."""
    digest: Digest | None = None
    """Of the training's ``model.json``, which names its weights by their digest; wins over the operation."""

    @model_validator(mode="after")
    def _one_is_given(self) -> Self:
        if self.operation is None and self.digest is None:
            raise ValueError("give the training's operation, or the digest of its model.json")
        return self


class CardScaling(ContractModel):
    """The part of the scaling that says for whom it is."""

    model_config = ConfigDict(extra="ignore")

    symbols: dict[str, JsonObject] = {}
    """By symbol, when each has a scaling of its own."""


class ModelCard(ContractModel):
    """``model.json`` as far as commands are checked against it; the rest is the model's own."""

    model_config = ConfigDict(extra="ignore")

    task: str
    task_version: str = ""
    classes: tuple[str, ...] = ()
    """Names of what the model tells apart; none when it predicts returns."""
    weights: ArtifactReference
    scaling: CardScaling = CardScaling()
