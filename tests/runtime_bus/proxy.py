"""A TCP proxy before NATS, to lose answers and connections at a chosen moment."""

import asyncio
from dataclasses import replace
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from milepost_runtime.settings import BusSettings

CHUNK_BYTES = 65536


class Proxy:
    """Passes bytes on until it is told not to."""

    def __init__(self, settings: BusSettings) -> None:
        self._target = settings
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.deaf = False
        """While true, nothing that the server says reaches the client."""
        self._swallowed = bytearray()
        self._swallowing = asyncio.Event()
        self._lost = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def settings(self) -> BusSettings:
        """The tenant's settings with the way through the proxy."""
        assert self._server is not None
        parts = urlsplit(self._target.url)
        port = self._server.sockets[0].getsockname()[1]
        netloc = f"{parts.username}:{parts.password}@127.0.0.1:{port}"
        return replace(self._target, url=urlunsplit(parts._replace(netloc=netloc)))

    def cut(self) -> None:
        """End every connection; new ones are accepted."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def swallowed(self, words: bytes) -> None:
        """Return once ``words`` were kept from the client."""
        while words not in self._swallowed:
            self._swallowing.clear()
            await self._swallowing.wait()

    async def lost_a_connection(self) -> None:
        """Return once the client has given up a connection."""
        await self._lost.wait()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = urlsplit(self._target.url)
        server_reader, server_writer = await asyncio.open_connection(target.hostname, target.port)
        self._writers |= {writer, server_writer}
        for source, sink, from_server in ((reader, server_writer, False), (server_reader, writer, True)):
            task = asyncio.create_task(self._pass_on(source, sink, from_server))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, from_server: bool
    ) -> None:
        try:
            while data := await source.read(CHUNK_BYTES):
                if from_server and self.deaf:
                    self._swallowed += data
                    self._swallowing.set()
                else:
                    sink.write(data)
                    await sink.drain()
        except ConnectionError:
            return  # cut
        finally:
            sink.transport.abort()
            self._lost.set()
            self._writers.discard(sink)
