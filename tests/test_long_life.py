"""A month in the life of a client with many accounts, in a world that fails now and then; over real HTTP."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random

import attrs
import psutil
import pytest

from gotsurge_async import Credentials, Environment, GotSurge, MemoryStore, NotFound, NotSent, Tokens
from gotsurge_async.auth.tokens import JITTER, REFRESH_AT
from gotsurge_async.hooks import Event, SignInRequired, TokenRefreshed
from gotsurge_async.simulator import Fault, Simulator, SimulatorOptions
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.aiohttp import AiohttpTransport
from gotsurge_async.transports.base import NothingSent, Request, Response

HOUR, DAY = 3600.0, 86_400.0
ACCOUNTS = 200
LIFE = timedelta(days=30)
NOBODY = "00000000-0000-4000-8000-000000000000"


@attrs.define(eq=False)
class Network:
    """A transport that can be down; time stands still while a call is on its way."""

    inner: AiohttpTransport = attrs.field(factory=AiohttpTransport)
    down: bool = False
    here: int = 0

    async def send(self, request: Request) -> Response:
        if self.down:
            raise NothingSent("the network is down")
        self.here += 1
        try:
            return await self.inner.send(request)
        finally:
            self.here -= 1

    async def close(self) -> None:
        await self.inner.close()


class Disk(MemoryStore):
    """A store that can be full."""

    full = False
    refused = 0

    async def replace(self, account: str, old: Tokens, new: Tokens) -> bool:
        if self.full:
            self.refused += 1
            raise OSError("the disk is full")
        return await super().replace(account, old, new)


@attrs.define(eq=False)
class Month:
    """All that there is, and how time passes in it."""

    clock: ManualClock
    network: Network
    gs: GotSurge
    random: Random
    made: Counter[str] = attrs.field(factory=Counter)

    async def passes(self, seconds: float) -> None:
        """Let time pass, from one sleeper to the next, and none while a call is on its way."""
        end = self.clock.monotonic() + seconds
        while True:
            await self.clock.settle()
            while self.network.here:
                await asyncio.sleep(0)
                if not self.network.here:
                    await self.clock.settle()
            left = end - self.clock.monotonic()
            sleepers = self.clock.sleepers
            if not sleepers or sleepers[0] > left:
                await self.clock.advance(left)
                return
            await self.clock.advance(sleepers[0])

    async def calls(self, accounts: Sequence[str]) -> None:
        """A call of each of some accounts: it works, or it fails because the network is down, and says so."""
        calling = [asyncio.create_task(self.gs.as_account(name).tasks.get(NOBODY)) for name in accounts]
        while not all(task.done() for task in calling):
            await self.passes(1.0)
        for task in calling:
            error = task.exception()
            assert isinstance(error, NotSent if self.network.down else NotFound)
            self.made[type(error).__name__] += 1

    async def hour(self, accounts: Sequence[str]) -> None:
        """An hour, in which some accounts make a call."""
        await self.calls(self.random.sample(accounts, 2))
        await self.passes(HOUR - self.clock.monotonic() % HOUR)


def connections() -> int:
    """How many connections this process has to servers."""
    return len([each for each in psutil.Process().net_connections("tcp") if each.status == psutil.CONN_ESTABLISHED])


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_month_of_trouble() -> None:
    """Two hundred accounts for thirty days, through outages and a full disk, with refresh tokens that are good once.

    The service is asked for as many new tokens as there have to be, and hardly ever more; no call fails while the
    network is up, no account has to sign in again, and nothing is left in the end.
    """
    clock, network, disk, events = ManualClock(), Network(), Disk(), list[Event]()
    before = connections()
    async with Simulator(options=SimulatorOptions(refresh_rotation=True), clock=clock) as simulator:
        keys = simulator.accounts["plain"]
        async with GotSurge(
            Environment.named("local", api_base=simulator.api_base),
            credentials=Credentials(client_key=keys.client_key, secret_key=keys.secret_key),
            token_store=disk,
            transport=network,
            hooks=[events.append],
            clock=clock,
        ) as gs:
            month = Month(clock, network, gs, Random(30))
            accounts = [f"account {number}" for number in range(ACCOUNTS)]
            born: dict[str, datetime] = {}
            for name in accounts:  # they came one after the other, over the days of a token's life
                await gs.adopt(name, await gs.oauth.exchange(simulator.new_code("plain")))
                born[name] = clock.now()
                await month.passes(20 * DAY / ACCOUNTS)
            before = len(events)
            asked = simulator.audit()["calls"].get("auth.refresh", 0)
            for hour in range(30 * 24):
                day, of_day = divmod(hour, 24)
                network.down = day % 7 == 3 and of_day < 10  # ten hours, now and then
                disk.full = day % 5 == 1  # a day
                if (day % 6, of_day) == (4, 12):  # and a service that does not work for the next two renewals
                    simulator.order_fault(
                        Fault(operation="auth.refresh", kind="status", status=503, when="before", times=2)
                    )
                await month.hour(accounts)
            renewed = [event for event in events[before:] if isinstance(event, TokenRefreshed)]
            asked = simulator.audit()["calls"]["auth.refresh"] - asked
            await month.passes(HOUR)
            kept = {name: await disk.load(name) for name in accounts}
            now = {name: await gs.as_account(name).tokens.current() for name in accounts}
            assert kept == now
    assert not [event for event in events if isinstance(event, SignInRequired)]
    # Each renewal was due, so there had to be as many: none came before its time, and none too late.
    for event in (event for event in events if isinstance(event, TokenRefreshed)):
        issued = event.expires_at - LIFE
        age = issued - born[event.account]
        born[event.account] = issued
        assert LIFE * (REFRESH_AT - JITTER) <= age <= LIFE * REFRESH_AT + timedelta(hours=12)
    assert len(renewed) >= ACCOUNTS
    assert len(renewed) <= asked <= 1.05 * len(renewed)
    assert disk.refused > 0
    assert month.made["NotFound"] > 1000
    assert month.made["NotSent"] > 50
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert connections() <= before  # a test before this one may have left some, which end meanwhile
