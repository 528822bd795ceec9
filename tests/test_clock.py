"""`gotsurge_async.clock`: the machine's own time, and what must not be left half done."""

import asyncio
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from gotsurge_async.clock import Clock, Deadline, SystemClock, in_zone, moved_by, uninterrupted
from gotsurge_async.ledger import LedgerError
from gotsurge_async.testing import ManualClock


def system() -> Clock:
    return SystemClock()


def test_the_present_is_in_utc() -> None:
    """Now is an aware time in UTC, and the present."""
    now = system().now()
    assert now.tzinfo is UTC
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=5)


async def test_monotonic_time_counts_a_sleep() -> None:
    """Time never runs backwards, and a sleep takes as long as was asked."""
    clock = system()
    before = clock.monotonic()
    await clock.sleep(0.01)
    assert clock.monotonic() - before >= 0.0099
    await clock.sleep(0)


def test_times_end_where_the_years_end() -> None:
    """What would be beyond the first or the last time is that time, or stays in the zone that it is in."""
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    day, hours = timedelta(days=1), timedelta(hours=8)
    assert moved_by(first, -day) == first
    assert moved_by(last, day) == moved_by(last, timedelta.max) == last
    assert moved_by(first, day) == datetime(1, 1, 2, tzinfo=UTC)
    singapore = ZoneInfo("Asia/Singapore")
    assert in_zone(last, singapore) == last
    assert in_zone(datetime(2026, 1, 2, tzinfo=UTC), singapore).utcoffset() == hours


async def test_a_write_that_fails_after_a_cancellation_is_reported() -> None:
    """The cancellation is raised when the write has ended, and its error is the cause."""
    go_on = asyncio.Event()

    async def write() -> None:
        await go_on.wait()
        raise LedgerError("the disk is full")

    writing = asyncio.create_task(uninterrupted(write()))
    await asyncio.wait([writing], timeout=0.001)
    writing.cancel()
    await asyncio.wait([writing], timeout=0.001)
    assert not writing.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError) as raised:
        await writing
    assert isinstance(raised.value.__cause__, LedgerError)


async def test_what_was_begun_is_ended_though_it_is_cancelled() -> None:
    """A write that was begun is not broken off."""
    go_on = asyncio.Event()
    writes = []

    async def write() -> None:
        await go_on.wait()
        writes.append("whole")

    writing = asyncio.create_task(uninterrupted(write()))
    await asyncio.wait([writing], timeout=0.001)
    writing.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError) as raised:
        await writing
    assert (writes, raised.value.__cause__) == (["whole"], None)


async def test_a_deadline_can_only_become_sooner() -> None:
    """Who waits for it hears of that; work that lasts longer goes on."""
    clock = ManualClock()
    deadline = Deadline(clock)
    work: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(deadline.awaits(work, 2))
    for seconds in (None, 5, 3, 60):
        await clock.settle()
        deadline.within(seconds)
    assert deadline.left == 3
    await clock.advance(4)
    assert not waiting.done()
    await clock.advance(1)
    assert await waiting is False
    assert deadline.left == 0
    work.set_result(None)
    assert await deadline.awaits(work)
