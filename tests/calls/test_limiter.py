"""`gotsurge_async.calls.limiter`: how many at once, and how many a second."""

import asyncio
from contextlib import AsyncExitStack, nullcontext
from itertools import pairwise
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.calls.limiter import COOL_DOWN, KNOWN, START, Limiter, yielding
from gotsurge_async.config import Limits
from gotsurge_async.testing import ManualClock


async def test_no_more_than_the_places_are_taken() -> None:
    """However many come, only so many are inside at once, and all get in."""
    limiter = Limiter(Limits(concurrency=3), ManualClock())
    inside = most = through = 0

    async def enter() -> None:
        nonlocal inside, most, through
        async with limiter:
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1
        through += 1

    await asyncio.gather(*(enter() for _ in range(20)))
    assert (most, through) == (3, 20)


async def test_turns_are_spaced_evenly() -> None:
    """With a rate the first goes at once and each next one an interval later: no second holds a burst."""
    clock = ManualClock()
    limiter = Limiter(Limits(rate=4.0), clock)
    times: list[float] = []

    async def enter() -> None:
        async with limiter:
            times.append(clock.monotonic())

    async with asyncio.TaskGroup() as group:
        for _ in range(9):
            group.create_task(enter())
        await clock.advance(2.0)
    assert times == [0.25 * turn for turn in range(9)]


async def test_idle_time_is_not_saved_up() -> None:
    """After a pause the rate begins anew: what was not used is gone."""
    clock = ManualClock()
    limiter = Limiter(Limits(rate=2.0), clock)
    async with limiter:
        pass
    await clock.advance(100)
    times: list[float] = []

    async def enter() -> None:
        async with limiter:
            times.append(clock.monotonic())

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(enter())
        await clock.advance(1.0)
    assert times == [100.0, 100.5, 101.0]


@given(
    rate=st.floats(0.5, 50),
    concurrency=st.integers(1, 5),
    arrivals=st.lists(st.floats(0, 3), min_size=1, max_size=12),
    stay=st.floats(0, 2),
)
async def test_the_rate_holds_whoever_comes_when(
    rate: float, concurrency: int, arrivals: list[float], stay: float
) -> None:
    """Between two entries lies at least an interval, and never are more inside than there are places."""
    clock = ManualClock()
    limiter = Limiter(Limits(concurrency=concurrency, rate=rate), clock)
    times: list[float] = []
    inside = 0

    async def enter(at: float) -> None:
        nonlocal inside
        await clock.sleep(at)
        async with limiter:
            times.append(clock.monotonic())
            inside += 1
            assert inside <= concurrency
            await clock.sleep(stay)
            inside -= 1

    async with asyncio.TaskGroup() as group:
        for at in arrivals:
            group.create_task(enter(at))
        await clock.advance(1000)
    assert len(times) == len(arrivals)
    assert all(later - earlier >= 1 / rate - 1e-9 for earlier, later in pairwise(times))


@pytest.mark.parametrize("rate", [None, 0.1], ids=["for a place", "for a turn"])
async def test_a_cancelled_wait_leaks_no_place(rate: float | None) -> None:
    """Who is cancelled while waiting, for a place or for a turn, leaves the place to the next."""
    clock = ManualClock()
    limiter = Limiter(Limits(concurrency=1, rate=rate), clock)
    go_on = asyncio.Event()
    entered: list[str] = []

    async def enter(name: str, stay: bool = False) -> None:
        async with limiter:
            entered.append(name)
            if stay:
                await go_on.wait()

    first = asyncio.create_task(enter("first", stay=rate is None))
    await clock.settle()
    waiting = [asyncio.create_task(enter(name)) for name in ("b", "c")]
    await clock.settle()
    for task in waiting:
        task.cancel()
    await clock.settle()
    assert all(task.cancelled() for task in waiting)
    go_on.set()
    await first
    last = asyncio.create_task(enter("last"))
    await clock.advance(100)
    assert last.done()
    assert entered == ["first", "last"]


async def test_an_error_inside_gives_the_place_back() -> None:
    """Whatever ends the block, the next may enter."""
    limiter = Limiter(Limits(concurrency=1), ManualClock())
    for _ in range(3):
        with pytest.raises(RuntimeError, match="inside"):
            async with limiter:
                raise RuntimeError("inside")
    async with limiter:
        pass


