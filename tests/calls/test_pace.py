"""The pace of `gotsurge_async.calls.limiter`: as many calls at once as the service takes, found out by its answers."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import attrs
import pytest

from gotsurge_async.calls.limiter import COOL_DOWN, KNOWN, START, Limiter
from gotsurge_async.config import Limits
from gotsurge_async.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """Time that the test turns."""
    return ManualClock()


@attrs.define
class Service:
    """Answers calls through a limiter: as many at a time as it can, the others wait in a line of its own.

    Attributes:
        seconds: how long it works at one.
        workers: how many it works at, at a time.
        refuses_above: how many it may have, waiting or at work, before it answers 429.
        most: the most calls that it had, since that was last set to 0.
    """

    limiter: Limiter
    clock: ManualClock
    seconds: float = 0.2
    workers: int = 1000
    refuses_above: int = 1000
    here: int = 0
    most: int = 0
    answers: int = 0
    refusals: int = 0

    async def call(self, at_work: asyncio.Semaphore, operation: str = "tasks.create") -> None:
        async with self.limiter:
            begun = self.clock.monotonic()
            self.here += 1
            self.most = max(self.most, self.here)
            refused = self.here > self.refuses_above
            if refused:
                self.refusals += 1
                await self.clock.sleep(0.01)
            else:
                async with at_work:
                    await self.clock.sleep(self.seconds)
            self.here -= 1
            self.answers += 1
            self.limiter.landed(operation, 429 if refused else 200, self.clock.monotonic() - begun)

    async def serve(self, seconds: float, callers: int = 100) -> None:
        """Have so many callers make one call after the other, for some time."""
        at_work = asyncio.Semaphore(self.workers)
        self.most = 0

        async def calls() -> None:
            while True:
                await self.call(at_work)

        tasks = [asyncio.create_task(calls()) for _ in range(callers)]
        await self.clock.advance(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        self.here = 0


def a_service(clock: ManualClock, concurrency: int = 64, **given: Any) -> Service:
    return Service(Limiter(Limits(concurrency=concurrency), clock), clock, **given)


async def test_it_rises_to_its_ceiling_while_answers_stay_quick(clock: ManualClock) -> None:
    """From sixteen at a time the calls double with each round, up to the limit that the user set and no further."""
    service = a_service(clock)
    assert service.limiter.places == START
    await service.serve(0.19)
    assert service.most == START
    await service.serve(1.0)
    assert (service.limiter.places, service.most) == (64, 64)
    await service.serve(3.0)
    assert (service.limiter.places, service.most) == (64, 64)


@pytest.mark.parametrize("most", [1, 5, 16])
async def test_a_low_ceiling_is_where_it_begins(clock: ManualClock, most: int) -> None:
    """Who asks for few calls at once has so many from the beginning, and never more."""
    service = a_service(clock, most)
    assert service.limiter.places == most
    await service.serve(3.0)
    assert (service.limiter.places, service.most) == (most, most)


async def test_few_callers_earn_no_places(clock: ManualClock) -> None:
    """Calls that leave most of the places free are no proof that the service bears more."""
    service = a_service(clock)
    await service.serve(20.0, callers=START // 2 - 1)
    assert service.limiter.places == START


async def test_waiting_for_a_turn_earns_no_places(clock: ManualClock) -> None:
    """Where the rate is what holds calls back, more of them at a time would only wait."""
    service = Service(Limiter(Limits(concurrency=64, rate=10), clock), clock)
    await service.serve(30.0)
    assert service.limiter.places == START


async def test_a_429_halves_the_pace_once(clock: ManualClock) -> None:
    """All the 429s of one moment halve the calls in flight once; one that comes later halves them again."""
    limiter = Limiter(Limits(concurrency=16), clock)
    for _ in range(16):
        limiter.landed("tasks.create", 429, 0.05)
    assert limiter.places == 8
    await clock.advance(COOL_DOWN)
    limiter.landed("tasks.create", 429, 0.05)
    assert limiter.places == 4


async def test_late_429s_of_long_calls_count_once(clock: ManualClock) -> None:
    """Where a call takes long, what is in flight at a 429 may be refused for as long, and tells nothing new."""
    service = a_service(clock, 16, seconds=5.0)
    await service.serve(20.0)
    service.limiter.landed("tasks.create", 429, 5.0)
    await clock.advance(4.9)
    service.limiter.landed("tasks.create", 429, 5.0)
    assert service.limiter.places == 8


async def test_after_a_429_it_rises_by_one_a_round(clock: ManualClock) -> None:
    """It recovers all the same, and not with a burst: that there is a limit is known by then."""
    service = a_service(clock)
    await service.serve(2.0)
    service.limiter.landed("tasks.create", 429, 0.05)
    assert service.limiter.places == 32
    await service.serve(1.01)
    assert 35 <= service.limiter.places <= 38
    await service.serve(8.0)
    assert service.limiter.places == 64


async def test_it_stays_near_what_a_service_takes(clock: ManualClock) -> None:
    """A service that refuses the calls above forty is asked nearly as often as it bears, and seldom refuses."""
    service = a_service(clock, refuses_above=40)
    await service.serve(5.0)
    service.answers = service.refusals = 0
    await service.serve(10.0)
    assert 20 <= service.limiter.places <= 41
    assert service.answers >= 0.7 * 10.0 * 40 / 0.2
    assert service.refusals <= 0.03 * service.answers


async def test_calls_that_would_only_wait_are_not_made(clock: ManualClock) -> None:
    """A service that works at sixteen at a time gets some more than that, and never four times as many for long."""
    service = a_service(clock, 1000, workers=16)
    await service.serve(30.0)
    assert 16 <= service.limiter.places <= 48


async def test_rising_latency_lowers_the_pace_until_answers_are_quick_again(clock: ManualClock) -> None:
    """When answers come to take many times what they took, calls become fewer; after the trouble as many as before."""
    service = a_service(clock)
    await service.serve(2.0)
    service.seconds = 2.0
    await service.serve(10.0)
    assert service.limiter.places <= 32
    service.seconds = 0.2
    await service.serve(15.0)
    assert service.limiter.places == 64


async def test_a_service_that_became_slow_for_good_is_no_trouble(clock: ManualClock) -> None:
    """What is usual is learnt anew: the calls become as many as they were before it took longer."""
    service = a_service(clock)
    await service.serve(2.0)
    service.seconds = 0.8
    await service.serve(60.0)
    assert service.limiter.places == 64


async def test_a_service_that_was_always_slow_is_no_trouble(clock: ManualClock) -> None:
    """Slow but even answers are no reason to have fewer calls, or not to have more."""
    service = a_service(clock, seconds=5.0)
    await service.serve(40.0)
    assert service.limiter.places == 64


async def test_one_slow_answer_is_no_trouble(clock: ManualClock) -> None:
    """What takes a minute once, of many, changes nothing."""
    service = a_service(clock)
    await service.serve(2.0)
    service.limiter.landed("tasks.create", 200, 60.0)
    assert service.limiter.places == 64


async def test_operations_are_no_measure_for_each_other(clock: ManualClock) -> None:
    """Reads that take a moment make no slow ones of creates that take long, as they always do."""
    limiter = Limiter(Limits(concurrency=16), clock)
    for _ in range(100):
        limiter.landed("tasks.get", 200, 0.02)
        limiter.landed("tasks.create", 200, 2.0)
        await clock.advance(COOL_DOWN)
    assert limiter.places == 16


async def test_answers_that_never_come_are_slow(clock: ManualClock) -> None:
    """Time-outs lower the pace; connections that break at once, and refusals, change nothing."""
    limiter = Limiter(Limits(concurrency=16), clock)
    for _ in range(KNOWN):
        limiter.landed("tasks.create", 200, 0.2)
    for status in (None, 422, 500, 503):
        for _ in range(KNOWN):
            limiter.landed("tasks.create", status, 0.001)
    for _ in range(KNOWN):
        limiter.landed("tasks.create", 200, 0.2)
    assert limiter.places == 16
    for _ in range(KNOWN):
        limiter.landed("tasks.create", None, 60.0)
    assert limiter.places == 12


async def test_the_pace_never_ends(clock: ManualClock) -> None:
    """However many 429s come, one call may be in flight; and from there it rises again."""
    service = a_service(clock)
    for _ in range(10):
        service.limiter.landed("tasks.create", 429, 0.05)
        await clock.advance(COOL_DOWN)
    assert service.limiter.places == 1
    for status in (None, 422, 500):
        service.limiter.landed("tasks.create", status, 0.05)
    assert service.limiter.places == 1
    await service.serve(20.0)
    assert service.limiter.places > 5


async def test_each_client_has_a_pace_of_its_own(clock: ManualClock) -> None:
    """A 429 of one host is no word about another's."""
    one, other = a_service(clock), a_service(clock)
    one.limiter.landed("tasks.create", 429, 0.05)
    await other.serve(2.0)
    assert (one.limiter.places, other.limiter.places) == (8, 64)


async def test_cancelled_calls_give_back_the_places_that_it_rose_to(clock: ManualClock) -> None:
    """After many calls were cancelled in flight and in the line, as many as ever get in."""
    service = a_service(clock)
    await service.serve(2.05)  # cuts its calls off in the middle
    assert service.limiter.places == 64
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        for _ in range(64):
            await stack.enter_async_context(service.limiter)
