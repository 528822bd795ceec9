"""The sign-in pages in an aiohttp.web application.

::

    pages = SignInPages(gs.oauth, gs.adopt, redirect_url="https://example.com/gotsurge/callback")
    app.add_routes(sign_in_routes(pages, "/gotsurge"))
"""

from aiohttp import web

from gotsurge_async.auth.web.pages import LARGEST_BODY, SignInPages, WebRequest, by_lower_name

__all__ = ["sign_in_routes"]


def sign_in_routes(pages: SignInPages, prefix: str = "/gotsurge") -> list[web.RouteDef]:
    """The routes ``PREFIX/start``, ``PREFIX/callback`` and ``PREFIX/receive-session``."""

    async def handle(request: web.Request) -> web.StreamResponse:
        answer = await pages.handle(
            request.match_info["page"],
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

    return [web.route("*", f"{prefix.rstrip('/')}/{{page:start|callback|receive-session}}", handle)]


async def _body(request: web.Request) -> bytes:
    """The body, or the beginning of a body that is too long."""
    body = b""
    while len(body) <= LARGEST_BODY and (block := await request.content.readany()):
        body += block
    return body
