"""Bounds the connections of an aiohttp server, so that no client can block it by opening many and sending nothing.

::

    connections = Connections()
    app = web.Application(middlewares=[connections.middleware])
    async with connections.serving(web.AppRunner(app), "127.0.0.1", 8766) as port:
        ...
"""

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import attrs
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger
from aiohttp.typedefs import Handler, Middleware

from gotsurge_async.clock import Clock, SystemClock
from gotsurge_async.webhooks.receive import Seldom, network_of

__all__ = ["Connections"]

log: logging.Logger = logging.getLogger(__name__)

HEADER_SECONDS = 10.0
"""Seconds that the headers of a connection's first request may take."""
IDLE_SECONDS = 90.0
"""Seconds that a connection may wait for the headers of its next request after an answer."""
MOST = 512
"""The most connections at the same time, unless a third of the files that the process may open is less."""
QUEUE = 1024
"""The connections that wait in the system until they are accepted."""
_TOGETHER = 8
"""Connections that are accepted in one turn of the event loop, at most."""
_TURNS = 5
"""Turns of the event loop in which the request of a new connection is read, and reaches the application."""
_CHECK = 1.0
"""Seconds between two searches for connections that took too long."""


def most_connections() -> int:
    """The number of connections for which the process has files."""
    if sys.platform == "win32":
        return MOST
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if files == resource.RLIM_INFINITY else max(8, min(MOST, files // 3))


class Connections:
    """The connections of one server. Where there are too many, one of those that have no request is closed.

    It is the longest idle one of the address (for IPv6, the network of 64 bits) that has most of them. A connection
    whose request may just be arriving stays as long as there is an older one. If all others have a request, the new
    one is closed: a sender that was cut off would send its event again, and so add to what is too much.

    Args:
        most: the greatest number of connections at the same time.
    """

    def __init__(self, most: int | None = None, *, clock: Clock | None = None) -> None:
        self.most: int = most or most_connections()
        self._clock = clock or SystemClock()
        self._seldom = Seldom(self._clock)
        self._idle: dict[_Connection, float] = {}
        """Those without a request, and how long they may stay so; the longest idle first."""
        self._by_handler: dict[Any, _Connection] = {}
        self._turn = self._last_turn = 0  # of the event loop; counted up to the last one that matters

    def __len__(self) -> int:
        return len(self._by_handler)

    @property
    def middleware(self) -> Middleware:
        """A middleware for the application, which notes the connections that have a request."""

        @web.middleware
        async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
            connection = self._by_handler.get(request.protocol)
            if connection is None:
                return await handler(request)
            self._idle.pop(connection, None)
            try:
                return await handler(request)
            finally:
                if request.protocol in self._by_handler:
                    connection.is_silent = True
                    self._idle[connection] = self._clock.monotonic() + IDLE_SECONDS

        return note

    @asynccontextmanager
    async def serving(self, runner: web.AppRunner, host: str, port: int) -> AsyncIterator[int]:
        """Serve the runner's application inside the block, which gets the port.

        Raises:
            OSError: the address cannot be used.
        """
        await runner.setup()
        server_logger.addFilter(self._may_be_logged)
        made = cast("Callable[[], asyncio.Protocol]", runner.server)
        loop, together = asyncio.get_running_loop(), min(_TOGETHER, self.most)
        closing = asyncio.create_task(self._close_late(), name="gotsurge-connections")
        server: asyncio.Server | None = None
        try:
            server = await loop.create_server(
                lambda: cast("asyncio.Protocol", _Connection(self, made())), host, port, backlog=together
            )
            for listener in server.sockets:
                with listener.dup() as same:
                    same.listen(QUEUE)  # the system holds more than the loop accepts together
            yield server.sockets[0].getsockname()[1]
        finally:
            if server is not None:
                server.close()
            closing.cancel()
            await asyncio.wait([closing])
            await runner.cleanup()
            server_logger.removeFilter(self._may_be_logged)

    def _may_be_logged(self, record: logging.LogRecord) -> bool:
        """Whether aiohttp may log a record: strangers can send any number of requests that it cannot read."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError | ConnectionError):
            record.exc_info = None  # no line of code is at fault
        return self._seldom.may(f"{record.msg} {type(error).__name__}")

    async def _close_late(self) -> None:
        """Close connections whose headers do not arrive, until cancelled."""
        while True:
            await self._clock.sleep(_CHECK)
            now = self._clock.monotonic()
            for connection in [each for each, until in self._idle.items() if now >= until]:
                connection.transport.abort()

    def add(self, connection: "_Connection") -> None:
        """Count a new connection, unless it is the one that must be closed because there are too many."""
        self._by_handler[connection.inner] = connection
        self._idle[connection] = self._clock.monotonic() + HEADER_SECONDS
        self.spare(connection)
        if len(self) > self.most:
            counts = Counter(each.address for each in self._by_handler.values())
            most = max(counts[each.address] for each in self._idle)
            may_go = [each for each in self._idle if counts[each.address] == most]
            # None is settled: the newest, because the request of the oldest is read next.
            chosen = next((each for each in may_go if each.spared_until <= self._turn), may_go[-1])
            crowded = chosen.address
            if self._seldom.may("many"):
                closed = "new ones are closed" if chosen is connection else "those without a request are closed"
                log.warning("there are %d connections, many from %s: %s", self.most, crowded or "a socket", closed)
            self.remove(chosen)
            chosen.transport.abort()

    def spare(self, connection: "_Connection") -> None:
        """Keep a connection for the turns of the event loop in which its request may reach the application."""
        if self._last_turn <= self._turn:
            asyncio.get_running_loop().call_soon(self._count_turn)
        connection.spared_until = self._last_turn = self._turn + _TURNS

    def _count_turn(self) -> None:
        self._turn += 1
        if self._turn < self._last_turn:
            asyncio.get_running_loop().call_soon(self._count_turn)

    def remove(self, connection: "_Connection") -> None:
        """Remove a connection that is closed, or is being closed."""
        self._by_handler.pop(connection.inner, None)
        self._idle.pop(connection, None)


@attrs.define(eq=False)
class _Connection:
    """Passes everything on to aiohttp's own protocol, and notes when the connection begins and ends."""

    _all: Connections
    inner: asyncio.Protocol
    transport: asyncio.Transport = attrs.field(init=False)
    address: str = attrs.field(default="", init=False)
    is_silent: bool = attrs.field(default=True, init=False)
    """Nothing was received since it is idle."""
    spared_until: int = attrs.field(default=0, init=False)

    def __getattr__(self, event: str) -> Any:
        return getattr(self.inner, event)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.address = network_of(peer[0]) if isinstance(peer, tuple) else ""
        self.inner.connection_made(transport)
        self._all.add(self)

    def data_received(self, data: bytes) -> None:
        if self.is_silent:
            self.is_silent = False
            self._all.spare(self)
        self.inner.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.remove(self)
        self.inner.connection_lost(exc)
