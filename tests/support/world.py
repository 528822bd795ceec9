"""What the contract tests share: a client signed in to a simulator, and a record of what passed between them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import msgspec

from gotsurge_async import GotSurge, RetryPolicy
from gotsurge_async.simulator import Simulator, SimulatorOptions
from gotsurge_async.testing import ManualClock, simulated
from gotsurge_async.transports.aiohttp import AiohttpTransport
from gotsurge_async.transports.base import Request, Response, Transport
from tests.support.orders import NOW

PATIENCE = RetryPolicy(base=0.0, cap=0.0)
"""Tries again at once: the clock of these tests stands still."""


class Spy:
    """A transport that notes every request and its answer, and passes them on."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.requests: list[Request] = []
        self.answers: list[Response] = []

    async def send(self, request: Request) -> Response:
        self.requests.append(request)
        answer = await self.inner.send(request)
        self.answers.append(answer)
        return answer

    async def close(self) -> None:
        await self.inner.close()

    @property
    def calls(self) -> list[str]:
        """Verb and path below the API base of every request."""
        return [called(request) for request in self.requests]


def called(request: Request) -> str:
    """Verb, path below the API base, and query of a request, as they went out."""
    return f"{request.method} {request.url.partition('/api/partnership/v1')[2]}"


def sent(request: Request) -> Any:
    """The body of a request, read as JSON; None for none."""
    return None if request.body is None else msgspec.json.decode(request.body)


class World:
    """A simulator, a client signed in to it, and what passed between them since the sign-in."""

    def __init__(self, gs: GotSurge, simulator: Simulator, spy: Spy) -> None:
        self.gs = gs
        self.simulator = simulator
        self.spy = spy


@asynccontextmanager
async def world(account: str = "platform", *, start: datetime = NOW, **switches: Any) -> AsyncIterator[World]:
    """A simulator with some switches set, over real HTTP, and a client of one of its accounts."""
    clock = ManualClock(start)
    async with Simulator(options=SimulatorOptions(**switches), clock=clock) as simulator:
        spy = Spy(AiohttpTransport())
        async with simulated(account, simulator=simulator, transport=spy, clock=clock, retry=PATIENCE) as gs:
            spy.requests.clear()
            spy.answers.clear()
            yield World(gs, simulator, spy)