@given(
    st.lists(
        st.one_of(
            st.just(("enter", 0)),
            st.tuples(st.sampled_from(["leave", "cancel", "cancel as it is let in"]), st.integers(0, 20)),
            st.tuples(st.just("resize"), st.integers(-1, 7)),
            st.just(("rest", 0)),
        ),
        max_size=40,
    )
)
async def test_places_are_neither_lost_nor_made_up(steps: list[tuple[str, int]]) -> None:
    """Whoever comes, leaves or is cancelled at whatever moment, and however it is resized, the places add up."""
    clock = ManualClock()
    limiter = Limiter(Limits(concurrency=4), clock)
    inside: list[asyncio.Event] = []
    tasks: list[asyncio.Task[None]] = []
    bound = 4  # the most places since it last came to rest: who was let in then stays

    async def enter() -> None:
        go_on = asyncio.Event()
        async with limiter:
            inside.append(go_on)
            try:
                await go_on.wait()
            finally:
                inside.remove(go_on)

    for step, number in steps:
        running = [task for task in tasks if not task.done()]
        if step == "enter":
            tasks.append(asyncio.create_task(enter()))
        elif step == "resize":
            limiter.resize(number)
            assert limiter.places == min(max(number, 1), 4)
            bound = max(bound, limiter.places)
        elif step == "rest":
            await clock.settle()
            assert len(inside) <= bound
            bound = max(limiter.places, len(inside))
        elif step == "leave" and inside:
            inside[number % len(inside)].set()
        elif running:
            if step != "cancel" and inside:
                inside[0].set()
                await asyncio.sleep(0)
            running[number % len(running)].cancel()
    limiter.resize(4)
    await clock.settle()
    assert len(inside) == min(4, sum(not task.done() for task in tasks))
    while inside:
        inside[0].set()
        await clock.settle()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(5), limiter, limiter, limiter, limiter:
        assert limiter.places == 4


async def test_places_are_given_in_order() -> None:
    """Who asked first is let in first."""
    clock = ManualClock()
    limiter = Limiter(Limits(concurrency=2), clock)
    order: list[int] = []

    async def enter(number: int) -> None:
        async with limiter:
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(enter(number) for number in range(20)))
    assert order == list(range(20))


# --- the pace --------------------------------------------------------------------------------------------------------


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


async def test_rising_latency_lowers_the_pace(clock: ManualClock) -> None:
    """When answers come to take many times what they took, calls in flight become fewer; one a time stays."""
    service = a_service(clock)
    await service.serve(2.0)
    service.seconds = 2.0
    await service.serve(10.0)
    assert service.limiter.places <= 32


async def test_it_recovers_when_answers_are_quick_again(clock: ManualClock) -> None:
    """After the trouble the calls are as many as before."""
    service = a_service(clock)
    await service.serve(2.0)
    service.seconds = 2.0
    await service.serve(10.0)
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
    async with asyncio.timeout(5), AsyncExitStack() as stack:
        for _ in range(64):
            await stack.enter_async_context(service.limiter)


async def test_those_who_yield_wait_for_all_others() -> None:
    """A place that becomes free goes to whoever does not yield, also to one that came later."""
    limiter = Limiter(Limits(concurrency=1), ManualClock())
    order: list[str] = []

    async def call(name: str, *, yields: bool) -> None:
        with yielding() if yields else nullcontext():
            async with limiter:
                order.append(name)
                await asyncio.sleep(0)

    async with limiter:
        calls = [
            asyncio.create_task(call(name, yields="read" in name)) for name in ("read 1", "push 1", "read 2", "push 2")
        ]
        await asyncio.sleep(0)
    await asyncio.gather(*calls)
    assert order == ["push 1", "push 2", "read 1", "read 2"]


async def test_who_yields_and_is_cancelled_takes_no_place() -> None:
    """One that gave up while it waited is passed over."""
    limiter = Limiter(Limits(concurrency=1), ManualClock())

    async def call() -> None:
        with yielding():
            async with limiter:
                pass

    async with limiter:
        gone, here = asyncio.create_task(call()), asyncio.create_task(call())
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
    await here
    async with limiter:
        pass
