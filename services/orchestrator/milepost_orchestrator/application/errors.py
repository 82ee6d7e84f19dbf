"""Errors of the orchestrator; each docstring is the message."""

from milepost_runtime.errors import RuntimeServiceError


class DatabaseUnavailableError(RuntimeServiceError):
    """Postgres did not answer in time; check that it runs and MILEPOST_DATABASE_URL is right."""


class DatabaseRefusedError(RuntimeServiceError):
    """Postgres refused: wrong credentials, missing permissions, or the database does not exist."""


class CursorMovedError(RuntimeServiceError):
    """The projection's cursor went back: the database was restored or emptied. Reading starts anew from there."""


class UnwritableError(RuntimeServiceError):
    """Postgres refuses what is in a row."""


class RebuildInProgressError(RuntimeServiceError):
    """Another rebuild or an archiving of the same read models runs; wait for it or end it."""


class ProjectionBehindError(RuntimeServiceError):
    """Nobody follows the log; see whether an orchestrator runs (`milepost doctor`), then repeat."""


class SwapDelayedError(RuntimeServiceError):
    """Readers did not let go of the tables in time; the rebuilt read models are not in place. Try again."""


class ContendedError(RuntimeServiceError):
    """Other writers were first too many times in a row; repeating the command is safe."""


class StoreSharedError(RuntimeServiceError):
    """The object store is not this stack's alone: what nothing refers to cannot be told, nothing was removed."""
