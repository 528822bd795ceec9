"""Applications of ASGI and of aiohttp.web, served inside the test, or in a process of their own."""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import attrs
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


def a_free_url() -> str:
    """The address of a port on this machine that nobody has."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@attrs.define
class Program:
    """An application that uvicorn serves in a process of its own, at the same address in each life."""

    app: str
    folder: Path
    environment: Mapping[str, str]
    url: str = attrs.field(factory=a_free_url)
    options: tuple[str, ...] = ()
    process: asyncio.subprocess.Process | None = None

    async def start(self, page: str = "/healthz") -> None:
        """Start it, and wait until it answers for a page."""
        words = (self.app, "--port", self.url.rpartition(":")[2], "--log-level", "error", *self.options)
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "uvicorn", *words), cwd=self.folder, env=self.environment
        )
        async with aiohttp.ClientSession() as session, asyncio.timeout(60):
            while True:
                with suppress(aiohttp.ClientError):
                    async with session.get(self.url + page):
                        return
                assert self.process.returncode is None, "the service ended by itself"
                await asyncio.sleep(0.05)

    async def strike(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal, and wait for its end; its exit code."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        return await self.process.wait()
