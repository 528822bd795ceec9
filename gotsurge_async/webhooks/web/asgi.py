"""The receiver as an ASGI application, to mount in Starlette, FastAPI or another one::

app.mount("/webhooks", WebhookApp(receiver))
"""

from gotsurge_async.auth.web.asgi import Receive, Scope, Send, lifespan
from gotsurge_async.webhooks.receive import BodyLost, Delivery, Receiver, Source


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
            raise ValueError(f"a webhook is no {scope['type']}")

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def body(most: int) -> bytes:
            found = b""
            while len(found) <= most:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise BodyLost
                found += message.get("body", b"")
                if not message.get("more_body"):
                    break
            return found

        given: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            given.setdefault(name.lower(), []).append(value.decode("latin-1"))
        length = given.get(b"content-length", [""])[0]
        client = scope.get("client")
        try:
            answer = await self._receiver.take(
                Delivery(
                    method=scope["method"],
                    token=scope["path"].removeprefix(scope.get("root_path", "")).strip("/"),
                    source=lambda: Source(
                        peer=client[0] if client else None,
                        forwarded=given.get(b"x-forwarded-for", ()),
                        rewritten=client is not None and not client[1],  # as uvicorn does it: an address, and no port
                    ),
                    length=int(length) if length.isdecimal() else None,
                    body=body,
                )
            )
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
