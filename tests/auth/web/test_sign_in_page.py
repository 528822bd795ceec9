"""The applications of docs/sign-in.md, as they are printed: each of their addresses is opened."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gotsurge_async import Credentials, Environment, GotSurge, MemoryStore
from gotsurge_async.auth.web.asgi import Receive, Scope, Send
from gotsurge_async.simulator import Simulator
from tests.support.browser import Pages, consent
from tests.support.serving import on_aiohttp_web, on_uvicorn
from tests.test_docs import blocks

PAGE = Path(__file__).parents[3] / "docs" / "sign-in.md"
BASE = "https://example.com"
Names = dict[str, Any]


def names_of_the_document(gs: GotSurge, base: str) -> Names:
    """The names of the page's blocks that make the applications, run for a service at ``base``."""
    names: Names = {"gs": gs}
    for block in blocks(PAGE, {BASE: base}):
        if {"sign_in_routes", "SignInApp"} & {*block.co_names}:
            exec(block, names)  # noqa: S102 - our own page
    return names


@asynccontextmanager
async def on_starlette(names: Names, listener: socket.socket) -> AsyncIterator[None]:
    """The page's application, behind a login that takes the merchant from a header."""

    async def login(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if b"x-merchant" in headers:
            scope["merchant"] = headers[b"x-merchant"].decode()
        await names["asgi"](scope, receive, send)

    async with on_uvicorn(login, listener):
        yield


@asynccontextmanager
async def on_aiohttp(names: Names, listener: socket.socket) -> AsyncIterator[None]:
    """The page's pages in aiohttp.web, behind the same login."""

    @web.middleware
    async def login(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
        if "X-Merchant" in request.headers:
            request["merchant"] = request.headers["X-Merchant"]
        return await handler(request)

    names["app"].middlewares.append(login)
    async with on_aiohttp_web(names["app"], listener):
        yield


@pytest.mark.filterwarnings("ignore::aiohttp.web_exceptions.NotAppKeyWarning")
@pytest.mark.parametrize("served", [on_starlette, on_aiohttp])
async def test_each_merchant_signs_in_by_the_pages(served: Callable[..., Any]) -> None:
    """Two merchants consent in their browsers and have their own tokens; a visitor without a login is refused."""
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with Simulator() as simulator:
            keys = simulator.accounts["plain"]
            store = MemoryStore()
            async with GotSurge(
                Environment.named("local", api_base=simulator.api_base),
                credentials=Credentials(client_key=keys.client_key, secret_key=keys.secret_key),
                token_store=store,
            ) as gs:
                names = names_of_the_document(gs, base)
                async with served(names, listener):
                    for merchant in ("acme", "borneo"):
                        async with browser({"X-Merchant": merchant}) as pages:
                            back = await consent(pages, f"{base}/gotsurge/start")
                            assert back.startswith(f"{base}/gotsurge/callback?")
                            await pages.go(back, follow=False)
                            assert (pages.status, pages.location) == (303, "/")
                            await pages.go(f"{base}/gotsurge/receive-session")
                            assert (pages.status, "Signing you in" in pages.text) == (200, True)
                        assert await gs.as_account(merchant).tokens.current()
                    async with browser({}) as pages:
                        await pages.go(f"{base}/gotsurge/start")
                        assert pages.status == 403
                assert sorted(await store.accounts()) == ["acme", "borneo"]


@asynccontextmanager
async def browser(headers: dict[str, str]) -> AsyncIterator[Pages]:
    """A browser of its own."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), headers=headers) as session:
        yield Pages(session)
