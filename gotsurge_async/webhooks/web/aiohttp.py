"""The receiver in an aiohttp.web application.

::

    app.add_routes(webhook_routes(receiver, "/webhooks"))
    runner = web.AppRunner(app, auto_decompress=False)

With ``auto_decompress=False`` a packed body is kept as it came. Without it aiohttp unpacks a body before the
receiver has it, and answers and logs on its own, for strangers too, if it cannot.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web

from gotsurge_async.webhooks.receive import BodyLost, Receiver, Source

__all__ = ["webhook_routes"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def webhook_routes(receiver: Receiver, prefix: str = "/webhooks") -> list[web.RouteDef]:
    """The route ``PREFIX/TOKEN``. Several receivers, each with a prefix of its own, may be in one application."""
    return [web.route("*", f"{prefix.rstrip('/')}/{{token}}", _handler(receiver))]


def _handler(receiver: Receiver) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            answer = await receiver.take(_Delivery(request))
        except BodyLost:
            raise web.HTTPBadRequest from None
        return web.Response(status=answer.status, text=answer.text, headers=answer.headers or None)

    return handle


class _Delivery:
    __slots__ = ("_request", "length", "method", "token")

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self.method: str = request.method
        self.token: str = request.match_info["token"]
        self.length: int | None = request.content_length

    def source(self) -> Source:
        request = self._request
        return Source(request.remote, request.headers.getall("X-Forwarded-For", ()))

    async def body(self, most: int) -> bytes:
        found = b""
        try:
            while len(found) <= most and (block := await self._request.content.readany()):
                found += block
        except (ConnectionError, web.RequestPayloadError):
            raise BodyLost from None
        return found
