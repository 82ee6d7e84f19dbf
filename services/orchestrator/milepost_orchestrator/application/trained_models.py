"""Find the trained model that a spec names, and pin it: its files as inputs, itself by the digest of its card."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from milepost_contracts.artifacts import ArtifactReference, artifact_key
from milepost_contracts.trained_models import CARD_FILE, MODEL_TASK, WEIGHTS_FILE, ModelCard, ModelReference
from milepost_runtime.store.port import ArtifactStore
from pydantic import ValidationError

from milepost_orchestrator.application.operations import Operations
from milepost_orchestrator.domain.operation import Completed, Operation, status_of

BEGINNINGS_MAX = 5
CARD_BYTES_MAX = 4 * 1024 * 1024
FULL_ID_LENGTH = 19
"""``op-`` and sixteen characters; a shorter one is the beginning of an id."""


class OperationIds(Protocol):
    """Ids of operations by their beginning."""

    async def ids_beginning(self, beginning: str, *, limit: int) -> Sequence[str]:
        """Return ids that begin so, sorted.

        Raises:
            DatabaseUnavailableError: the read models are away.
        """
        ...


@dataclass(frozen=True, slots=True)
class PinnedModel:
    """A model that a run can use exactly so again."""

    reference: ModelReference
    """By operation, when it was named so, and by digest."""
    card: ModelCard
    inputs: tuple[ArtifactReference, ...]


class UnusableModelError(Exception):
    """The model cannot be used."""


class TrainedModels:
    """Models among the results of trainings."""

    def __init__(self, operations: Operations, ids: OperationIds, store: ArtifactStore) -> None:
        self._operations = operations
        self._ids = ids
        self._store = store

    async def pin(self, reference: ModelReference) -> PinnedModel:
        """Return the pinned model.

        Raises:
            UnusableModelError: there is no such model, or not one that a strategy can use; with the reason.
            BusUnavailableError, DatabaseUnavailableError, StoreUnavailableError: safe to repeat.
        """
        operation_id, digest = reference.operation, reference.digest
        if digest is None:
            operation_id, digest = await self._of_training(str(operation_id))
        card, size_bytes = await asyncio.to_thread(self._card, digest)
        if card.task != MODEL_TASK:
            raise UnusableModelError(
                f"the model is of the task {card.task}, a strategy uses those of {MODEL_TASK}"
            )
        if not await asyncio.to_thread(self._store.exists, card.weights):
            raise UnusableModelError(f"{WEIGHTS_FILE} is missing in the store: {card.weights.digest}")
        found = ArtifactReference(
            name=CARD_FILE, digest=digest, size_bytes=size_bytes, media_type="application/json"
        )
        return PinnedModel(ModelReference(operation=operation_id, digest=digest), card, (found, card.weights))

    async def _of_training(self, typed: str) -> tuple[str, str]:
        """Return the full id of a completed training and the digest of its card."""
        operation_id = await self._full_id(typed)
        state = await self._operations.load(operation_id)
        if state is None:
            raise UnusableModelError(f"there is no operation {typed}")
        _refuse_others(state)
        if not isinstance(state, Completed):
            raise UnusableModelError(f"the training {operation_id} is {status_of(state)}, not completed")
        digests = {artifact.name: artifact.digest for artifact in state.artifacts}
        missing = [name for name in (CARD_FILE, WEIGHTS_FILE) if name not in digests]
        if missing:
            raise UnusableModelError(f"the training {operation_id} left no {' and no '.join(missing)}")
        return operation_id, digests[CARD_FILE]

    async def _full_id(self, typed: str) -> str:
        beginning = typed if typed.startswith("op-") else f"op-{typed}"
        if len(beginning) >= FULL_ID_LENGTH:
            return beginning
        found = await self._ids.ids_beginning(beginning, limit=BEGINNINGS_MAX)
        if not found:
            raise UnusableModelError(f"there is no operation {typed}")
        if len(found) > 1:
            raise UnusableModelError(f"several operations begin with {typed}: {', '.join(found)}")
        return found[0]

    def _card(self, digest: str) -> tuple[ModelCard, int]:
        key = artifact_key(digest)
        if any(found.size_bytes > CARD_BYTES_MAX for found in self._store.list_objects(key)):
            raise UnusableModelError(f"{digest} is too large for a {CARD_FILE}")
        content = self._store.get_document(key)
        if content is None:
            raise UnusableModelError(f"{CARD_FILE} is missing in the store: {digest}")
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
            raise UnusableModelError(f"{CARD_FILE} is damaged in the store: {digest}")
        try:
            return ModelCard.model_validate_json(content), len(content)
        except ValidationError as error:
            raise UnusableModelError(
                f"{digest} is no {CARD_FILE} of a model that a strategy can use"
            ) from error


def _refuse_others(state: Operation) -> None:
    requested = state.facts.requested
    if requested.kind != "training":
        raise UnusableModelError(
            f"the operation {state.facts.operation_id} is a {requested.kind}, not a training"
        )
    task = requested.spec.get("task")
    name = task.get("name") if isinstance(task, dict) else None
    if name != MODEL_TASK:
        words = f"the training {state.facts.operation_id} is of the task {name}"
        raise UnusableModelError(f"{words}, a strategy uses models of {MODEL_TASK}")
