"""What the S3 client can raise, mapped to the runtime's errors in this one place."""

from collections.abc import Generator
from contextlib import contextmanager
from xml.etree.ElementTree import ParseError

from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3.exceptions import HTTPError

from milepost_runtime.errors import (
    ArtifactMissingError,
    RuntimeServiceError,
    StoreAccessError,
    StoreUnavailableError,
)
from milepost_runtime.store.stopping import require_wanted

BY_CODE: dict[str, type[RuntimeServiceError]] = {
    "NoSuchKey": ArtifactMissingError,
    "NoSuchObject": ArtifactMissingError,
    "NoSuchBucket": StoreAccessError,
    "AccessDenied": StoreAccessError,
    "InvalidAccessKeyId": StoreAccessError,
    "SignatureDoesNotMatch": StoreAccessError,
    "RequestTimeTooSkewed": StoreAccessError,
    "InternalError": StoreUnavailableError,
    "ServiceUnavailable": StoreUnavailableError,
    "SlowDown": StoreUnavailableError,
    "RequestTimeout": StoreUnavailableError,
    "OperationAborted": StoreUnavailableError,
    "NoSuchUpload": StoreUnavailableError,  # a multipart upload that a restarted server forgot: begin again
    "XMinioServerNotInitialized": StoreUnavailableError,
}
"""S3 error codes; any other is judged by its HTTP status."""


def runtime_error(error: Exception, what: str) -> RuntimeServiceError:
    """Return the runtime's error for one of the client's; ``what`` says which object it is about."""
    detail = f"{what}: {_words(error)}"
    match error:
        case S3Error():
            status = int(error.response.status)
            return BY_CODE.get(error.code or "", _by_status(status))(detail)
        case ServerError():
            return _by_status(error.status_code)(detail)
        case InvalidResponseError():
            # The status has no public name in minio 7.2.
            return _by_status(int(getattr(error, "_code", 500)))(detail)
        case _:  # no answer, or one that is not S3's
            return StoreUnavailableError(detail)


@contextmanager
def translating(what: str) -> Generator[None]:
    """Turn the client's errors into the runtime's; errors of local files pass as they are.

    Raises:
        StoreStoppedError: nobody waits for the request, so it is not begun.
    """
    require_wanted()
    try:
        yield
    except (MinioException, HTTPError, ParseError) as error:
        raise runtime_error(error, what) from error


def _by_status(status: int) -> type[RuntimeServiceError]:
    if status in (408, 429) or status >= 500:
        return StoreUnavailableError
    return StoreAccessError


def _words(error: Exception) -> str:
    if isinstance(error, S3Error):
        return f"{error.code}, {error.message}"
    return f"{type(error).__name__}, {error}"[:300]
