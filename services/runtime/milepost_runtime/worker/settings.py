"""How a worker behaves: frozen, validated at construction."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from milepost_contracts.capabilities import Capabilities
from milepost_contracts.checkpoints import CheckpointPolicySpec
from pydantic import ValidationError

from milepost_runtime.errors import SettingsError
from milepost_runtime.worker.machine import capabilities_of


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """One worker host of one kind."""

    worker_id: str
    kind: str
    directory: Path
    """Spool, inputs and results of running operations; may be empty, may be lost."""
    slots: int = 1
    """Operations computed at the same time, each in a child of its own."""
    lease_seconds: float = 10.0
    """How long an operation stays this worker's without a word from it."""
    takeover_patience_seconds: float = 2.0
    """How long a present owner may take to answer before its operation is taken over."""
    heartbeat_seconds: float = 3.0
    progress_seconds: float = 0.25
    """Least time between two progress events of an operation; the last one is never dropped."""
    cancel_grace_seconds: float = 30.0
    """How long a child may take to reach the end of its unit before it is ended by force."""
    kill_grace_seconds: float = 5.0
    """Between SIGTERM and SIGKILL of such a child."""
    start_grace_seconds: float = 120.0
    """How long a child may take for its imports."""
    outage_patience_seconds: float = 3600.0
    """How long a run waits for a bus or store that is away before it gives up the attempt."""
    retry_delay_seconds: float = 1.0
    """Wait before an operation whose attempt was lost is given to a worker again; doubles each time."""
    checkpoint: CheckpointPolicySpec | None = None
    """When to save, unless the command says otherwise; the kind's own default when absent."""
    capabilities: Capabilities = field(default_factory=Capabilities)
    """What this worker has, for operations that need something."""

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise SettingsError(f"slots must be at least 1, not {self.slots}")
        if self.lease_seconds < 1.0:
            raise SettingsError("lease_seconds must be at least 1: renewals come three times a lease")
        for name in ("heartbeat_seconds", "progress_seconds", "cancel_grace_seconds", "start_grace_seconds"):
            if getattr(self, name) <= 0:
                raise SettingsError(f"{name} must be positive")

    @property
    def renewal_seconds(self) -> float:
        """Time between two renewals: two may be missed before the lease ends."""
        return self.lease_seconds / 3

    @classmethod
    def from_environment(
        cls, worker_id: str, kind: str, directory: Path, environment: Mapping[str, str] = os.environ
    ) -> Self:
        """Read MILEPOST_WORKER_SLOTS, _LEASE_SECONDS, _CANCEL_GRACE_SECONDS, _CHECKPOINT, and what it has."""
        checkpoint = environment.get("MILEPOST_WORKER_CHECKPOINT")
        try:
            return cls(
                worker_id=worker_id,
                kind=kind,
                directory=directory,
                slots=int(environment.get("MILEPOST_WORKER_SLOTS", "1")),
                lease_seconds=float(environment.get("MILEPOST_WORKER_LEASE_SECONDS", "10")),
                cancel_grace_seconds=float(environment.get("MILEPOST_WORKER_CANCEL_GRACE_SECONDS", "30")),
                checkpoint=CheckpointPolicySpec.model_validate_json(checkpoint) if checkpoint else None,
                capabilities=capabilities_of(environment),
            )
        except (ValueError, ValidationError) as error:
            raise SettingsError(f"a MILEPOST_WORKER_* variable is wrong: {error}") from error
