"""Free TCP ports that stay free: outside the range from which the kernel serves outgoing connections.

A port of the ephemeral range may be taken by any client while its server is away for a restart; a client
that reconnects to it may even connect to itself.
"""

import asyncio
import secrets
import socket
from collections.abc import Collection
from contextlib import suppress

HOST = "127.0.0.1"
FIRST_PORT = 15_000
LAST_PORT = 31_999
TRIES_MAX = 2_000


def is_free(port: int) -> bool:
    """Say whether a server could listen on ``port`` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers themselves do: a connection that lingers from before a restart is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_ports(count: int, *, taken: Collection[int] = ()) -> list[int]:
    """Return ``count`` different free ports, none of them in ``taken``.

    Raises:
        OSError: not that many were found.
    """
    found: list[int] = []
    for _ in range(TRIES_MAX):
        if len(found) == count:
            return found
        port = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT + 1)
        if port not in found and port not in taken and is_free(port):
            found.append(port)
    raise OSError(f"no {count} free ports between {FIRST_PORT} and {LAST_PORT} on {HOST}")


async def accepts(port: int) -> bool:
    """Say whether somebody accepts connections on ``port``."""
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True
