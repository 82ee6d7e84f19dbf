"""Refusals over HTTP: problem documents (RFC 9457) with our code, what to do, and everything that is wrong."""

from collections.abc import Sequence
from typing import Any

from fastapi.responses import JSONResponse
from milepost_contracts.failures import Problem, RejectionCode
from milepost_contracts.verdicts import Rejected

MEDIA_TYPE = "application/problem+json"
_STATUS: dict[RejectionCode, int] = {
    RejectionCode.INVALID_COMMAND: 422,
    RejectionCode.INVALID_SPEC: 422,
    RejectionCode.UNKNOWN_KIND: 422,
    RejectionCode.UNKNOWN_DATASET: 422,
    RejectionCode.OPERATION_NOT_FOUND: 404,
    RejectionCode.CHECKPOINT_NOT_FOUND: 404,
    RejectionCode.NOT_CANCELLABLE: 409,
    RejectionCode.ALREADY_CANCELLING: 409,
    RejectionCode.NOT_RESUMABLE: 409,
    RejectionCode.RESUME_IN_PROGRESS: 409,
    RejectionCode.NOT_RUNNING: 409,
    RejectionCode.CHECKPOINT_IN_USE: 409,
    RejectionCode.CHECKPOINT_PINNED: 409,
    RejectionCode.PIN_UNCHANGED: 409,
    RejectionCode.NOT_RETRYABLE: 409,
    RejectionCode.NOTHING_TO_FORK: 409,
    RejectionCode.NOT_CHANGEABLE: 422,
    RejectionCode.NOTHING_CHANGED: 422,
    RejectionCode.ARTIFACTS_MISSING: 409,
    RejectionCode.COMMAND_ID_REUSED: 409,
    RejectionCode.ALREADY_HELD: 409,
    RejectionCode.NOT_HELD: 409,
    RejectionCode.LIMIT_UNCHANGED: 409,
    RejectionCode.WORKER_NOT_FOUND: 404,
    RejectionCode.DRAIN_UNCHANGED: 409,
    RejectionCode.COUNT_DIFFERS: 409,
    RejectionCode.COUNT_NEEDED: 422,
    RejectionCode.TOO_MANY: 422,
    RejectionCode.INVALID_SCHEDULE: 422,
    RejectionCode.SCHEDULE_NOT_FOUND: 404,
    RejectionCode.SCHEDULE_UNCHANGED: 409,
    RejectionCode.NOT_QUEUED: 409,
    RejectionCode.PRIORITY_UNCHANGED: 409,
    RejectionCode.UNAVAILABLE: 503,
}


def problem(
    status: int,
    code: str,
    detail: str,
    fix: str,
    *,
    problems: Sequence[Problem] = (),
    **members: Any,
) -> JSONResponse:
    """Return a problem document."""
    return JSONResponse(
        {
            "type": f"urn:milepost:{code}",
            "title": code.replace("-", " "),
            "status": status,
            "detail": detail,
            "code": code,
            "fix": fix,
            "problems": [each.model_dump(mode="json") for each in problems],
            **members,
        },
        status_code=status,
        media_type=MEDIA_TYPE,
    )


def problem_of(rejected: Rejected) -> JSONResponse:
    """Return the problem document of a refused command."""
    return problem(
        _STATUS[rejected.code],
        rejected.code.value,
        rejected.message,
        rejected.fix,
        problems=rejected.problems,
        command_id=rejected.command_id,
        operation_id=rejected.operation_id,
    )


def not_found(noun: str, wanted: str, fix: str) -> JSONResponse:
    """Return the problem document of something that is not there."""
    return problem(404, f"{noun}-not-found", f"there is no {noun} {wanted}", fix)
