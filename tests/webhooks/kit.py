"""Events as GotSurge sends them, and services that receive them: real servers."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from aiohttp import web
from starlette.applications import Starlette
from starlette.routing import Mount

from gotsurge_async.auth.web.asgi import Receive, Scope, Send
from gotsurge_async.webhooks.inbox import Inbox
from gotsurge_async.webhooks.receive import Receiver
from gotsurge_async.webhooks.web.aiohttp import webhook_routes
from gotsurge_async.webhooks.web.asgi import WebhookApp
from tests.support.serving import on_uvicorn

TOKEN = "first-token-of-the-test"
NEXT = "second-token-of-the-test"
TASK = "3f0c9a52-0000-4000-8000-000000000001"


def event(
    task_id: str | None = TASK, status: str = "accepted", at: str | None = "2026-01-01T00:00:00Z", **data: Any
) -> bytes:
    """The body of an event."""
    tree = {
        "type": "update",
        "model_name": "Task",
        "data": {**({"id": task_id} if task_id else {}), **data},
        "updates": {"current_status": status},
        **({"timestamp": at} if at else {}),
    }
    return json.dumps(tree).encode()


async def put_all(inbox: Inbox, *events: bytes, sender: str = "") -> None:
    """Put events into an inbox, in their order; they share few commits."""
    await asyncio.gather(*(inbox.put("default", each, sender) for each in events))


Served = Callable[[Receiver], AbstractAsyncContextManager[str]]
"""Serves a receiver; gives the URL to which a token is added."""


@asynccontextmanager
async def on_aiohttp(receiver: Receiver) -> AsyncIterator[str]:
    """In an aiohttp.web application."""
    app = web.Application()
    app.add_routes(webhook_routes(receiver))
    runner = web.AppRunner(app, shutdown_timeout=0.1, auto_decompress=False)
    with _listener() as listener:
        await runner.setup()
        try:
            await web.SockSite(runner, listener).start()
            yield _url(listener)
        finally:
            await runner.cleanup()


@asynccontextmanager
async def on_starlette(receiver: Receiver) -> AsyncIterator[str]:
    """Mounted in Starlette, under uvicorn."""
    app = Starlette(routes=[Mount("/webhooks", WebhookApp(receiver))])
    with _listener() as listener:
        async with on_uvicorn(app, listener):
            yield _url(listener)


@asynccontextmanager
async def on_asgi(receiver: Receiver) -> AsyncIterator[str]:
    """By itself, under uvicorn."""
    inner = WebhookApp(receiver)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "path": scope["path"].removeprefix("/webhooks")}
        await inner(scope, receive, send)

    with _listener() as listener:
        async with on_uvicorn(app, listener, lifespan="on"):
            yield _url(listener)


SERVERS: dict[str, Served] = {"aiohttp": on_aiohttp, "starlette": on_starlette, "asgi": on_asgi}


def _listener() -> socket.socket:
    listener = socket.socket(proto=socket.IPPROTO_TCP)  # named, or asyncio lets each answer wait 40 ms for more
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # so that whoever comes early waits
    return listener


def _url(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}/webhooks/"
