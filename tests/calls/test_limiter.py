"""`gotsurge_async.calls.limiter`: how many at once, and how many a second."""

import asyncio
from contextlib import nullcontext
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.calls.limiter import Limiter, yielding
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


async def entries(limiter: Limiter, clock: ManualClock, number: int, seconds: float) -> list[float]:
    """When each of so many callers that come together enters."""
    times: list[float] = []

    async def enter() -> None:
        async with limiter:
            times.append(clock.monotonic())

    async with asyncio.TaskGroup() as group:
        for _ in range(number):
            group.create_task(enter())
        await clock.advance(seconds)
    return times


async def test_turns_are_spaced_evenly() -> None:
    """With a rate the first goes at once and each next one an interval later: no second holds a burst."""
    clock = ManualClock()
    limiter = Limiter(Limits(rate=4.0), clock)
    assert await entries(limiter, clock, 9, 2.0) == [0.25 * turn for turn in range(9)]


async def test_idle_time_is_not_saved_up() -> None:
    """After a pause the rate begins anew: what was not used is gone."""
    clock = ManualClock()
    limiter = Limiter(Limits(rate=2.0), clock)
    async with limiter:
        pass
    await clock.advance(100)
    assert await entries(limiter, clock, 3, 1.0) == [100.0, 100.5, 101.0]


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
    async with asyncio.timeout(60), limiter, limiter, limiter, limiter:
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
