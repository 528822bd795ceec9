"""The sign-in pages in an aiohttp.web application.

::

    pages = SignInPages(gs.oauth, gs.adopt, redirect_url="https://example.com/gotsurge/callback")
    app.add_routes(sign_in_routes(pages, "/gotsurge"))
"""

from collections.abc import Awaitable, Callable

from aiohttp import web

from gotsurge_async.auth.web.pages import LARGEST_BODY, SignInPages, WebRequest, by_lower_name

__all__ = ["sign_in_routes"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def sign_in_routes(pages: SignInPages, prefix: str = "/gotsurge") -> list[web.RouteDef]:
    """The routes ``PREFIX/start``, ``PREFIX/callback`` and ``PREFIX/receive-session``."""
    base = prefix.rstrip("/")
    return [
        web.get(f"{base}/start", _handler(pages, "start"), allow_head=False),
        web.get(f"{base}/callback", _handler(pages, "callback"), allow_head=False),
        web.get(f"{base}/receive-session", _handler(pages, "receive-session"), allow_head=False),
        web.post(f"{base}/receive-session", _handler(pages, "receive-session")),
    ]


def _handler(pages: SignInPages, page: str) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        answer = await pages.handle(
            page,
            WebRequest(
                method=request.method,
                query=request.query,
                headers=by_lower_name(request.headers.items()),
                body=await _body(request),
                native=request,
            ),
        )
        response = web.Response(status=answer.status, body=answer.body)
        for name, value in answer.headers:
            response.headers.add(name, value)
        return response

    return handle


async def _body(request: web.Request) -> bytes:
    """The body, or the beginning of a body that is too long."""
    body = b""
    while len(body) <= LARGEST_BODY and (block := await request.content.readany()):
        body += block
    return body
