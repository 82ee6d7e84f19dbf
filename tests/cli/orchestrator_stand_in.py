"""A tiny HTTP server with an orchestrator's documents, for the commands that only read."""

import json
import threading
from collections import Counter
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
        query = parse_qs(parts.query)
        if parts.path in self.documents:
            return self.documents[parts.path]
        if parts.path not in self.lists:
            return 404, {"code": "not-found", "detail": f"nothing at {parts.path}", "fix": "look elsewhere"}
        key, items = self.lists[parts.path]
        for name in ("operation_id", "status", "kind", "reason"):
            items = [item for item in items if name not in query or item.get(name) in query[name]]
        (beginning,) = query.get("id_begins", [""])
        items = [item for item in items if str(item[f"{key[:-1]}_id"]).startswith(beginning)]
        start = int(query.get("cursor", ["0"])[0])
        count = len(items) if beginning else min(2, int(query.get("limit", ["2"])[0]))
        more = start + count < len(items)
        cursor = str(start + count) if more else None  # text, as the orchestrator's
        counts = Counter(str(item.get("status")) for item in items)
        return 200, {key: items[start : start + count], "next_cursor": cursor, "counts": counts}


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
