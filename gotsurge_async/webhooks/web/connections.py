"""Bounds the connections of an aiohttp server, so that nobody can hold it up by opening many and sending nothing.

::

    connections = Connections()
    app = web.Application(middlewares=[connections.middleware])
    async with connections.serving(web.AppRunner(app), "127.0.0.1", 8766) as port:
        ...
"""

import asyncio
import logging
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import attrs
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger
from aiohttp.typedefs import Handler, Middleware

from gotsurge_async.clock import Clock, SystemClock
from gotsurge_async.webhooks.receive import Seldom

__all__ = ["Connections"]

log: logging.Logger = logging.getLogger(__name__)

HEADER_SECONDS = 10.0
"""How long the headers of a connection's first request may take."""
IDLE_SECONDS = 90.0
"""How long a connection that was answered may wait for the headers of its next request."""
MOST = 512
"""Connections at the same time, or fewer: a third of the files that the process may open."""
QUEUE = 1024
"""Connections that wait in the system until they are accepted."""
GRACE_SECONDS = 0.1
"""How long a connection may be idle before it has to make room for another one."""
SILENT_SECONDS = 0.5
"""The same for one that has sent nothing yet: its request may be on its way."""
BUSY_SECONDS = 1.0
"""The same for one that has a request, where all have one."""
_CHECK = 1.0
"""Seconds between two searches for connections that took too long, and between two tries to accept one."""


def most_connections() -> int:
    """The number of connections for which the process has files."""
    if sys.platform == "win32":
        return MOST
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if files == resource.RLIM_INFINITY else max(8, min(MOST, files // 3))


class Connections:
    """The connections of one server. Where there are too many, one of the address that has most is closed.

    That is the one that has been idle for longest: that has no request whose headers came whole. No more connections
    are accepted until one can be closed.

    Args:
        most: the number of connections at the same time, at most.
    """

    def __init__(self, most: int | None = None, *, clock: Clock | None = None) -> None:
        self.most: int = most or most_connections()
        self._clock = clock or SystemClock()
        self._seldom = Seldom(self._clock)
        self._idle: dict[_Connection, float] = {}
        """Those without a request, and since when, the longest first."""
        self._busy: dict[_Connection, float] = {}
        """Those with a request, and since when, the longest first."""
        self._by_handler: dict[Any, _Connection] = {}

    def __len__(self) -> int:
        return len(self._by_handler)

    @property
    def middleware(self) -> Middleware:
        """Notes which connections have a request: to be among the application's middlewares."""

        @web.middleware
        async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
            connection = self._by_handler.get(request.protocol)
            if connection is None:
                return await handler(request)
            self._idle.pop(connection, None)
            self._busy[connection] = self._clock.monotonic()
            try:
                return await handler(request)
            finally:
                self._busy.pop(connection, None)
                if request.protocol in self._by_handler:
                    connection.was_answered = True
                    self._idle[connection] = self._clock.monotonic()

        return note

    @asynccontextmanager
    async def serving(self, runner: web.AppRunner, host: str, port: int) -> AsyncIterator[int]:
        """Serve the runner's application inside the block, which gets the port.

        Raises:
            OSError: the address cannot be used.
        """
        await runner.setup()
        server_logger.addFilter(self._may_be_logged)
        factory, loop = cast("Callable[[], asyncio.Protocol]", runner.server), asyncio.get_running_loop()
        parts: list[asyncio.Task[None]] = []
        try:
            bound = await loop.create_server(factory, host, port, start_serving=False)
            listeners = [each.dup() for each in bound.sockets]
            bound.close()
            for listener in listeners:
                listener.setblocking(False)
                listener.listen(QUEUE)
                parts.append(asyncio.create_task(self._accept(listener, factory), name="gotsurge-accept"))
            parts.append(asyncio.create_task(self._close_late(), name="gotsurge-connections"))
            yield listeners[0].getsockname()[1]
        finally:
            for part in parts:
                part.cancel()
            if parts:
                await asyncio.wait(parts)
            await runner.cleanup()
            server_logger.removeFilter(self._may_be_logged)

    def _may_be_logged(self, record: logging.LogRecord) -> bool:
        """Whether aiohttp may log something: strangers can send any number of requests that it cannot read."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError | ConnectionError):
            record.exc_info = None  # no line of code is at fault
        return self._seldom.may(f"{record.msg} {type(error).__name__}")

    async def _accept(self, listener: socket.socket, factory: Callable[[], asyncio.Protocol]) -> None:
        """Accept connections, until cancelled; then the listener is closed."""
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                try:
                    accepted, _ = await loop.sock_accept(listener)
                    with _closed_on_error(accepted):
                        while len(self) >= self.most and not self._has_closed_one():
                            await self._clock.sleep(GRACE_SECONDS / 4)
                    await loop.connect_accepted_socket(lambda: _Connection(self, factory()), accepted)
                except ConnectionError:
                    continue  # it has gone again
                except OSError as error:
                    if self._seldom.may("accept"):
                        log.error("connections cannot be accepted now: %s", error)  # noqa: TRY400
                    await self._clock.sleep(_CHECK)

    async def _close_late(self) -> None:
        """Close connections whose headers do not come, until cancelled."""
        while True:
            await self._clock.sleep(_CHECK)
            now = self._clock.monotonic()
            for connection, since in list(self._idle.items()):
                if now >= since + (IDLE_SECONDS if connection.was_answered else HEADER_SECONDS):
                    connection.transport.abort()

    def _has_closed_one(self) -> bool:
        """Close the connection that has to make room; returns whether there is one."""
        now = self._clock.monotonic()
        late = [
            each
            for each, since in self._idle.items()
            if now >= since + (GRACE_SECONDS if each.has_begun else SILENT_SECONDS)
        ]
        if not self._idle:
            late = [each for each, since in self._busy.items() if now >= since + BUSY_SECONDS]
        if not late:
            return False
        ((crowded, _),) = Counter(each.address for each in late).most_common(1)
        if self._seldom.may("many"):
            log.warning("there are %d connections, many of %s: idle ones are closed", len(self), crowded or "a socket")
        connection = next(each for each in late if each.address == crowded)
        self.remove(connection)
        connection.transport.abort()
        return True

    def add(self, connection: "_Connection") -> None:
        """Count a new connection."""
        self._by_handler[connection.inner] = connection
        self._idle[connection] = self._clock.monotonic()

    def remove(self, connection: "_Connection") -> None:
        """Forget a connection that is closed, or is being closed."""
        self._by_handler.pop(connection.inner, None)
        self._idle.pop(connection, None)
        self._busy.pop(connection, None)


@contextmanager
def _closed_on_error(accepted: socket.socket) -> Iterator[None]:
    try:
        yield
    except BaseException:
        accepted.close()
        raise


@attrs.define(eq=False)
class _Connection(asyncio.Protocol):
    """Passes everything on to aiohttp's own protocol, and notes when the connection begins and ends."""

    _all: Connections
    inner: asyncio.Protocol
    transport: asyncio.Transport = attrs.field(init=False)
    address: str = attrs.field(default="", init=False)
    has_begun: bool = attrs.field(default=False, init=False)
    was_answered: bool = attrs.field(default=False, init=False)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else ""
        self.inner.connection_made(transport)
        self._all.add(self)

    def data_received(self, data: bytes) -> None:
        self.has_begun = True
        self.inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self.inner.eof_received()

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.remove(self)
        self.inner.connection_lost(exc)
