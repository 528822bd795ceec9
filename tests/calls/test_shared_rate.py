"""`gotsurge_async.calls.shared_rate`: one rate and one pace for many processes; several limiters stand for them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async import NotSent
from gotsurge_async.calls.limiter import COOL_DOWN, KNOWN, Limiter
from gotsurge_async.calls.shared_rate import LATE, LOOK, MARGIN, PATIENCE, TRIES, Seen, SharedRate
from gotsurge_async.config import Limits
from gotsurge_async.database.thread import DatabaseFailed
from gotsurge_async.testing import ManualClock


class FakeRow:
    """The row as PostgreSQL keeps it, with the test's clock for the server's."""

    def __init__(self, clock: ManualClock) -> None:
        self.away = False
        self.asked = 0
        self._clock = clock
        self._next_turn = self._held_until = self._halvings = 0.0
        self._slowed_at = -COOL_DOWN

    async def take(self, span: float) -> Seen:
        self.asked += 1
        now = self._here()
        start = max(self._next_turn, self._held_until, now)
        self._next_turn = start + span
        return Seen(now, start - now, self._held_until - now, self._halvings)

    async def look(self) -> Seen:
        now = self._here()
        return Seen(now, 0.0, self._held_until - now, self._halvings)

    async def slow(self, halvings: float, hold: float) -> Seen:
        now = self._here()
        self._held_until = max(self._held_until, now + hold)
        if now - self._slowed_at >= COOL_DOWN and halvings:
            self._halvings += halvings
            self._slowed_at = now
        return await self.look()

    async def close(self) -> None:
        pass

    def _here(self) -> float:
        if self.away:
            raise DatabaseFailed("the server cannot be reached")
        return self._clock.monotonic()


@attrs.frozen
class Process:
    """What one process has."""

    limiter: Limiter
    shared: SharedRate

    def answered(self, status: int = 200, *, seconds: float = 0.05, retry_after: float | None = None) -> None:
        """Have a call answered."""
        self.limiter.landed("tasks.create", status, seconds, retry_after)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def row(clock: ManualClock) -> FakeRow:
    return FakeRow(clock)


@asynccontextmanager
async def process(
    row: FakeRow, clock: ManualClock, rate: float | None = None, places: int = 16
) -> AsyncIterator[Process]:
    """One that pushes."""
    limiter = Limiter(Limits(concurrency=places), clock)
    shared = SharedRate(row, limiter, clock, rate, longest_hold=120.0)
    running = asyncio.create_task(shared.run())
    with limiter.shared(shared):
        yield Process(limiter, shared)
    running.cancel()
    await asyncio.wait([running])


@given(
    rate=st.floats(1, 400),
    calls=st.lists(st.tuples(st.integers(0, 2), st.floats(0, 2)), min_size=1, max_size=40),
)
async def test_all_together_never_go_faster(rate: float, calls: list[tuple[int, float]]) -> None:
    """Whoever comes when, in which of three processes: between two calls lies an interval, and none is forgotten."""
    clock = ManualClock()
    row = FakeRow(clock)
    begun: list[float] = []

    async def call(one: Process, at: float) -> None:
        await clock.sleep(at)
        async with one.limiter:
            begun.append(clock.monotonic())

    async with process(row, clock, rate) as a, process(row, clock, rate) as b, process(row, clock, rate) as c:
        tasks = [asyncio.create_task(call((a, b, c)[which], at)) for which, at in calls]
        await clock.advance(2 + 3 * len(calls) / rate + 10)
        assert all(task.done() for task in tasks)
    assert all(later - earlier >= 1 / rate - 1e-9 for earlier, later in pairwise(sorted(begun)))


async def test_the_whole_rate_is_used(clock: ManualClock, row: FakeRow) -> None:
    """Two processes that always have calls to make begin as many a second as they may, and ask seldom for them."""
    begun: list[float] = []

    async def calls(one: Process) -> None:
        while True:
            async with one.limiter:
                begun.append(clock.monotonic())
                await clock.sleep(0.05)

    async with process(row, clock, 200.0) as a, process(row, clock, 200.0) as b:
        tasks = [asyncio.create_task(calls(one)) for one in (a, b) for _ in range(32)]
        await clock.advance(5.0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    assert 995 <= len(begun) * (1 + MARGIN) <= 1003
    assert row.asked < len(begun) / 3


class Sluggish(ManualClock):
    """A clock whose sleepers are not woken in time."""

    frozen_until = 0.0
    lag = 0.0

    async def sleep(self, seconds: float) -> None:
        await super().sleep(max(seconds + self.lag, self.frozen_until - self.monotonic()))


async def test_whoever_is_late_asks_for_another_turn() -> None:
    """Calls of a process that stood still do not go all at once when it wakes; the turns that it missed are gone."""
    clock = Sluggish()
    begun: list[float] = []

    async def call(one: Process) -> None:
        async with one.limiter:
            begun.append(clock.monotonic())

    async with process(FakeRow(clock), clock, 10.0) as one:
        tasks = [asyncio.create_task(call(one)) for _ in range(10)]
        clock.frozen_until = 0.95
        await clock.advance(8.0)
        assert all(task.done() for task in tasks)
    late = [at for at in begun if at > 0]
    assert min(late) >= 0.95
    assert all(later - earlier >= 0.1 - 1e-9 for earlier, later in pairwise(late))
    assert one.shared.lost >= 1


async def test_who_is_always_late_goes_in_the_end() -> None:
    """A process too busy ever to be in time makes its calls all the same."""
    clock = Sluggish()
    async with process(FakeRow(clock), clock, 10.0) as one:
        await one.shared.take_turn()
        clock.lag = 2 * LATE
        turn = asyncio.create_task(one.shared.take_turn())
        await clock.advance(5.0)
        assert turn.done()
        assert one.shared.lost == TRIES - 1


async def test_a_429_of_one_lowers_the_pace_of_all(clock: ManualClock, row: FakeRow) -> None:
    """One refusal halves the calls in flight of every process, once; what others say at that moment adds nothing."""
    async with process(row, clock) as one, process(row, clock) as other, process(row, clock) as third:
        await clock.advance(LOOK)
        one.answered(429)
        other.answered(429)
        await clock.advance(LOOK)
        assert (one.limiter.places, other.limiter.places, third.limiter.places) == (8, 8, 8)
        await clock.advance(COOL_DOWN)
        third.answered(429)
        await clock.advance(LOOK)
        assert (one.limiter.places, other.limiter.places, third.limiter.places) == (4, 4, 4)


async def test_the_pace_rises_in_each_by_its_own_answers(clock: ManualClock, row: FakeRow) -> None:
    """Good answers of one process are no word for the others."""
    async with process(row, clock) as one, process(row, clock) as other:
        await clock.advance(LOOK)
        one.answered(429)
        await clock.advance(LOOK)
        async with AsyncExitStack() as calls:
            for _ in range(8):
                await calls.enter_async_context(one.limiter)
            for _ in range(200):
                one.answered()
        await clock.advance(LOOK)
        assert (one.limiter.places, other.limiter.places) == (16, 8)


async def test_one_that_comes_later_begins_at_its_own_pace(clock: ManualClock, row: FakeRow) -> None:
    """A report from before a process began does not slow it."""
    async with process(row, clock) as one:
        one.answered(429)
        await clock.advance(LOOK)
        async with process(row, clock) as late:
            await clock.advance(2 * LOOK)
            assert (one.limiter.places, late.limiter.places) == (8, 16)


@pytest.mark.parametrize("rate", [None, 20.0])
async def test_when_to_ask_again_holds_for_all(clock: ManualClock, row: FakeRow, rate: float | None) -> None:
    """While the service asks to wait no process calls; then calls begin at the rate, not all at once."""
    begun: list[float] = []

    async def call(one: Process) -> None:
        async with one.limiter:
            begun.append(clock.monotonic())

    async with process(row, clock, rate) as one, process(row, clock, rate) as other:
        one.answered(429, retry_after=7.0)
        await clock.advance(LOOK)
        tasks = [asyncio.create_task(call(each)) for each in (one, other) for _ in range(4)]
        await clock.advance(6.0)
        assert not begun
        await clock.advance(2.0)
        await asyncio.wait(tasks)
    assert min(begun) >= 7.0
    if rate:
        assert all(later - earlier >= 1 / rate - 1e-9 for earlier, later in pairwise(sorted(begun)))


async def test_a_call_that_gives_up_holds_no_other(clock: ManualClock, row: FakeRow) -> None:
    """When the service asks for longer than a call waits, that call ends, and the others find out by themselves."""
    async with process(row, clock) as one:
        one.answered(429, retry_after=3600.0)
        await clock.advance(LOOK)
        async with one.limiter:
            assert clock.monotonic() == LOOK


async def test_a_database_that_is_away_is_waited_for(clock: ManualClock, row: FakeRow) -> None:
    """A call waits while its turn is unknown, and begins when the database is back."""
    row.away = True
    async with process(row, clock, 10.0) as one:
        turn = asyncio.create_task(one.shared.take_turn())
        await clock.advance(PATIENCE / 2)
        assert not turn.done()
        row.away = False
        await clock.advance(2.0)
        await turn


async def test_a_database_that_stays_away_ends_the_wait(clock: ManualClock, row: FakeRow) -> None:
    """After some seconds the call was certainly not sent, and the error says why; the next one is tried again."""
    row.away = True
    async with process(row, clock, 10.0) as one:
        turn = asyncio.create_task(one.shared.take_turn())
        await clock.advance(PATIENCE + 2)
        with pytest.raises(NotSent, match="the shared rate cannot be used: the server cannot be reached"):
            await turn
        row.away = False
        turn = asyncio.create_task(one.shared.take_turn())
        await clock.advance(2.0)
        await turn


async def test_who_gives_up_takes_no_turn(clock: ManualClock, row: FakeRow) -> None:
    """A call that is cancelled while it waits is not asked for, and its place is free."""
    async with process(row, clock, 1.0, places=2) as one:

        async def call() -> None:
            async with one.limiter:
                pass

        for _ in range(2):
            gone = asyncio.create_task(call())
            await asyncio.sleep(0)
            gone.cancel()
        await clock.advance(LOOK)
        assert row.asked == 0
        async with asyncio.timeout(60), one.limiter:
            pass


async def test_answers_that_become_slow_lower_the_pace_of_all(clock: ManualClock, row: FakeRow) -> None:
    """A quarter of the calls in flight goes, in every process, when the answers to one take much longer than before."""
    async with process(row, clock) as one, process(row, clock) as other:
        await clock.advance(LOOK)
        for seconds in [0.1] * KNOWN + [5.0] * KNOWN:
            one.answered(seconds=seconds)
        await clock.advance(LOOK)
        assert (one.limiter.places, other.limiter.places) == (12, 12)


@pytest.mark.parametrize("held", [False, True], ids=["for its turn", "until it may ask again"])
async def test_who_is_stopped_waits_no_longer(clock: ManualClock, row: FakeRow, held: bool) -> None:
    """A call that would begin in minutes is not sent, and says why; its place is free, and no other call begins."""
    async with process(row, clock, None if held else 0.01) as one:
        if held:
            one.answered(429, retry_after=100.0)
        else:
            await one.shared.take_turn()

        async def call() -> None:
            async with one.limiter:
                raise AssertionError("it must not begin")

        waiting = [asyncio.create_task(call()) for _ in range(3)]
        await clock.advance(LOOK)
        one.shared.give_up()
        await clock.settle()
        for task in (*waiting, asyncio.create_task(call())):
            with pytest.raises(NotSent, match="waited for its turn"):
                await task
