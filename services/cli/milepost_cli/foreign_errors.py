"""Errors of the parts below the command line, as words with a fix and an exit code, in one table."""

from milepost_infra import errors as infra
from milepost_orchestrator.application import errors as orchestrator
from milepost_runtime import errors as runtime

from milepost_cli.errors import ErrorWords, ExitCode

DOCTOR = "`milepost doctor` says what is wrong"
_TABLE: tuple[tuple[type[BaseException], ExitCode, str, str], ...] = (
    (
        runtime.BusUnavailableError,
        ExitCode.UNREACHABLE,
        "bus-unreachable",
        "start the stack with `milepost up --detach`, or see what is wrong with `milepost doctor`",
    ),
    (
        runtime.StoreUnavailableError,
        ExitCode.UNREACHABLE,
        "store-unreachable",
        "start the stack with `milepost up --detach`, or see what is wrong with `milepost doctor`",
    ),
    (
        orchestrator.DatabaseUnavailableError,
        ExitCode.UNREACHABLE,
        "database-unreachable",
        "start the stack with `milepost up --detach`, or set MILEPOST_DATABASE_URL",
    ),
    (
        orchestrator.RebuildInProgressError,
        ExitCode.FAILED,
        "rebuild-in-progress",
        "wait for the other rebuild, or end it",
    ),
    (
        orchestrator.SwapDelayedError,
        ExitCode.FAILED,
        "swap-delayed",
        "something reads for very long; run `milepost projections rebuild` again",
    ),
    (
        runtime.BusPermissionError,
        ExitCode.FAILED,
        "bus-permission",
        "use the credentials that the stack was set up with",
    ),
    (
        runtime.StoreAccessError,
        ExitCode.FAILED,
        "store-access",
        "check MILEPOST_S3_ACCESS_KEY and MILEPOST_S3_SECRET_KEY",
    ),
    (runtime.SettingsError, ExitCode.USAGE, "settings", "correct the setting that is named"),
    (
        runtime.HistoryDamagedError,
        ExitCode.FAILED,
        "history-damaged",
        "export it again with `milepost events export`",
    ),
    (
        runtime.HistoryConflictError,
        ExitCode.FAILED,
        "history-conflict",
        "compare them with `milepost events diff ID FILE`; import into a stack that does not have it",
    ),
    (runtime.RedactionError, ExitCode.FAILED, "redaction", "redact a field that holds text, or leave it"),
    (runtime.ArtifactMissingError, ExitCode.FAILED, "artifact-missing", DOCTOR),
    (runtime.ArtifactDamagedError, ExitCode.FAILED, "artifact-damaged", DOCTOR),
    (
        runtime.UnknownKindError,
        ExitCode.NOT_FOUND,
        "unknown-kind",
        "install the distribution that registers the kind",
    ),
    (
        infra.StackInUseError,
        ExitCode.FAILED,
        "stack-in-use",
        "`milepost down` stops it; --directory chooses another",
    ),
    (infra.StackError, ExitCode.FAILED, "stack", DOCTOR),
    (runtime.RuntimeServiceError, ExitCode.FAILED, "failed", DOCTOR),
    (PermissionError, ExitCode.FAILED, "permission", "check who may read and write there"),
    (OSError, ExitCode.FAILED, "system", "check the path, the space left and who may write there"),
)


def words_of(error: BaseException) -> tuple[ExitCode, ErrorWords]:
    """Return exit code and words; an error that nobody expected is called a bug."""
    for error_class, exit_code, code, fix in _TABLE:
        if isinstance(error, error_class):
            return exit_code, ErrorWords(code, str(error), fix)
    message = f"this is a bug in milepost: {type(error).__name__}: {error}"
    fix = "run it again with MILEPOST_DEBUG=1 and report what it prints"
    return ExitCode.FAILED, ErrorWords("bug", message, fix)
