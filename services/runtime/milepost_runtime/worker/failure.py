"""Turn an exception of a job into a failure that tells a person what happened."""

import traceback

from milepost_contracts.failures import Failure, FailureCode

from milepost_runtime.errors import (
    ArtifactDamagedError,
    CheckpointDamagedError,
    FingerprintMismatchError,
)

TRACEBACK_LINES = 30
MESSAGE_CHARACTERS_MAX = 4000


class InvalidInputError(Exception):
    """The job could not be built from its spec and inputs."""


_CODES: tuple[tuple[type[Exception], FailureCode, str | None], ...] = (
    (FingerprintMismatchError, FailureCode.FINGERPRINT_MISMATCH, "start a new operation"),
    (CheckpointDamagedError, FailureCode.CHECKPOINT_DAMAGED, "resume from an earlier checkpoint"),
    (ArtifactDamagedError, FailureCode.INPUT_DAMAGED, "add the dataset again"),
    (InvalidInputError, FailureCode.INVALID_INPUT, None),
)


def describe_failure(error: Exception) -> Failure:
    """Return the failure for an exception, with the end of its traceback."""
    code, fix = next(
        ((code, fix) for error_type, code, fix in _CODES if isinstance(error, error_type)),
        (FailureCode.ERROR, None),
    )
    if isinstance(error, FingerprintMismatchError) and error.environment_only:
        fix = (
            "resume with the same environment, or accept the new one: `milepost resume --accept-environment`"
        )
    lines = "".join(traceback.format_exception(error)).rstrip().splitlines()
    return Failure(
        code=code,
        message=(str(error) or type(error).__name__)[:MESSAGE_CHARACTERS_MAX],
        error_type=type(error).__qualname__,
        traceback_tail="\n".join(lines[-TRACEBACK_LINES:]),
        fix=fix,
    )
