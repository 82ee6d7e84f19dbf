"""A tiny HTTP server with an orchestrator's documents, for the commands that only read."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, dict[str, object]]


class OrchestratorStandIn(ThreadingHTTPServer):
    """Answers GET by path; lists are paged two items at a time, so that paging is always walked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.documents: dict[str, Answer] = {}
        self.lists: dict[str, tuple[str, list[dict[str, object]]]] = {}
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, target: str) -> Answer:
        self.asked.append(target)
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path in self.documents:
            return self.documents[parts.path]
        if parts.path not in self.lists:
            return 404, {"code": "not-found", "detail": f"nothing at {parts.path}", "fix": "look elsewhere"}
        key, items = self.lists[parts.path]
        for name in ("operation_id", "status", "kind", "reason"):
            items = [item for item in items if name not in query or item.get(name) == query[name]]
        start = int(query.get("cursor", 0))
        count = min(2, int(query.get("limit", 2)))
        more = start + count < len(items)
        return 200, {key: items[start : start + count], "next_cursor": start + count if more else None}


class _Handler(BaseHTTPRequestHandler):
    server: OrchestratorStandIn

    def do_GET(self) -> None:
        status, document = self.server.answer(self.path)
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def orchestrator_stand_in() -> Iterator[OrchestratorStandIn]:
    with OrchestratorStandIn() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
