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
TRACEBACK_CHARACTERS_MAX = 16_000
"""Failures travel in events; a line of a traceback may be as long as a team's code makes it."""


class InvalidInputError(Exception):
    """The job could not be built from its spec and inputs."""


_CODES: tuple[tuple[type[Exception], FailureCode, str | None], ...] = (
    (FingerprintMismatchError, FailureCode.FINGERPRINT_MISMATCH, "start a new operation"),
    (CheckpointDamagedError, FailureCode.CHECKPOINT_DAMAGED, "resume from an earlier checkpoint"),
    (ArtifactDamagedError, FailureCode.INPUT_DAMAGED, "add the dataset again"),
    (InvalidInputError, FailureCode.INVALID_INPUT, None),
)


_NO_MEMORY = ("DefaultCPUAllocator: can't allocate memory", "DefaultCPUAllocator: not enough memory")
"""Words of torch, which raises a plain RuntimeError on a CPU."""


def describe_failure(error: BaseException) -> Failure:
    """Return the failure for what a job raised, with the end of its traceback; never raises itself."""
    message = _words(error)
    code, fix = _code(error, message)
    lines = "".join(traceback.format_exception(error)).rstrip().splitlines()
    tail = "\n".join(lines[-TRACEBACK_LINES:])
    return Failure(
        code=code,
        message=message,
        error_type=type(error).__qualname__,
        traceback_tail=_sendable(tail[-TRACEBACK_CHARACTERS_MAX:]),
        fix=fix,
    )


def _code(error: BaseException, message: str) -> tuple[FailureCode, str | None]:
    if isinstance(error, FingerprintMismatchError) and error.environment_only:
        return (
            FailureCode.FINGERPRINT_MISMATCH,
            "resume with the same environment, or accept the new one: `milepost resume --accept-environment`",
        )
    if _out_of_memory(error, message):
        return (
            FailureCode.OUT_OF_MEMORY,
            "use a worker with more memory and resume, or start anew with smaller batches or a smaller model",
        )
    if isinstance(error, SystemExit):
        return FailureCode.ERROR, "a task reports errors by raising them; it must not end the process"
    return next(
        ((code, fix) for error_type, code, fix in _CODES if isinstance(error, error_type)),
        (FailureCode.ERROR, None),
    )


def _out_of_memory(error: BaseException, message: str) -> bool:
    """Python's and numpy's error, torch's on a device (by its name: torch is not known here), torch's on a CPU."""
    names = {found.__name__ for found in type(error).__mro__}
    return "MemoryError" in names or "OutOfMemoryError" in names or any(w in message for w in _NO_MEMORY)


def _words(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"the job called sys.exit({error.code!r})"[:MESSAGE_CHARACTERS_MAX]
    try:
        words = str(error)
    # A team's exception may fail at its own words; the failure is told all the same.
    except Exception:  # noqa: BLE001
        words = ""
    return _sendable((words or type(error).__name__)[:MESSAGE_CHARACTERS_MAX])


def _sendable(text: str) -> str:
    """Text that JSON in UTF-8 can carry: lone surrogates come from file names that are none."""
    return text.encode("utf-8", errors="replace").decode()
