"""Applications of ASGI and of aiohttp.web, served inside the test."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from aiohttp import web

GRACE = 1


class Prompt(uvicorn.Server):
    """A server that ends when it is told to: uvicorn looks for that, and for open connections, ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.told = asyncio.Event()

    async def main_loop(self) -> None:
        """Serve until the end is wanted."""
        await self.on_tick(0)  # without it answers have no date
        await self.told.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close what is idle, give the rest its time, and then end it."""
        for each in (*self.servers, *(sockets or [])):
            each.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(GRACE):
                while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0.001)
        except TimeoutError:
            for task in self.server_state.tasks:
                task.cancel()
        await self.lifespan.shutdown()


@asynccontextmanager
async def on_uvicorn(app: Any, listener: socket.socket, **options: Any) -> AsyncIterator[None]:
    """Serve an application inside the block, on a socket that is bound."""
    listener.listen()  # so that whoever comes early waits
    server = Prompt(uvicorn.Config(app, **{"log_config": None, "lifespan": "off", **options}))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.told.set()
        await running


@asynccontextmanager
async def on_aiohttp_web(app: web.Application, listener: socket.socket) -> AsyncIterator[None]:
    """Serve an application of aiohttp.web inside the block, on a socket that is bound."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield
    finally:
        await runner.cleanup()
