"""What is under a sign-in: a request loop on a transport of the test's own, and a manager of tokens on its service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

from gotsurge_async.api.profile import Profile
from gotsurge_async.auth.oauth import OAuth
from gotsurge_async.auth.stores import MemoryStore, Tokens
from gotsurge_async.auth.tokens import TokenManager
from gotsurge_async.calls.limiter import Limiter
from gotsurge_async.calls.session import Session
from gotsurge_async.config import Credentials, Environment, Limits, RetryPolicy
from gotsurge_async.hooks import Event, Hook, Hooks
from gotsurge_async.secrets import Secret
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.base import Transport
from tests.support.orders import NOW

if TYPE_CHECKING:
    from gotsurge_async.errors import CallError

KEYS = Credentials(client_key="the-client-key", secret_key="planted-secret-key")


def oauth(
    transport: Transport,
    clock: ManualClock,
    *,
    credentials: Credentials | None = KEYS,
    profile: Profile = Profile(),  # noqa: B008 - frozen
    listener: Hook | None = None,
) -> OAuth:
    """Sign-ins that try twice, without a wait."""
    environment = Environment.named("sandbox")
    session = Session(
        transport=transport,
        tokens=None,
        limiter=Limiter(Limits(), clock),
        api_base=environment.api_base,
        profile=profile,
        policy=RetryPolicy(attempts=2, base=0.0, cap=0.0),
        hooks=Hooks(*([listener] if listener else [])),
        clock=clock,
    )
    return OAuth(environment=environment, credentials=credentials, clock=clock, call=session.call)


DAY = 86_400.0


LIFE = timedelta(days=30)


FIRST = Secret("planted-bearer-0")


def pair(number: int, issued_at: datetime, life: timedelta = LIFE, refresh: str | None = "planted-refresh-0") -> Tokens:
    """The tokens of a renewal."""
    return Tokens(
        bearer=Secret(f"planted-bearer-{number}"), refresh=refresh, issued_at=issued_at, expires_at=issued_at + life
    )


def tokens(number: int = 0) -> Tokens:
    """Tokens of a sign-in."""
    return pair(number, NOW)


class Service:
    """What gives new tokens: counts, can be slow, and can fail."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.calls: list[str] = []
        self.at: list[float] = []
        self.failure: CallError | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.life = LIFE
        self.rotates = False

    async def refresh(self, token: Secret) -> Tokens:
        """Give the next token."""
        self.calls.append(token.reveal())
        self.at.append(self.clock.monotonic())
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        number = len(self.calls)
        refresh = f"planted-refresh-{number}" if self.rotates else token.reveal()
        return pair(number, self.clock.now(), self.life, refresh)


class Rig:
    """A manager with its clock, its store and its service."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.clock = ManualClock()
        self.service = Service(self.clock)
        self.store = store or MemoryStore()
        self.events: list[Event] = []
        self.manager = self.another()

    def another(self, seed: int = 7) -> TokenManager:
        """Another manager on the same store, as another process has it."""
        return TokenManager(
            self.store,
            self.service.refresh,
            clock=self.clock,
            hooks=Hooks(self.events.append),
            random=Random(seed),
        )

    async def end_of_life(self) -> None:
        """Let so much time pass that the first token has ended."""
        await self.clock.advance(30 * DAY)


@asynccontextmanager
async def rig(started: bool = False) -> AsyncIterator[Rig]:
    """A manager whose account has signed in just now; in the end it leaves no task."""
    made = Rig()
    await made.manager.adopt(pair(0, made.clock.now()))
    if started:
        made.manager.start()
    yield made
    await made.manager.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


class Ring(dict[tuple[str, str], str]):
    """A keyring in memory."""

    def get_password(self, service: str, username: str, /) -> str | None:
        return self.get((service, username))

    def set_password(self, service: str, username: str, password: str, /) -> None:
        self[service, username] = password

    def delete_password(self, service: str, username: str, /) -> None:
        del self[service, username]
