"""The orchestrator's HTTP interface, for reading: documents in, problem documents turned into errors."""

import json
import ssl
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, cast

import httpx
from milepost_contracts.failures import Problem

from milepost_cli import reader
from milepost_cli.errors import CommandError, NotFoundError, UnreachableError, UsageFaultError, refusal

TIMEOUT_SECONDS = 10.0
LINE_SECONDS = 60.0
PAGE_ITEMS = 200
PAGES_MAX = 500

_ERRORS: dict[frozenset[int], type[CommandError]] = {
    frozenset({400, 422}): UsageFaultError,
    frozenset({401, 403}): CommandError,
    frozenset({404}): NotFoundError,
    frozenset({503}): UnreachableError,
}
"""Errors by HTTP status; any other 4xx is a refusal and judged by its code."""

Parameters = Mapping[str, str | int | float | bool | list[str] | None]


class OrchestratorApi:
    """Reads over HTTP. Every method raises ``UnreachableError`` when nobody answers in time."""

    def __init__(
        self, base_url: str, token: str | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._base_url = base_url
        # The orchestrator is named by its address; a proxy of the environment is not meant for it.
        self._client = httpx.Client(
            base_url=base_url,
            headers=headers,
            timeout=TIMEOUT_SECONDS,
            transport=transport,
            trust_env=False,
            verify=_certificates(base_url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str, parameters: Parameters | None = None) -> dict[str, object]:
        """Return the document at ``path``.

        Raises:
            NotFoundError: there is none.
            CommandError: the orchestrator refused; its code, words and fix are kept.
        """
        given = {key: value for key, value in (parameters or {}).items() if value is not None}
        return self._document("GET", path, params=given)

    def post(self, path: str, body: Mapping[str, object], *, timeout_seconds: float) -> dict[str, object]:
        """Have something done that is no command about an operation; raises as ``get`` does."""
        return self._document("POST", path, json=dict(body), timeout=timeout_seconds)

    def _document(self, method: str, path: str, **request: Any) -> dict[str, object]:
        try:
            response = self._client.request(method, path, **request)
        except httpx.TransportError as error:
            raise UnreachableError(
                f"the orchestrator at {self._base_url} does not answer",
                fix="start the stack with `milepost up --detach`, or see what is wrong with `milepost doctor`",
            ) from error
        document = _json_of(response)
        if response.is_success:
            return document
        raise _problem(response.status_code, document)

    def post_lines(
        self, path: str, parameters: Parameters, body: Mapping[str, object], headers: Mapping[str, str]
    ) -> Iterator[dict[str, object]]:
        """Post, and yield each line of the answer as it comes; raises what ``get`` raises."""
        given = {key: value for key, value in parameters.items() if value is not None}
        try:
            with self._client.stream(
                "POST", path, params=given, json=dict(body), headers=dict(headers), timeout=LINE_SECONDS
            ) as response:
                if not response.is_success:
                    response.read()
                    raise _problem(response.status_code, _json_of(response))
                for line in response.iter_lines():
                    yield cast("dict[str, object]", json.loads(line))
        except httpx.RemoteProtocolError:
            return  # it broke off; whoever reads sees that the end is missing
        except httpx.TransportError as error:
            raise UnreachableError(
                f"the orchestrator at {self._base_url} does not answer",
                fix="start the stack with `milepost up --detach`, or see what is wrong with `milepost doctor`",
            ) from error

    def pages(self, path: str, key: str, parameters: Parameters | None = None) -> Iterator[dict[str, object]]:
        """Yield the items under ``key`` of every page, following ``next_cursor``."""
        cursor: str | None = None
        for _ in range(PAGES_MAX):
            page = self.get(path, {"limit": PAGE_ITEMS, **(parameters or {}), "cursor": cursor})
            yield from reader.objects(page, key)
            cursor = reader.text(page, "next_cursor")
            if cursor is None:
                return


def _certificates(base_url: str) -> ssl.SSLContext | bool:
    """Return what the server is verified by; plain HTTP needs none, and certificates take 30 ms to read."""
    return True if base_url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _json_of(response: httpx.Response) -> dict[str, object]:
    try:
        document = response.json()
    except ValueError:
        return {}
    return cast("dict[str, object]", document) if isinstance(document, dict) else {}


def _problem(status: int, document: dict[str, object]) -> CommandError:
    code = reader.text(document, "code") or f"http-{status}"
    message = reader.text(document, "detail") or reader.text(document, "title") or f"HTTP status {status}"
    fix = reader.text(document, "fix") or "`milepost doctor` says what is wrong"
    problems = [
        Problem(field=reader.text(item, "field") or "", message=reader.text(item, "message") or "")
        for item in reader.objects(document, "problems")
    ]
    for statuses, error in _ERRORS.items():
        if status in statuses:
            return error(message, fix=fix, code=code, problems=problems)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return CommandError(message, fix=fix, code=code, problems=problems)
    return refusal(code, message, fix, problems)
