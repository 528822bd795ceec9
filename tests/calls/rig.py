"""A session on a scripted transport, for the tests of the request loop."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from random import Random
from typing import Any

from gotsurge_async.api.endpoints import ENDPOINTS, TASKS_CREATE, TASKS_GET, Endpoint
from gotsurge_async.api.profile import Profile
from gotsurge_async.auth.stores import MemoryStore, Tokens
from gotsurge_async.auth.tokens import TokenManager
from gotsurge_async.calls.limiter import Limiter
from gotsurge_async.calls.session import Session
from gotsurge_async.config import Limits, RetryPolicy
from gotsurge_async.hooks import Event, Hooks, RetryPlanned
from gotsurge_async.models.tasks import TaskBatch
from gotsurge_async.secrets import Secret
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.memory import Handler, MemoryTransport, Scripted
from tests.support.orders import NOW, order

BASE = "https://api.example/v1"
TASK = {"id": "t-1", "tracking_id": "T-1"}
POLICY = RetryPolicy(attempts=4, base=1.0, cap=8.0, deadline=100.0, longest_retry_after=60.0)
Renew = Callable[[Secret], Awaitable[Tokens]]


def tokens(bearer: str, refresh: str | None = "planted-refresh") -> Tokens:
    """Tokens good for thirty days from `NOW`."""
    return Tokens(bearer=Secret(bearer), refresh=refresh, issued_at=NOW, expires_at=NOW + timedelta(days=30))


class NoJitter(Random):
    """Draws a half, always: each wait is half of the longest."""

    def random(self) -> float:
        return 0.5


class Rig:
    """A session on a scripted transport, with its clock and its events."""

    def __init__(
        self,
        answers: Handler | Iterable[Scripted],
        *,
        renew: Renew | None = None,
        policy: RetryPolicy = POLICY,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        profile: Profile = Profile(),  # noqa: B008 - frozen
        accept_assumed: bool = True,
        signed_in: bool = True,
    ) -> None:
        self.clock = ManualClock()
        self.transport = MemoryTransport(answers)
        self.events: list[Event] = []
        self.store = MemoryStore()
        self.renewals = 0
        self.signed_in = signed_in
        hooks = Hooks(self.events.append)
        self.tokens = TokenManager(self.store, renew or self.renew, clock=self.clock, hooks=hooks)
        self.session = Session(
            transport=self.transport,
            tokens=self.tokens,
            limiter=Limiter(limits, self.clock),
            api_base=BASE,
            profile=profile,
            policy=policy,
            hooks=hooks,
            clock=self.clock,
            accept_assumed=accept_assumed,
            random=NoJitter(),
        )

    async def renew(self, _: Secret) -> Tokens:
        self.renewals += 1
        return tokens(f"planted-bearer-{self.renewals}")

    async def __aenter__(self) -> "Rig":
        if self.signed_in:
            await self.tokens.adopt(tokens("planted-bearer-0"))
        self.session.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def call(self, endpoint: Endpoint[Any] = TASKS_GET, **options: Any) -> Any:
        """Make a call, letting time pass as it waits; by default a task is read."""
        if endpoint is TASKS_GET:
            options.setdefault("path", {"task_id": "t-1"})
        calling = asyncio.create_task(self.session.call(endpoint, **options))
        await self.clock.settle()
        while not calling.done():
            assert self.clock.sleepers, "it waits for something else than time"
            await self.clock.advance(self.clock.sleepers[0])
        return await calling

    async def create(self, **options: Any) -> Any:
        """Create an order."""
        return await self.call(TASKS_CREATE, body=TaskBatch(tasks=(order(),)), **options)

    @property
    def waits(self) -> list[float]:
        """How long it waited before each next try."""
        return [event.wait for event in self.events if isinstance(event, RetryPlanned)]

    @property
    def bearers(self) -> list[str]:
        """The token of each request."""
        return [request.headers["Authorization"].removeprefix("Bearer ") for request in self.transport.sent]


EVERY = [endpoint for endpoint in ENDPOINTS.values() if endpoint.bearer]


def arguments(endpoint: Endpoint[Any]) -> dict[str, Any]:
    """What a call of an endpoint needs at the least."""
    names = {name: "x" for name in ("task_id", "org_id") if f"{{{name}}}" in endpoint.path}
    body = None if endpoint.request is None else b"{}"
    return {"path": names, "body": body, "read": lambda _, answer: answer.body}
