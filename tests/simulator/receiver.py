"""A partner's service that is sent events, and a client of the simulator that sends them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web


class Receiver:
    """A partner's service: notes what it is sent, and gives the answers of the test."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[dict[str, Any]] = []
        self.headers: list[Any] = []
        self.statuses: list[int] = []
        self.answer: Callable[[web.Request], Any] | None = None

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.got.append(msgspec.json.decode(await request.read()))
        self.headers.append(request.headers)
        if self.answer is not None:
            response: web.StreamResponse = await self.answer(request)
            return response
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200, text="thank you")

    @property
    def statuses_got(self) -> list[str]:
        """The statuses of the events that it got, in their order."""
        return [event["updates"]["current_status"] for event in self.got]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A service that serves inside the block."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/webhooks/{token}", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks/a-long-secret-token"
    try:
        yield receiver
    finally:
        await runner.cleanup()
