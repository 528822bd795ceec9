"""Tests of an order book between clocks that differ: ours, that of another process, and the service's."""

from datetime import timedelta

import pytest

from gotsurge_async.testing import ManualClock
from gotsurge_async.webhooks.book import Book
from tests.webhooks.book.kit import ACCOUNT, WAY, after, entries, task, written
from tests.webhooks.book.test_book import told


@pytest.mark.parametrize("name", ["server_time", "updated_at"])
@pytest.mark.parametrize("ahead", [timedelta(minutes=6), timedelta(days=400)])
async def test_a_time_that_is_ahead_of_our_clock_freezes_nothing(
    book: Book, clock: ManualClock, name: str, ahead: timedelta
) -> None:
    """Later reads with the right time count, whatever one answer of a machine with a wrong clock said."""
    start = clock.now()
    for steps in range(1, 8):
        time = clock.now() + (ahead if steps == 2 else timedelta())
        shown = task("T-1", [{"status": status} for status in WAY[:steps]], WAY[steps - 1], **{name: time})
        assert told(await book.observe(ACCOUNT, shown)) == [WAY[steps - 1]]
        ((order,),) = [[each async for each in book.orders()]]
        assert order.status == WAY[steps - 1]
        await clock.advance(30)
    late = task("T-1", None, "accepted", **{name: start})
    assert await book.observe(ACCOUNT, late) == []


@pytest.mark.parametrize("behind", [timedelta(minutes=6), timedelta(hours=6)])
async def test_a_clock_that_goes_back_freezes_nothing(where: str, clock: ManualClock, behind: timedelta) -> None:
    """Ours, or that of another receiver, may be behind: a read of the service's next status counts at once."""
    slow = ManualClock(clock.now() - behind)
    way = ["broadcasting", "accepted", "broadcasting", "accepted", "complete"]
    async with Book.open(where, clock=clock) as book, Book.open(where, clock=slow) as other:
        for number, status in enumerate(way):
            time = written(clock.now())
            shown = task("T-1", entries(*way[: number + 1]), status, updated_at=time, server_time=time)
            assert told(await (other if number else book).observe(ACCOUNT, shown)) == [status]
            ((order,),) = [[each async for each in book.orders()]]
            assert order.status == status
            await clock.advance(30)
            await slow.advance(30)


async def test_a_service_whose_clock_is_ahead_by_the_most_that_counts(book: Book, clock: ManualClock) -> None:
    """A little more or less of that makes no read stale."""
    for steps in range(1, 8):
        time = written(clock.now() + timedelta(seconds=300 + 2 * (-1) ** steps))
        assert told(await book.observe(ACCOUNT, task("T-1", None, WAY[steps - 1], server_time=time))) == [
            WAY[steps - 1]
        ]
        await clock.advance(30)


async def test_what_a_wrong_clock_put_off_is_handed_on(where: str, clock: ManualClock) -> None:
    """What failed, what waits behind it, and what a killed process held, while the clock was a month ahead."""
    wrong = ManualClock(clock.now() + timedelta(days=30))
    async with Book.open(where, clock=wrong) as ahead:
        for task_id in ("T-1", "T-2"):
            await ahead.observe(ACCOUNT, after(2, task_id))
        failing, _ = await ahead.waiting()
        await ahead.failed(failing, "503", wrong.now() + timedelta(seconds=30))
    async with Book.open(where, clock=clock) as book:
        assert await book.waiting() == []
        pauses = timedelta(hours=3)
        assert await book.waiting(accounts=["another"], pauses=pauses) == []
        assert await book.waiting() == []
        (change,) = await book.waiting(pauses=pauses)
        assert change.task_id == "T-1"
        await book.put_back(change, clock.now())
        await clock.advance(61)  # who holds the other one may be alive, with a wrong clock
        found = []
        while changes := await book.waiting(pauses=pauses):
            for change in changes:
                found.append((change.task_id, change.status))
                await book.acknowledge(change)
        assert sorted(found[:2]) == [("T-1", "broadcasting"), ("T-2", "broadcasting")]
        assert sorted(found[2:]) == [("T-1", "accepted"), ("T-2", "accepted")]
        await book.observe(ACCOUNT, after(3))
        (change,) = await book.waiting(pauses=pauses)
        await book.failed(change, "503", clock.now() + timedelta(minutes=10))
        await book.observe(ACCOUNT, after(3, "T-2"))
        (parked,) = await book.waiting(pauses=pauses)
        await book.park(parked, "HTTP 400")
        await book.observe(ACCOUNT, after(4, "T-2"))
        assert await book.waiting(pauses=pauses) == []


async def test_clocks_that_differ_take_no_change_from_another_process(where: str, clock: ManualClock) -> None:
    """Neither what it has in hand while it goes on, nor what it has put off for an hour."""
    pauses, lease = timedelta(hours=3), timedelta(seconds=15)
    for behind in (timedelta(minutes=25), timedelta(days=2)):
        slow = ManualClock(clock.now() - behind)
        async with Book.open(where, clock=clock) as one, Book.open(where, clock=slow) as other:
            name = f"T-{behind}"
            await one.observe(ACCOUNT, after(2, name))
            (change,) = await one.waiting(lease=lease, pauses=pauses)
            for _ in range(40):
                assert await other.waiting(lease=lease, pauses=pauses) == []
                assert await one.waiting(lease=lease, pauses=pauses) == []
                await clock.advance(1)
                await slow.advance(1)
            await one.failed(change, "503", clock.now() + timedelta(hours=1))
            assert await other.waiting(accounts=["another"], pauses=pauses) == []
            assert await one.waiting(pauses=pauses) == []
            await one.observe(ACCOUNT, after(7, name))
            await one.forget(clock.now() + timedelta(days=1))
