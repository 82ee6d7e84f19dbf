"""What a worker announces about its kind of work, so that commands can be checked before they start."""

from milepost_contracts.ids import KindName
from milepost_contracts.model import ContractModel, JsonObject


class KindDescription(ContractModel):
    """One kind of work: what its specs must look like."""

    kind: KindName
    unit_name: str
    """``bar``, ``epoch`` or ``step``."""
    spec_schema: JsonObject
    """JSON Schema of the spec."""
    parts: dict[str, dict[str, JsonObject]] = {}
    """Registered parts by the spec field that names them: ``{"strategy": {"sma-cross": <schema of its
    parameters>}}``. A spec names a part as ``{"name": ..., "parameters": {...}}``."""
    dataset_fields: tuple[str, ...] = ()
    """Top-level spec fields that hold a DatasetReference; pinned by digest when the command is accepted."""
    example: JsonObject = {}
    changeable: dict[str, tuple[str, ...]] = {}
    """What a fork may change: dotted spec fields (and all beneath them), each with the fingerprint's entries that
    differ then. A change that the checkpoint's state has no meaning for must not be named here."""
