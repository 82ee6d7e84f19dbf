"""What can go wrong for a person at the command line: each has an exit code, one line what and one line fix."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from milepost_contracts.failures import Problem, RejectionCode
from milepost_contracts.model import JsonObject
from milepost_contracts.verdicts import Rejected


class ExitCode(IntEnum):
    """What the shell sees; scripts may rely on these."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    REJECTED = 4
    UNREACHABLE = 5
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class ErrorWords:
    """An error as it is shown, to people and in JSON."""

    code: str
    message: str
    fix: str
    problems: tuple[Problem, ...] = ()
    details: Mapping[str, object] | None = None

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        document: dict[str, object] = {"code": self.code, "message": self.message, "fix": self.fix}
        if self.problems:
            document["problems"] = [problem.model_dump(mode="json") for problem in self.problems]
        document.update(self.details or {})
        return document


class CommandError(Exception):
    """The command could not do what was asked."""

    exit_code = ExitCode.FAILED
    default_code = "failed"

    def __init__(
        self,
        message: str,
        *,
        fix: str,
        code: str | None = None,
        problems: Sequence[Problem] = (),
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.words = ErrorWords(code or self.default_code, message, fix, tuple(problems), details)


class OperationEndedBadlyError(CommandError):
    """The operation that was waited for failed or was cancelled."""

    default_code = "operation-ended"


class UsageFaultError(CommandError):
    """The command line itself is wrong."""

    exit_code = ExitCode.USAGE
    default_code = "usage"


class NotFoundError(CommandError):
    """There is no such thing."""

    exit_code = ExitCode.NOT_FOUND
    default_code = "not-found"


class RefusedError(CommandError):
    """The command was understood and refused; nothing was started and nothing was lost."""

    exit_code = ExitCode.REJECTED
    default_code = "rejected"


class UnreachableError(CommandError):
    """Something that is needed does not answer."""

    exit_code = ExitCode.UNREACHABLE
    default_code = "unreachable"


_NOT_FOUND_CODES = {
    RejectionCode.OPERATION_NOT_FOUND.value,
    RejectionCode.CHECKPOINT_NOT_FOUND.value,
    RejectionCode.SCHEDULE_NOT_FOUND.value,
}


def refusal(
    code: str,
    message: str,
    fix: str,
    problems: Sequence[Problem] = (),
    details: Mapping[str, object] | None = None,
) -> CommandError:
    """Return the error for a refusal's code, whichever way it came: a verdict or a problem document."""
    error: type[CommandError] = RefusedError
    if code in _NOT_FOUND_CODES:
        error = NotFoundError
    elif code == RejectionCode.UNAVAILABLE.value:
        error = UnreachableError
    return error(message, fix=fix, code=code, problems=problems, details=details)


def error_of_verdict(rejected: Rejected) -> CommandError:
    """Return the error that says what a rejected verdict says."""
    details: JsonObject = {"command_id": rejected.command_id}
    if rejected.operation_id is not None:
        details["operation_id"] = rejected.operation_id
    return refusal(rejected.code.value, rejected.message, rejected.fix, rejected.problems, details)
