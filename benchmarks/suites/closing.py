"""POSTs on kept connections around the moment at which the server closes them."""

import asyncio
import os
import ssl
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import httpx

from benchmarks.processes import Process, Server
from benchmarks.suites import Size
from gotsurge_async.config import Timeouts
from gotsurge_async.testing.peers import OK
from gotsurge_async.transports.aiohttp import AiohttpTransport
from gotsurge_async.transports.base import MaybeSent, Request

IDLE = 0.5
"""The server closes a connection that has been idle for so many seconds; hardly any server waits for less."""
DELAYS = [half / 2000 for half in range(-6, 11)]
"""Seconds from the end of that time to the request."""
BLOCKED = 0.005
"""For so many seconds before each request the client's loop is busy, and cannot see a connection end."""
LANES = 64
"""Clients at once, each in a thread of its own."""
TLS = "GOTSURGE_BENCH_TLS"
"""The variable that names a PEM file with a key and a certificate for 127.0.0.1; SSL_CERT_FILE must trust it."""
BODY = b'{"tasks":[]}'

Post = Callable[[], Awaitable[object]]


def closing(_: Server, size: Size) -> Mapping[str, Any]:
    """POSTs that leave on a kept connection just before and after the server closes it."""
    tries, runs = size.units(4), []
    with Process(__name__, str(IDLE)) as server, ThreadPoolExecutor(LANES) as lanes:
        url = f"{'https' if os.environ.get(TLS) else 'http'}://127.0.0.1:{int(server.line())}/"
        for name, client in CLIENTS.items():
            for delay in DELAYS if size.scale >= 1 else DELAYS[:1]:
                counts = Counter[str]()
                for lane in [lanes.submit(asyncio.run, _lane(client, url, tries, IDLE + delay)) for _ in range(LANES)]:
                    counts += lane.result()
                server.tell("")
                counts["read"] = int(server.line()) - LANES * tries  # without those that only make a connection idle
                fates = {fate: counts[fate] for fate in ("answered", "in_doubt", "read")}
                runs.append({"name": f"{name}, {delay * 1000:+.1f} ms", "posts": LANES * tries, **fates})
    return {"runs": runs}


@asynccontextmanager
async def _ours(url: str, keepalive: float = Timeouts().keepalive) -> AsyncIterator[Post]:
    transport = AiohttpTransport(Timeouts(keepalive=keepalive), proxy=None)
    yield lambda: transport.send(Request(method="POST", url=url, body=BODY))
    await transport.close()


@asynccontextmanager
async def _aiohttp(url: str) -> AsyncIterator[Post]:
    async with aiohttp.ClientSession() as session:

        async def post() -> None:
            async with session.post(url, data=BODY) as answer:
                await answer.read()

        yield post


@asynccontextmanager
async def _httpx(url: str) -> AsyncIterator[Post]:
    async with httpx.AsyncClient(verify=ssl.create_default_context(), trust_env=False) as client:
        yield lambda: client.post(url, content=BODY)


CLIENTS: Mapping[str, Callable[[str], AbstractAsyncContextManager[Post]]] = {
    "gotsurge_async": _ours,
    "gotsurge_async, keepalive=60": partial(_ours, keepalive=60.0),
    "aiohttp": _aiohttp,
    "httpx": _httpx,
}


async def _lane(client: Callable[[str], AbstractAsyncContextManager[Post]], url: str, tries: int, pause: float) -> Any:
    counts = Counter[str]()
    async with client(url) as post:
        for _ in range(tries):
            await post()
            until = time.perf_counter() + pause
            await asyncio.sleep(pause - BLOCKED)
            time.sleep(max(0.0, until - time.perf_counter()))  # noqa: ASYNC251 - see BLOCKED
            try:
                await post()
                counts["answered"] += 1
            except (MaybeSent, aiohttp.ClientError, httpx.HTTPError):
                counts["in_doubt"] += 1
    return counts


class _Connection(asyncio.Protocol):
    """Answers each request, and closes the connection when it has been idle for ``idle`` seconds."""

    idle = 0.0
    read = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._waiting = transport, b""
        self._closing = asyncio.get_running_loop().call_later(60, transport.close)

    def data_received(self, data: bytes) -> None:
        self._closing.cancel()
        self._waiting += data
        if self._waiting.endswith(BODY):
            _Connection.read, self._waiting = _Connection.read + 1, b""
            self._transport.write(OK)
            self._closing = asyncio.get_running_loop().call_later(self.idle, self._transport.close)

    def connection_lost(self, _: Exception | None) -> None:
        self._closing.cancel()


async def _serve() -> None:
    _Connection.idle, context = float(sys.argv[1]), None
    if pem := os.environ.get(TLS):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(_Connection.read, flush=True)
        _Connection.read = 0


if __name__ == "__main__":
    asyncio.run(_serve())
