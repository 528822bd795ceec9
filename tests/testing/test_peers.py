"""`gotsurge_async.testing.peers`: servers that misbehave as they are told to, and leave nothing open."""

import asyncio
import socket
from contextlib import suppress

import pytest

from gotsurge_async.testing.peers import Connection, Peer, peer


@pytest.mark.parametrize("turns", range(8))
async def test_a_connection_that_arrives_as_the_server_ends_is_closed(turns: int) -> None:
    """Wherever the acceptance stands when the block ends, the other end sees the connection close."""

    async def says_nothing(_: Peer, connection: Connection) -> None:
        await connection.reader.read()

    async with peer(says_nothing) as serving:
        arriving = socket.create_connection(("127.0.0.1", int(serving.url.rpartition(":")[2])), timeout=5)
        for _ in range(turns):
            await asyncio.sleep(0)
    with arriving, suppress(ConnectionResetError):  # reset, where it was never accepted
        assert await asyncio.to_thread(arriving.recv, 1) == b""
