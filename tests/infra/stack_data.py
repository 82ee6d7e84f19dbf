"""Something to find again in each of the three servers."""

import asyncio
import io

import asyncpg
import nats
from milepost_infra.endpoints import StackEndpoints

from tests.support.stack import minio_client

WORDS = b"still here"


async def write_everywhere(endpoints: StackEndpoints) -> None:
    """Leave the words in a JetStream stream, a table and an object."""
    client = await nats.connect(endpoints.bus.url)
    await client.jetstream().add_stream(name="KEEP", subjects=["keep.>"])
    await client.jetstream().publish("keep.words", WORDS)
    await client.close()
    connection = await asyncpg.connect(endpoints.database_url.replace("+asyncpg", ""))
    await connection.execute("CREATE TABLE keep (words bytea)")
    await connection.execute("INSERT INTO keep VALUES ($1)", WORDS)
    await connection.close()
    store = minio_client(endpoints.store)
    await asyncio.to_thread(
        store.put_object, endpoints.store.bucket, "keep/words", io.BytesIO(WORDS), len(WORDS)
    )


async def read_everywhere(endpoints: StackEndpoints) -> list[bytes]:
    """Return what is in the three places."""
    client = await nats.connect(endpoints.bus.url)
    message = await client.jetstream().get_last_msg("KEEP", "keep.words")
    await client.close()
    connection = await asyncpg.connect(endpoints.database_url.replace("+asyncpg", ""))
    row = await connection.fetchval("SELECT words FROM keep")
    await connection.close()
    return [message.data or b"", row, await asyncio.to_thread(_read_object, endpoints)]


def _read_object(endpoints: StackEndpoints) -> bytes:
    response = minio_client(endpoints.store).get_object(endpoints.store.bucket, "keep/words")
    try:
        return response.read()
    finally:
        response.close()
        response.release_conn()
