"""Servers that misbehave, over real sockets of this machine, and the requests that they got.

A function handles each connection::

    async def closes_after_reading(serving: Peer, connection: Connection) -> None:
        await serving.whole(connection)

    async with peer(closes_after_reading) as serving:
        ...  # requests to serving.url
    assert len(serving.requests) == 1
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

__all__ = ["Connection", "Peer", "peer"]

OK: bytes = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Connection:
    """One connection as a peer sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader: asyncio.StreamReader = reader
        self.writer: asyncio.StreamWriter = writer

    async def head(self) -> bytes:
        """Read up to the end of the request's headers."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def request(self) -> bytes:
        """Read a whole request."""
        head = await self.head()
        lengths = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        return head + (await self.reader.readexactly(lengths[0]) if lengths else b"")

    async def say(self, data: bytes) -> None:
        """Write bytes, and wait until they are sent."""
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Peer:
    """A server whose connections are handled by a function of the test.

    Attributes:
        url: its address, ``http://127.0.0.1:PORT``.
        connections: the number of connections.
        requests: the requests that were read whole.
    """

    def __init__(self) -> None:
        self.url: str = ""
        self.connections: int = 0
        self.requests: list[bytes] = []

    async def whole(self, connection: Connection) -> bytes:
        """Read a whole request, and note it."""
        request = await connection.request()
        self.requests.append(request)
        return request


Behaviour: TypeAlias = Callable[[Peer, Connection], Awaitable[None]]
"""Handles a connection, which is closed when it returns."""


@asynccontextmanager
async def peer(behaviour: Behaviour, **options: Any) -> AsyncIterator[Peer]:
    """Serve ``behaviour`` on a free port of this machine; each connection is closed when it ends.

    Args:
        options: for `asyncio.start_server`, such as ``ssl``.
    """
    serving = Peer()
    tasks: set[asyncio.Task[None]] = set()

    async def handle(connection: Connection) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await behaviour(serving, connection)
        connection.writer.close()
        with suppress(ConnectionError):
            await connection.writer.wait_closed()

    # Not a coroutine: asyncio would run it as a task that can be cancelled before it has begun, and leaves the
    # connection open.
    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.connections += 1
        task = asyncio.ensure_future(handle(Connection(reader, writer)))
        task.add_done_callback(lambda _: writer.close())
        tasks.add(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, **options)
    host, port = server.sockets[0].getsockname()
    serving.url = f"http://{host}:{port}"
    try:
        yield serving
    finally:
        # What was accepted just now still becomes a connection: a server that is closed before leaves it open.
        asyncio.get_running_loop().remove_reader(server.sockets[0].fileno())
        for _ in range(3):
            await asyncio.sleep(0)
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
