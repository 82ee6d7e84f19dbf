"""When to save a periodic checkpoint: a pure decision, carried out by the bridge."""

from dataclasses import dataclass

from milepost_contracts.checkpoints import CheckpointPolicySpec


@dataclass(frozen=True, slots=True)
class PolicyContext:
    """Everything the decision rests on. Seconds are of one monotonic clock."""

    unit: int
    """The unit boundary that was just reached, absolute."""
    total_units: int
    last_saved_unit: int
    """Unit of the newest checkpoint; the unit the run began with when it has saved none."""
    now_seconds: float
    started_seconds: float
    last_saved_seconds: float | None = None
    """When this run saved last, for whatever reason; None when it has not."""


class CheckpointPolicy:
    """Every N units, every T seconds, both, or never."""

    def __init__(self, spec: CheckpointPolicySpec) -> None:
        self._spec = spec

    def should_checkpoint(self, context: PolicyContext) -> bool:
        """Say whether a periodic checkpoint is due at this boundary.

        A multiple of ``every_units`` that was passed since the last save counts as reached: boundaries may be
        coarser than units, and a checkpoint that was held back is made up for at the next boundary.
        """
        if context.unit <= context.last_saved_unit or self._too_soon(context):
            return False
        return self._units_due(context) or self._seconds_due(context)

    def next_unit_due(self, unit: int) -> int | None:
        """Return the next multiple of ``every_units`` after ``unit``, None when units do not matter."""
        every = self._spec.every_units
        return None if every is None else (unit // every + 1) * every

    def _too_soon(self, context: PolicyContext) -> bool:
        last = context.last_saved_seconds
        return last is not None and context.now_seconds - last < self._spec.min_seconds

    def _units_due(self, context: PolicyContext) -> bool:
        every = self._spec.every_units
        return every is not None and context.unit // every > context.last_saved_unit // every

    def _seconds_due(self, context: PolicyContext) -> bool:
        every = self._spec.every_seconds
        last = context.last_saved_seconds
        since = context.started_seconds if last is None else last
        return every is not None and context.now_seconds - since >= every
