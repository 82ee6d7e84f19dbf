"""Errors of the runtime; each docstring is the message. Causes are kept with ``raise ... from``."""

from collections.abc import Sequence

from milepost_contracts.failures import Problem


class RuntimeServiceError(Exception):
    """Something that Milepost needs did not do its part."""

    def __init__(self, detail: str = "") -> None:
        words = (self.__doc__ or "").strip()
        super().__init__(f"{words} ({detail})" if detail else words)
        self.detail = detail


class SettingsError(RuntimeServiceError):
    """A setting is missing or wrong."""


class BusUnavailableError(RuntimeServiceError):
    """The bus did not answer in time; check that NATS runs and MILEPOST_NATS_URL is right."""


class BusPermissionError(RuntimeServiceError):
    """The bus refused: this user may not do that; check the credentials and their permissions."""


class OrchestratorUnavailableError(BusUnavailableError):
    """No orchestrator answered; check that one runs (`milepost doctor`)."""


class BusRefusedError(RuntimeServiceError):
    """JetStream refused the request."""

    def __init__(self, detail: str = "", *, error_code: int = 0) -> None:
        super().__init__(detail)
        self.error_code = error_code
        """JetStream's ``err_code``, 0 when the request did not get that far."""


class TopologyError(RuntimeServiceError):
    """A JetStream stream is not as Milepost needs it and cannot be changed; rename or delete it."""


class EventDamagedError(RuntimeServiceError):
    """An event in the log cannot be decoded: it is damaged, or of a version that is not known here."""


class HistoryDamagedError(RuntimeServiceError):
    """The file is no history of operations, or it is damaged; export it again."""


class ArchiveDamagedError(RuntimeServiceError):
    """The archived events of an operation are not in the store as they were put there; restore the bucket."""


class ArchivedEndUnknownError(RuntimeServiceError):
    """The operation ended and is archived; how it ended is only in its history file, so ask the orchestrator."""


class HistoryConflictError(RuntimeServiceError):
    """The operation exists here with other events; nothing of it was imported."""


class RedactionError(RuntimeServiceError):
    """The field cannot be redacted: without it the event could not be read again."""


class SequenceConflictError(RuntimeServiceError):
    """Another writer appended first."""


class StoreUnavailableError(RuntimeServiceError):
    """The object store did not answer in time; check that it runs and MILEPOST_S3_ENDPOINT is right."""


class StoreAccessError(RuntimeServiceError):
    """The object store refused: wrong credentials or missing permissions."""


class StoreStoppedError(RuntimeServiceError):
    """Whoever asked the object store does not wait any more, so nothing more was begun for them."""


class ArtifactMissingError(RuntimeServiceError):
    """An artifact is not in the store."""


class ArtifactDamagedError(RuntimeServiceError):
    """An artifact's bytes do not match its digest or size."""


class CheckpointNotFoundError(RuntimeServiceError):
    """There is no such checkpoint."""


class CheckpointDamagedError(RuntimeServiceError):
    """A checkpoint cannot be loaded: artifacts are missing or damaged."""

    def __init__(self, detail: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(detail or "; ".join(f"{problem.field}: {problem.message}" for problem in problems))
        self.problems = tuple(problems)
        """Every bad artifact by name (``field``), not only the first."""


class FingerprintMismatchError(RuntimeServiceError):
    """The checkpoint was saved by other code or other data; resuming would not be exact."""

    def __init__(self, detail: str = "", *, environment_only: bool = False) -> None:
        super().__init__(detail)
        self.environment_only = environment_only
        """Whether the command could accept every difference."""


class UnknownKindError(RuntimeServiceError):
    """No kind of that name is registered under the entry point group milepost.kinds."""
