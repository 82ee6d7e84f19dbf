"""A small real orchestrator for tests of the supervisor: makes the streams, answers ``/readyz``."""

import asyncio
import os
from http.server import BaseHTTPRequestHandler, HTTPServer

from milepost_infra.endpoints import StackEndpoints
from milepost_runtime.bus.connection import connect
from milepost_runtime.bus.topology import ensure_topology


class Handler(BaseHTTPRequestHandler):
    """Ready as soon as it listens."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


async def make_streams() -> None:
    endpoints = StackEndpoints.from_environment()
    connection = await connect(endpoints.bus, name="stand-in")
    await ensure_topology(connection, endpoints.bus)
    await connection.close()


if __name__ == "__main__":
    asyncio.run(make_streams())
    HTTPServer(
        (os.environ["MILEPOST_HTTP_HOST"], int(os.environ["MILEPOST_HTTP_PORT"])), Handler
    ).serve_forever()
