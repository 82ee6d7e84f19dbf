"""How an operation came from another one, and what a fork changed."""

from enum import StrEnum

from pydantic import JsonValue

from milepost_contracts.model import ContractModel


class Relation(StrEnum):
    """Which command made an operation out of its parent."""

    RESUME = "resume"
    """Goes on from a checkpoint with nothing changed, and ends exactly as if the parent had never stopped."""
    FORK = "fork"
    """Goes on from a checkpoint with changed settings; the parent is left as it is."""
    RETRY = "retry"
    """Does a failed operation again from where that one began."""


class SettingChange(ContractModel):
    """One setting that a fork has otherwise than its parent."""

    field: str
    """Dotted path within the spec, such as ``optimizer.learning_rate``."""
    before: JsonValue = None
    after: JsonValue = None
