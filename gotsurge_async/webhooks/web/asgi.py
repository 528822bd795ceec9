"""The receiver as an ASGI application, to mount in Starlette, FastAPI or another one.

::

    app.mount("/webhooks", WebhookApp(receiver))
"""

from gotsurge_async.auth.web.asgi import Receive, Scope, Send, lifespan
from gotsurge_async.webhooks.receive import BodyLost, Receiver, Source

__all__ = ["WebhookApp"]


class WebhookApp:
    """Serves ``TOKEN`` below the path where it is mounted."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            raise ValueError(f"a webhook receiver serves HTTP, not {scope['type']}")

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._receiver.take(_Delivery(scope, receive))
        except BodyLost:
            return
        text = answer.text.encode()
        headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(text)), **answer.headers}
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            }
        )
        await send({"type": "http.response.body", "body": text})


class _Delivery:
    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._scope = scope
        self._receive = receive
        self.method: str = scope["method"]
        self.token: str = scope["path"].removeprefix(scope.get("root_path", "")).strip("/")
        length = next(iter(self._headers(b"content-length")), "")
        self.length: int | None = int(length) if length.isdecimal() else None

    def source(self) -> Source:
        client = self._scope.get("client")
        return Source(
            peer=client[0] if client else None,
            forwarded=self._headers(b"x-forwarded-for"),
            rewritten=client is not None and not client[1],  # as uvicorn does it: an address, and no port
        )

    async def body(self, most: int) -> bytes:
        found = b""
        while len(found) <= most:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise BodyLost
            found += message.get("body", b"")
            if not message.get("more_body"):
                break
        return found

    def _headers(self, wanted: bytes) -> list[str]:
        return [value.decode("latin-1") for name, value in self._scope["headers"] if name.lower() == wanted]
