"""The receiver in an aiohttp.web application::

app.add_routes(webhook_routes(receiver, "/webhooks"))
"""

from collections.abc import Awaitable, Callable

from aiohttp import web

from gotsurge_async.webhooks.receive import BodyLost, Delivery, Receiver, Source

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def webhook_routes(receiver: Receiver, prefix: str = "/webhooks") -> list[web.RouteDef]:
    """The route ``PREFIX/TOKEN``. Several receivers, each with a prefix of its own, may be in one application."""
    return [web.route("*", f"{prefix.rstrip('/')}/{{token}}", _handler(receiver))]


def _handler(receiver: Receiver) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        content = request.content

        async def body(most: int) -> bytes:
            found = b""
            try:
                while len(found) <= most and (block := await content.readany()):
                    found += block
            except ConnectionError:
                raise BodyLost from None
            return found

        try:
            answer = await receiver.take(
                Delivery(
                    method=request.method,
                    token=request.match_info["token"],
                    source=lambda: Source(request.remote, request.headers.getall("X-Forwarded-For", ())),
                    length=request.content_length,
                    here=content.read_nowait() if content.is_eof() else None,
                    body=body,
                )
            )
        except BodyLost:
            raise web.HTTPBadRequest from None
        return web.Response(status=answer.status, text=answer.text, headers=answer.headers or None)

    return handle
