"""S3 servers that misbehave: every call ends within its bounds, as the store's error."""

import socket
import threading
import time
from collections.abc import Callable

import pytest
from milepost_contracts.artifacts import ArtifactReference
from milepost_runtime.digests import digest_of_bytes
from milepost_runtime.errors import (
    ArtifactDamagedError,
    ArtifactMissingError,
    StoreAccessError,
    StoreUnavailableError,
)
from milepost_runtime.settings import StoreSettings
from milepost_runtime.store.s3 import S3ArtifactStore

pytestmark = pytest.mark.unit

REFERENCE = ArtifactReference(name="state.json", digest=digest_of_bytes(b"0123456789"), size_bytes=10)


class MisbehavingServer:
    """Answers every request with the same bytes, then closes; None never answers."""

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.requests = 0
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.recv(65536)
            self.requests += 1
            if self._answer is None:
                self._open.append(connection)
                continue
            connection.sendall(self._answer)
            connection.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self._open:
            connection.close()


@pytest.fixture
def serving():
    servers: list[MisbehavingServer] = []
    stores: list[S3ArtifactStore] = []

    def serve(answer: bytes | None) -> tuple[MisbehavingServer, S3ArtifactStore]:
        server = MisbehavingServer(answer)
        settings = StoreSettings(f"http://127.0.0.1:{server.port}", "key", "secret", "bucket")
        store = S3ArtifactStore(settings, connect_timeout_seconds=0.15, read_timeout_seconds=0.15)
        servers.append(server)
        stores.append(store)
        return server, store

    yield serve
    for store in stores:
        store.close()
    for server in servers:
        server.close()


def response(status: str, body: bytes = b"", length: int | None = None, media_type: str = "application/xml"):
    head = f"HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body


def error_body(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>words</Message></Error>".encode()


def calls(store: S3ArtifactStore, tmp_path) -> list[Callable[[], object]]:
    (tmp_path / "file").write_bytes(b"0123456789")
    return [
        lambda: store.put_file(tmp_path / "file", name="file", media_type="text/plain"),
        lambda: store.get_file(REFERENCE, tmp_path / "back"),
        lambda: store.verify(REFERENCE),
        lambda: store.exists(REFERENCE),
        lambda: store.delete_artifact(REFERENCE.digest),
        lambda: store.put_document("a.json", b"{}"),
        lambda: store.get_document("a.json"),
        lambda: store.delete_document("a.json"),
        lambda: list(store.list_objects("a")),
        store.ensure_bucket,
    ]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"",
        b"not http at all\r\n\r\n",
        response("503 Service Unavailable", error_body("SlowDown")),
        response("500 Internal Server Error", b"<html>", media_type="text/html"),
    ],
    ids=["silent", "closes", "garbage", "slow-down", "html-500"],
)
def test_server_that_is_away(serving, tmp_path, answer):
    """Whatever is called, a server that does not do its part is StoreUnavailableError, soon."""
    _, store = serving(answer)
    for call in calls(store, tmp_path):
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            call()
        assert time.monotonic() - began < 30  # bounded, not fast: machines are noisy
    assert not (tmp_path / "back").exists()


def test_nobody_listens(tmp_path):
    """A refused connection is StoreUnavailableError from every call."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    store = S3ArtifactStore(StoreSettings(f"http://127.0.0.1:{port}", "key", "secret"))
    for call in calls(store, tmp_path):
        with pytest.raises(StoreUnavailableError):
            call()
    store.close()


def test_retries_are_few(serving):
    """The client repeats a request twice at most: longer patience is the caller's."""
    server, store = serving(response("503 Service Unavailable", error_body("SlowDown")))
    with pytest.raises(StoreUnavailableError):
        store.get_document("a.json")
    assert server.requests == 3


def test_body_that_breaks_off(serving, tmp_path):
    """A download that ends early is an outage, not a damaged artifact, and leaves no file."""
    _, store = serving(response("200 OK", b"01234", length=10))
    with pytest.raises(StoreUnavailableError):
        store.get_file(REFERENCE, tmp_path / "back")
    with pytest.raises(StoreUnavailableError):
        store.get_document("a.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (response("404 Not Found", error_body("NoSuchKey")), ArtifactMissingError),
        (response("404 Not Found", error_body("NoSuchBucket")), StoreAccessError),
        (response("403 Forbidden", error_body("AccessDenied")), StoreAccessError),
        (response("403 Forbidden", error_body("SomethingNew")), StoreAccessError),
        (response("400 Bad Request", b"<html>", media_type="text/html"), StoreAccessError),
        (response("429 Too Many", error_body("SomethingNew")), StoreUnavailableError),
        (response("404 Not Found", b"<Error><Code>NoSuch"), StoreUnavailableError),
        (response("200 OK", b"01234567890"), ArtifactDamagedError),
        (response("200 OK", b"012345678"), ArtifactDamagedError),
        (response("200 OK", b"012345678!"), ArtifactDamagedError),
    ],
)
def test_answers_and_their_errors(serving, answer, error):
    """Each kind of answer has its one error."""
    _, store = serving(answer)
    with pytest.raises(error):
        store.verify(REFERENCE)
