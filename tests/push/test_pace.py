"""How many calls a push has in flight at a service that takes its time, over real HTTP; judged by what it has."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest

from gotsurge_async import Created, GotSurge, Limits, Order, RetryPolicy
from gotsurge_async.bulk import Ledger, Mode, OrderState, Push
from gotsurge_async.simulator import Simulator
from gotsurge_async.testing import ManualClock, simulated
from gotsurge_async.transports.aiohttp import AiohttpTransport
from gotsurge_async.transports.base import Request, Response
from tests.support.orders import answer, orders
from tests.support.threads import Threads

LATENCY = 0.2
PATIENT = RetryPolicy(attempts=12)


@attrs.define(eq=False)
class Distant:
    """A transport on which every answer takes its time by a clock that is turned, and whose service has its limits.

    Attributes:
        takes: how many calls the service takes at a time; the others are refused by a late 429.
        most: the most calls that were in flight.
        answered: how many calls the service took.
        refused: how many calls were.
        asking: how many wait for the network now.
    """

    clock: ManualClock
    takes: int = 1000
    inner: AiohttpTransport = attrs.field(factory=AiohttpTransport)
    here: int = 0
    most: int = 0
    answered: int = 0
    refused: int = 0
    asking: int = 0

    async def send(self, request: Request) -> Response:
        self.here += 1
        self.most = max(self.most, self.here)
        try:
            if self.here > self.takes:
                self.refused += 1
                told = answer({"message": "too many requests"}, 429)
            else:
                self.answered += 1
                self.asking += 1
                try:
                    told = await self.inner.send(request)
                finally:
                    self.asking -= 1
            await self.clock.sleep(LATENCY)
            return told
        finally:
            self.here -= 1

    async def close(self) -> None:
        await self.inner.close()

    async def turn(self) -> None:
        """Let time pass, to the next sleeper, when nobody waits for the network or a thread; until it is cancelled."""
        threads = Threads()
        while True:
            await threads.rest(self.clock)
            if self.asking:
                await asyncio.sleep(0)
            else:
                await self.clock.advance(min([LATENCY / 20, *self.clock.sleepers]))


@asynccontextmanager
async def far_away(**limits: int) -> AsyncIterator[tuple[Distant, Simulator, GotSurge]]:
    """A simulator that is far away, and a client."""
    clock = ManualClock()
    far = Distant(clock)
    turning = asyncio.create_task(far.turn())
    async with (
        Simulator(clock=clock) as simulator,
        simulated(
            "platform", simulator=simulator, clock=clock, transport=far, retry=PATIENT, limits=Limits(**limits)
        ) as gs,
    ):
        yield far, simulator, gs
    turning.cancel()
    await asyncio.wait([turning])


async def created(gs: GotSurge, count: int, **given: int) -> int:
    """Push so many orders, one in a call; how many were created."""
    return len([result async for result in gs.push(orders(count), chunk=1, **given) if isinstance(result, Created)])


async def test_a_push_rises_to_the_ceiling() -> None:
    """Where answers always take 200 ms, sixty-four calls come to be in flight, and every order is there once."""
    async with far_away() as (far, simulator, gs):
        assert await created(gs, 400) == 400
        assert far.most == 64
    assert (simulator.audit()["doubled"], len(simulator.audit()["by_tracking_id"])) == ({}, 400)


@pytest.mark.parametrize(("limits", "push"), [({"concurrency": 20}, {}), ({}, {"concurrency": 20})])
async def test_a_number_that_was_given_is_the_ceiling(limits: dict[str, int], push: dict[str, int]) -> None:
    """Whoever asks for twenty calls at once, of a client or of a push, gets twenty and never more."""
    async with far_away(**limits) as (far, _, gs):
        assert await created(gs, 150, **push) == 150
        assert far.most == 20


async def test_a_push_reads_no_further_than_its_pace() -> None:
    """What was read of the source and not sent yet is a few chunks, whatever the ceiling: memory follows the pace."""
    async with far_away(concurrency=1000) as (far, _, gs):
        far.takes = 8
        read = 0

        def source() -> Iterator[Order]:
            nonlocal read
            for each in orders(300):
                read += 1
                yield each

        told = ahead = 0
        async for result in gs.push(source(), chunk=1):
            assert isinstance(result, Created)
            told += 1
            ahead = max(ahead, read - told if told > 100 else 0)
        assert told == 300
        assert ahead <= 2 * 16


@pytest.mark.parametrize("mode", list(Mode))
async def test_late_429s_lose_and_double_nothing(tmp_path: Path, mode: Mode) -> None:
    """When the service refuses, late, all above thirty calls, fewer are made, and each order is there once."""
    async with (
        far_away() as (far, simulator, gs),
        await Ledger.open(tmp_path / "ledger.db", clock=far.clock.now) as ledger,
    ):
        far.takes = 30
        push = Push(gs, ledger, mode=mode, chunk=1)
        async with (await push.load_orders(orders(200)))[0] as run:
            sent = await push.send(run)
            states = {row.state async for row in run.rows()}
        assert sent.stopped_by is None
        assert states == {OrderState.CREATED}
        assert far.refused > 0
        assert far.most <= 64
        # The first refusal halves the places, and each round of calls adds one: how many rounds there are is chance.
        assert gs.session.limiter.places <= 32 + far.answered // 32
        audit = simulator.audit()
        assert (audit["doubled"], len(audit["by_tracking_id"])) == ({}, 200)
