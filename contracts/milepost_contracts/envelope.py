"""The envelope of every message: a CloudEvents 1.0 document in structured JSON mode.

Source: CloudEvents 1.0.2 core and JSON format; the extensions are ``correlationid``, ``causationid``,
``importedfrom``, ``sequence`` (extension "sequence", a string) and ``traceparent`` ("distributed tracing").
"""

from typing import Literal

from pydantic import AwareDatetime, Field

from milepost_contracts.model import ContractModel, JsonObject

CONTENT_TYPE = "application/cloudevents+json"


class Envelope(ContractModel):
    """One message on the bus. ``data`` is decoded by its ``type``, after upcasting."""

    specversion: Literal["1.0"] = "1.0"
    id: str = Field(min_length=1, max_length=128)
    """Also the message id on the bus: the same id is the same message. For a command, its idempotency key."""
    source: str = Field(min_length=1)
    """Who wrote it, such as ``/worker/w-1`` or ``/orchestrator/o-1``."""
    type: str = Field(pattern=r"^milepost\.(operation|command)\.[a-z-]+\.v[0-9]+$")
    subject: str = Field(min_length=1)
    """The operation it is about; for a start command, the kind."""
    time: AwareDatetime
    datacontenttype: Literal["application/json"] = "application/json"
    correlationid: str | None = None
    """Root of the lineage: the same for an operation and everything resumed from it."""
    causationid: str | None = None
    """Id of the command or event that led to this one."""
    sequence: str | None = None
    """Position in the JetStream stream; present on messages that were read back, absent when sent."""
    importedfrom: str | None = None
    """Digest of the history file that the event was imported from; it is for reading, nothing follows from it."""
    traceparent: str | None = None
    data: JsonObject
