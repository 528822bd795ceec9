"""A partner's web service with the sign-in pages, on aiohttp and on Starlette with uvicorn: real servers."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import attrs
from aiohttp import web
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from gotsurge_async import Credentials, Environment, GotSurge, MemoryStore
from gotsurge_async.auth.web.aiohttp import sign_in_routes
from gotsurge_async.auth.web.asgi import Receive, Scope, Send, SignInApp
from gotsurge_async.auth.web.pages import Account, SignInPages
from gotsurge_async.simulator import Simulator
from tests.support.serving import on_aiohttp_web, on_uvicorn

HOME = "You are home."


@attrs.frozen
class Partner:
    """A running service: where it is, and the client that it holds."""

    base: str
    gs: GotSurge
    store: MemoryStore

    def url(self, page: str) -> str:
        """The address of a page."""
        return f"{self.base}/gotsurge/{page}"


@asynccontextmanager
async def partner(
    framework: str,
    simulator: Simulator,
    *,
    key: str = "plain",
    account: Account = "default",
    sso_origin: str | None = None,
) -> AsyncIterator[Partner]:
    """A service that signs accounts in at a simulator."""
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        keys = simulator.accounts[key]
        store = MemoryStore()
        async with GotSurge(
            Environment.named("local", api_base=simulator.api_base),
            credentials=Credentials(client_key=keys.client_key, secret_key=keys.secret_key),
            token_store=store,
        ) as gs:
            pages = SignInPages(
                gs.oauth,
                gs.adopt,
                redirect_url=f"{base}/gotsurge/callback",
                account=account,
                sso_origin=sso_origin or simulator.origin,
            )
            async with SERVERS[framework](pages, listener):
                yield Partner(base, gs, store)


@asynccontextmanager
async def _aiohttp(pages: SignInPages, listener: socket.socket) -> AsyncIterator[None]:
    async def home(_: web.Request) -> web.Response:
        return web.Response(text=HOME)

    app = web.Application()
    app.router.add_get("/", home)
    app.add_routes(sign_in_routes(pages))
    async with on_aiohttp_web(app, listener):
        yield


@asynccontextmanager
async def _starlette(pages: SignInPages, listener: socket.socket) -> AsyncIterator[None]:
    async def home(_: Request) -> PlainTextResponse:
        return PlainTextResponse(HOME)

    app = Starlette(routes=[Route("/", home), Mount("/gotsurge", SignInApp(pages))])
    async with on_uvicorn(app, listener):
        yield


@asynccontextmanager
async def _asgi(pages: SignInPages, listener: socket.socket) -> AsyncIterator[None]:
    """The application by itself, without a framework: it is at the root, and speaks lifespan."""
    inner = SignInApp(pages)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "path": scope["path"].removeprefix("/gotsurge")}
            if scope["path"] == "/":
                await PlainTextResponse(HOME)(scope, receive, send)
                return
        await inner(scope, receive, send)

    async with on_uvicorn(app, listener, lifespan="on"):
        yield


SERVERS: dict[str, Callable[[SignInPages, socket.socket], AbstractAsyncContextManager[None]]] = {
    "aiohttp": _aiohttp,
    "starlette": _starlette,
    "asgi": _asgi,
}
