"""Tools for the tests of a program that uses this package.

This package gets its time from a clock, so a test turns the clock instead of waiting::

    from gotsurge_async.testing import ManualClock

    async def test_a_token_renews_itself():
        clock = ManualClock()
        async with GotSurge("local", api_base=..., clock=clock, transport=MemoryTransport(answers)) as gs:
            await clock.advance(25 * 86_400)  # 25 days, in milliseconds
            ...

`simulated` opens a client that is signed in to a simulator of its own, over real HTTP; `gotsurge_async.testing.plugin`
has these things as fixtures for pytest. `gotsurge_async.transports.memory.MemoryTransport` answers without a network.
"""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Unpack

from gotsurge_async.client import GotSurge
from gotsurge_async.clock import Clock
from gotsurge_async.config import Credentials, Environment
from gotsurge_async.models.base import several
from gotsurge_async.options import ClientOptions
from gotsurge_async.secrets import Secret
from gotsurge_async.simulator import Fault, Simulator

__all__ = ["START", "ManualClock", "simulated"]

START = datetime(2026, 1, 1, tzinfo=UTC)
"""The time at which a `ManualClock` starts by default."""

_TURNS = 64
"""Turns of an event loop that does not show whether it is idle: more than any chain of tasks here needs to settle."""


class ManualClock:
    """A clock that stands still until it is advanced; a `gotsurge_async.clock.Clock`.

    Sleepers wake in the order of their times, and of one time in the order in which they went to sleep; each sees
    exactly its time. Between two wakings all tasks run until each of them waits, so that a loop which sleeps an hour at
    a time runs for each hour. The clock does not wait for threads, sockets or processes.

    Args:
        start: the time that it shows first, aware.
    """

    def __init__(self, start: datetime = START) -> None:
        self._start = start.astimezone(UTC)
        self._elapsed = 0.0
        self._numbers = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """The present in UTC, aware."""
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """The seconds by which the clock has been advanced."""
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been advanced by ``seconds``; 0 or less lets others run once."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._numbers), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, wake the sleepers whose time comes, and let all tasks run before and after.

        Raises:
            ValueError: for less than 0: time does not run backwards.
        """
        if seconds < 0:
            raise ValueError(f"a clock is advanced by 0 seconds or more, not by {seconds}")
        until = self._elapsed + seconds
        await self.settle()
        while self._forget_cancelled() and self._sleepers[0][0] <= until:
            self._elapsed, _, woken = heapq.heappop(self._sleepers)
            woken.set_result(None)
            await self.settle()
        self._elapsed = until

    async def settle(self) -> None:
        """Let all tasks run until each of them waits for time, a thread or a socket."""
        ready = getattr(asyncio.get_running_loop(), "_ready", None)  # asyncio's own loop; others do not show it
        if ready is None:
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            return
        await asyncio.sleep(0)
        while ready:  # noqa: ASYNC110 - the end of all running is no event that anyone could set
            await asyncio.sleep(0)

    @property
    def sleepers(self) -> tuple[float, ...]:
        """The seconds until each sleeper wakes, the next one first."""
        self._forget_cancelled()
        return tuple(sorted(due - self._elapsed for due, _, woken in self._sleepers if not woken.done()))

    def _forget_cancelled(self) -> bool:
        """Drop cancelled sleepers from the front; returns whether any sleeper is left."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return bool(self._sleepers)


@asynccontextmanager
async def simulated(
    account: str = "plain",
    *,
    accounts: Iterable[str] = (),
    simulator: Simulator | None = None,
    faults: Iterable[Fault] = (),
    clock: Clock | None = None,
    **options: Unpack[ClientOptions],
) -> AsyncIterator[GotSurge]:
    """A client that is signed in to a simulator, over real HTTP and with real tokens::

        async with simulated(faults=[Fault(operation="tasks.create", when="after", kind="reset", times=1)]) as gs:
            ...

    Args:
        account: the partner: ``plain`` or ``platform``.
        accounts: names for `GotSurge.as_account`; each is signed in as well, by a consent of its own.
        simulator: one that runs already; unless given, one that lives as long as the client.
        faults: are ordered when the client is signed in.
        clock: of the client; of the simulator too, if that lives as long as the client.
        options: of `GotSurge`.
    """
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(Simulator(clock=clock)) if simulator is None else simulator
        known = running.accounts[account]
        credentials = Credentials(client_key=known.client_key, secret_key=Secret(known.secret_key))
        environment = Environment.named("local", api_base=running.api_base, temporary=simulator is None)
        gs = GotSurge(environment, credentials=credentials, clock=clock, **options)
        stack.push_async_callback(gs.close)
        # Before it is opened: orders may wait in its ledger.
        for each in (gs, *map(gs.as_account, several(accounts, "accounts"))):
            await each.tokens.adopt(await gs.oauth.exchange(running.new_code(account)))
        await gs.open()
        for fault in faults:
            running.order_fault(fault)
        yield gs
