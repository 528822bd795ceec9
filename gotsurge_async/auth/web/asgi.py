"""The sign-in pages as an ASGI application, to mount in Starlette, FastAPI or another one.

::

    pages = SignInPages(gs.oauth, gs.adopt, redirect_url="https://example.com/gotsurge/callback")
    app.mount("/gotsurge", SignInApp(pages))
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from gotsurge_async.auth.web.pages import LARGEST_BODY, SignInPages, WebRequest, by_lower_name

__all__ = ["SignInApp"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class SignInApp:
    """Serves ``start``, ``callback`` and ``receive-session`` below the path where it is mounted."""

    def __init__(self, pages: SignInPages) -> None:
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            raise ValueError(f"the sign-in pages serve HTTP, not {scope['type']}")

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        page = scope["path"].removeprefix(scope.get("root_path", "")).strip("/")
        request = WebRequest(
            method=scope["method"],
            # Of a name that comes twice the first counts, as in aiohttp.
            query=dict(reversed(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))),
            headers=by_lower_name(
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
            ),
            body=await _body(receive),
            native=scope,
        )
        answer = await self._pages.handle(page, request)
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in answer.headers]
        headers.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


async def _body(receive: Receive) -> bytes:
    """The body, or the beginning of a body that is too long."""
    body = b""
    while len(body) <= LARGEST_BODY:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            break
    return body


async def lifespan(receive: Receive, send: Send) -> None:
    """Acknowledge the server's start and end, for which nothing needs to be done."""
    for phase in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{phase}.complete"})
