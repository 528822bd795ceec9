"""A process that was frozen while it renewed, lost its lock, and wakes: nobody is logged out, and no token is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gotsurge_async.auth.stores import MemoryStore, Tokens
from gotsurge_async.auth.tokens import TokenManager
from gotsurge_async.errors import BadRequest, SignInNeeded
from gotsurge_async.hooks import Event, Hooks, SignInRequired
from gotsurge_async.secrets import Secret
from gotsurge_async.testing import ManualClock
from tests.auth.kit import pair


class Unlocked(MemoryStore):
    """A store whose lock holds nobody off, as that of a process that seemed dead."""

    @asynccontextmanager
    async def lock(self, account: str) -> AsyncIterator[None]:
        yield


class Rotating:
    """A service that takes each refresh token once; its answers wait until they are let go."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.good = "refresh-0"
        self.calls = 0

    def pair(self, number: int) -> Tokens:
        return pair(number, self.clock.now(), refresh=f"refresh-{number}")

    async def refresh(self, token: Secret) -> Tokens:
        self.calls += 1
        if token.reveal() != self.good:
            raise BadRequest(operation="auth.refresh", status=400, code="invalid_grant")
        self.good = f"refresh-{self.calls}"
        return self.pair(self.calls)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def service(clock: ManualClock) -> Rotating:
    return Rotating(clock)


@pytest.fixture
async def store(clock: ManualClock, service: Rotating) -> Unlocked:
    """Tokens that have ended."""
    store = Unlocked()
    await store.save("default", service.pair(0))
    await clock.advance(31 * 86_400)
    return store


async def frozen(first: bool, service: Rotating, store: Unlocked, clock: ManualClock) -> tuple[list[str], list[Event]]:
    """One process freezes before or after its call, another renews meanwhile; what both use in the end."""
    events: list[Event] = []
    woken, at_it = asyncio.Event(), asyncio.Event()

    async def slow(token: Secret) -> Tokens:
        early = await service.refresh(token) if first else None
        at_it.set()
        await woken.wait()
        return early or await service.refresh(token)

    hooks = Hooks(events.append)
    sleeper = TokenManager(store, slow, clock=clock, hooks=hooks)
    other = TokenManager(store, service.refresh, clock=clock, hooks=hooks)
    asleep = asyncio.create_task(sleeper.bearer())
    await at_it.wait()
    meanwhile = await asyncio.gather(other.bearer(), return_exceptions=True)
    woken.set()
    used = [(await asleep).reveal(), (await other.bearer()).reveal()]
    assert isinstance(meanwhile[0], SignInNeeded) == first
    for manager in (sleeper, other):
        await manager.close()
    return used, events


async def test_a_refusal_after_another_renewed_is_no_log_out(
    service: Rotating, store: Unlocked, clock: ManualClock
) -> None:
    """Frozen before its call: its refresh token is spent when it wakes, and it takes what the other one stored."""
    used, events = await frozen(False, service, store, clock)
    assert used == ["planted-bearer-1", "planted-bearer-1"]
    assert not [event for event in events if isinstance(event, SignInRequired)]
    kept = await store.load("default")
    assert kept is not None
    assert kept.refused_at is None


async def test_tokens_of_a_late_answer_are_kept(service: Rotating, store: Unlocked, clock: ManualClock) -> None:
    """Frozen after its call: only it has the new tokens; it stores them when it wakes, and both go on."""
    used, _ = await frozen(True, service, store, clock)
    assert used == ["planted-bearer-1", "planted-bearer-1"]
    kept = await store.load("default")
    assert kept is not None
    assert (kept.bearer.reveal(), kept.refused_at) == ("planted-bearer-1", None)
