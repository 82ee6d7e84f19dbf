"""Messages into a JetStream stream as fast as its server stores them, written in NATS's own protocol.

Every so many messages one is confirmed by the stream, and only so many confirmations are waited for at a time: a
server drops what it has no room to queue. A client library spends more on each message than the server does.
"""

import asyncio
import json
from collections.abc import Coroutine, Iterable
from itertools import islice
from typing import Any
from urllib.parse import unquote, urlsplit

CONFIRMED_EVERY = 512
OPEN_MAX = 8
"""Confirmations that are waited for: far fewer messages than the 10 000 that a server queues."""
ANSWER_SECONDS = 60.0
_INBOX = b"_INBOX.bulk"


async def publish_all(url: str, messages: Iterable[tuple[str, bytes]]) -> int:
    """Publish subjects and payloads in order and return how many; all are stored then.

    Raises:
        RuntimeError: the server refused one.
    """
    address = urlsplit(url.split(",", maxsplit=1)[0])
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    room = asyncio.Semaphore(OPEN_MAX)
    hearing: asyncio.Task[None] | None = None
    count, each = 0, iter(messages)
    try:
        await reader.readline()
        writer.write(_connect(unquote(address.username or ""), unquote(address.password or "")))
        hearing = asyncio.create_task(_hear(reader, writer, room))
        while block := list(islice(each, CONFIRMED_EVERY)):
            await _unless_ended(hearing, room.acquire())
            writer.write(_published(block))
            await writer.drain()
            count += len(block)
        for _ in range(OPEN_MAX):
            await _unless_ended(hearing, room.acquire())
    finally:
        if hearing is not None:
            hearing.cancel()
            await asyncio.wait({hearing})
        writer.close()
    return count


def _connect(user: str, password: str) -> bytes:
    options = {
        "verbose": False,
        "pedantic": False,
        "user": user,
        "pass": password,
        "name": "bulk",
        "lang": "python",
    }
    return b"CONNECT %b\r\nSUB %b 1\r\n" % (json.dumps(options).encode(), _INBOX)


def _published(block: list[tuple[str, bytes]]) -> bytes:
    parts = [b"PUB %b %d\r\n%b\r\n" % (subject.encode(), len(data), data) for subject, data in block]
    subject, data = block[-1]
    parts[-1] = b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), _INBOX, len(data), data)
    return b"".join(parts)


async def _hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, room: asyncio.Semaphore) -> None:
    while line := await reader.readline():
        if line.startswith(b"PING"):
            writer.write(b"PONG\r\n")
        elif line.startswith(b"-ERR"):
            raise RuntimeError(line.decode())
        elif line.startswith(b"MSG"):
            answer = json.loads(await reader.readexactly(int(line.split()[-1]) + 2))
            if "error" in answer:
                raise RuntimeError(str(answer["error"]))
            room.release()
    raise RuntimeError("the server closed the connection")


async def _unless_ended(hearing: asyncio.Task[None], waited_for: Coroutine[Any, Any, object]) -> None:
    """Wait, but not longer than answers can come."""
    waiting = asyncio.ensure_future(waited_for)
    done, _ = await asyncio.wait(
        {hearing, waiting}, timeout=ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED
    )
    if waiting in done:
        return
    waiting.cancel()
    if hearing in done:
        await hearing
    raise TimeoutError(f"no confirmation within {ANSWER_SECONDS:g} s")
