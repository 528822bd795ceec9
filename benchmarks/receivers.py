"""Receivers of events, each in a process of its own: ``python -m benchmarks.receivers NAME FOLDER``.

All of them are aiohttp.web: a bare handler that reads the body and keeps nothing, one that inserts a row for each
request, and ours. A process prints its port, tells at ``/_counts`` what it used, and ends when its standard input does.
"""

import asyncio
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import psutil
from aiohttp import web

from benchmarks import pinning
from gotsurge_async.webhooks import Inbox, Receiver
from gotsurge_async.webhooks.web.aiohttp import webhook_routes

TOKEN = "benchmark-token-of-the-events"  # noqa: S105 - of nothing

Routes = list[web.RouteDef]


@asynccontextmanager
async def bare(_: Path) -> AsyncIterator[Routes]:
    """Reads the body, and keeps nothing."""

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(text="ok\n")

    yield [web.post("/webhooks/{token}", handle)]


@asynccontextmanager
async def row_each(folder: Path) -> AsyncIterator[Routes]:
    """Inserts a row for each request, in a transaction of its own, in a thread, as durable as ours."""
    db = sqlite3.connect(folder / "rows.db", isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    lock = asyncio.Lock()

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        async with lock:
            await asyncio.to_thread(db.execute, "INSERT INTO events (body) VALUES (?)", (body,))
        return web.Response(text="ok\n")

    yield [web.post("/webhooks/{token}", handle)]
    db.close()


@asynccontextmanager
async def ours(folder: Path) -> AsyncIterator[Routes]:
    """The receiver with its durable inbox; without the limit of its rate, which is no cost."""
    async with Inbox.open(folder / "inbox.db") as inbox:
        yield webhook_routes(Receiver(inbox, tokens=[TOKEN], rate=None))


RECEIVERS: dict[str, Callable[[Path], AbstractAsyncContextManager[Routes]]] = {
    "bare": bare,
    "row_each": row_each,
    "ours": ours,
}


async def main(name: str, folder: Path) -> None:
    """Serve until standard input ends."""

    async def counts(_: web.Request) -> web.Response:
        return web.json_response({"cpu": time.process_time(), "mb": psutil.Process().memory_info().rss / 1024**2})

    async with RECEIVERS[name](folder) as routes:
        app = web.Application()
        app.add_routes([*routes, web.post("/_counts", counts)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await runner.cleanup()


if __name__ == "__main__":
    pinning.pin_server()
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
