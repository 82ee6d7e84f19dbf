"""What a worker says of itself, every few seconds."""

from pydantic import AwareDatetime

from milepost_contracts.capabilities import Capabilities
from milepost_contracts.dispatch import Drain
from milepost_contracts.ids import KindName, OperationId, WorkerId
from milepost_contracts.model import ContractModel


class WorkerHeartbeat(ContractModel):
    """A live worker; gone from the fleet when it stops saying so."""

    worker_id: WorkerId
    kind: KindName
    host: str
    pid: int
    slots: int
    device: str
    version: str
    operations: tuple[OperationId, ...]
    started_at: AwareDatetime
    seen_at: AwareDatetime
    capabilities: Capabilities = Capabilities()
    """What it has, for operations that need something."""
    drain: Drain | None = None
    """Why it takes nothing new, since it knows of it; None when it takes work."""
