"""Tests of the order book: what it takes in, hands on and tells, in a file and on a server."""

import asyncio
import sqlite3
import stat
import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.bulk import Ledger
from gotsurge_async.database import Database
from gotsurge_async.errors import ConfigError
from gotsurge_async.models.answers import Task
from gotsurge_async.money import Money
from gotsurge_async.testing import ManualClock
from gotsurge_async.webhooks.book import AGES, Book, Change, Only
from gotsurge_async.webhooks.book.book import OTHER
from gotsurge_async.webhooks.store import StoreError
from tests.webhooks.book.kit import ACCOUNT, START, WAY, after, at, entries, task, written


def told(changes: list[Change]) -> list[str]:
    """The statuses of changes."""
    return [change.status for change in changes]


async def test_each_step_is_a_change_once_and_in_order(book: Book) -> None:
    """A read gives the steps that were not known, with what was before them and the task as it was read."""
    assert told(await book.observe(ACCOUNT, after(1), at=at(1))) == ["broadcasting"]
    assert await book.observe(ACCOUNT, after(1), at=at(2)) == []
    changes = await book.observe(ACCOUNT, after(3, tracking_id="TRK-9"), at=at(30))
    assert [(change.status, change.previous, change.at) for change in changes] == [
        ("accepted", "broadcasting", at(10)),
        ("pending_pickup", "accepted", at(20)),
    ]
    assert {change.task.tracking_id for change in changes} == {"TRK-9"}
    assert all(change.entry is not None and not change.late and change.seen_at == at(30) for change in changes)
    ((order,),) = [[each async for each in book.orders()]]
    assert (order.status, order.changed_at, order.seen_at) == ("pending_pickup", at(20), at(30))
    assert [step.status for step in await book.history(order)] == list(WAY[:3])


async def test_an_older_read_takes_nothing_back(book: Book) -> None:
    """What was read before what is known, and comes after it, changes neither the status nor the task."""
    await book.observe(ACCOUNT, after(4, group_tag="new"))
    assert await book.observe(ACCOUNT, after(2, group_tag="old")) == []
    ((order,),) = [[each async for each in book.orders()]]
    assert (order.status, order.task.group_tag) == ("pickup_arriving", "new")


async def test_what_was_observed_outlives_the_process(where: str, clock: ManualClock) -> None:
    """Another opening finds orders, their history, and what was not acknowledged."""
    async with Book.open(where, clock=clock) as book:
        (change,) = await book.observe(ACCOUNT, after(1))
    async with Book.open(where, clock=clock) as book:
        assert await book.waiting() == [change]
        assert await is_known(book, ACCOUNT, "T-1") is True


async def test_the_file_is_its_owners_alone(path: Path) -> None:
    """It and what SQLite puts beside it have mode 0600; a folder that was made 0700."""
    where = path.parent / "new" / "book.db"
    async with Book.open(where) as book:
        await book.observe(ACCOUNT, after(1))
        modes = {stat.S_IMODE(each.stat().st_mode) for each in where.parent.iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE(where.parent.stat().st_mode) == 0o700


async def test_a_ledger_is_no_book(path: Path) -> None:
    """A ledger's file is refused, and not touched."""
    async with await Ledger.open(path):
        with pytest.raises(ConfigError, match="is a ledger"):
            async with Book.open(path):
                pass
    assert b"book_orders" not in path.read_bytes()


async def test_a_book_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    """A folder in its place, or a file that is none, is told by its path."""
    (tmp_path / "text").write_text("no database " * 100)
    for name in (".", "text"):
        with pytest.raises(StoreError, match=str(tmp_path)):
            async with Book.open(tmp_path / name):
                pass


async def test_one_change_of_a_task_is_in_hand(book: Book) -> None:
    """The next one of a task comes when the first is acknowledged, also after it was parked; others are not held up."""
    await book.observe(ACCOUNT, after(3))
    await book.observe(ACCOUNT, after(2, "T-2"))
    first = await book.waiting()
    assert [(change.task_id, change.status) for change in first] == [("T-1", "broadcasting"), ("T-2", "broadcasting")]
    assert await book.waiting() == []
    await book.acknowledge(first[0])
    (second,) = await book.waiting()
    assert (second.task_id, second.status) == ("T-1", "accepted")
    await book.park(second, "no handler takes it")
    assert await book.waiting() == []
    (parked,) = await book.parked_changes()
    assert (parked.number, parked.why, parked.attempts) == (second.number, "no handler takes it", 1)
    assert await book.resend(second.number)
    assert not await book.resend(second.number)
    (again,) = await book.waiting()
    assert (again.number, again.attempts, again.failing_since) == (second.number, 0, None)
    await book.acknowledge(again)
    assert told(await book.waiting()) == ["pending_pickup"]


async def test_a_parked_change_may_be_skipped(book: Book) -> None:
    """The later ones of its task are handed on then; a change that is not parked stays."""
    await book.observe(ACCOUNT, after(2))
    (first,) = await book.waiting()
    await book.park(first, "HTTP 400")
    assert not await book.skip(first.number + 1)
    assert await book.skip(first.number)
    assert not await book.skip(first.number)
    assert await book.parked_changes() == []
    assert told(await book.waiting()) == ["accepted"]


async def handed_on(book: Book) -> list[tuple[str, int]]:
    """Tasks and numbers of all changes that wait, as they are handed on, each acknowledged."""
    found = []
    while changes := await book.waiting():
        for change in changes:
            found.append((change.task_id, change.number))
            await book.acknowledge(change)
    return found


async def test_all_changes_from_a_number_come_again(book: Book, clock: ManualClock) -> None:
    """Those acknowledged, parked, put off or waiting, in order for each task, with their numbers; no earlier ones."""
    await book.observe(ACCOUNT, after(3))
    await book.observe(ACCOUNT, after(3, "T-2"))
    first = await handed_on(book)
    await book.observe(ACCOUNT, after(4))
    (change,) = await book.waiting()
    await book.park(change, "HTTP 400")
    await book.observe(ACCOUNT, after(4, "T-2"))
    (change,) = await book.waiting()
    await book.failed(change, "HTTP 500", clock.now() + timedelta(hours=1))
    numbers = sorted(number for _, number in first)
    assert await book.resend_from(numbers[1]) == len(numbers) - 1 + 2
    again = await handed_on(book)
    assert sorted(number for _, number in again) == [*numbers[1:], change.number - 1, change.number]
    for task_id in ("T-1", "T-2"):
        mine = [number for whose, number in again if whose == task_id]
        assert mine == sorted(mine)
    assert await book.resend_from(change.number + 1) == await book.resend_from(10**30) == await book.resend(10**30) == 0


async def test_what_is_in_hand_when_earlier_changes_are_sent_again_follows_them(book: Book) -> None:
    """No earlier change is handed out beside it, and its acknowledgement does not end what was to be sent again."""
    await book.observe(ACCOUNT, after(2))
    (first,) = await book.waiting()
    await book.acknowledge(first)
    (second,) = await book.waiting()
    await book.resend_from(first.number)
    assert await book.waiting() == []
    await book.acknowledge(second)
    assert [number for _, number in await handed_on(book)] == [first.number, second.number]
    await book.resend_from(second.number)
    (alone,) = await book.waiting()
    await book.resend_from(alone.number)
    await book.acknowledge(alone)
    assert [number for _, number in await handed_on(book)] == [alone.number]


async def test_what_failed_comes_again_and_holds_its_task_up(book: Book, clock: ManualClock) -> None:
    """Not before its time, with the number of attempts and the reason; the task's later changes wait."""
    await book.observe(ACCOUNT, after(2))
    (change,) = await book.waiting()
    await book.failed(change, "503", clock.now() + timedelta(seconds=30))
    assert await book.waiting() == []
    await clock.advance(30)
    (again,) = await book.waiting()
    assert (again.status, again.attempts, again.why) == ("broadcasting", 1, "503")


async def test_two_processes_never_have_one_change_at_once(where: str, clock: ManualClock) -> None:
    """What one has in hand the other gets only when the first no longer asks, and its lease is over."""
    lease = timedelta(seconds=60)
    async with Book.open(where, clock=clock) as one, Book.open(where, clock=clock) as other:
        await one.observe(ACCOUNT, after(2))
        (change,) = await one.waiting(lease=lease)
        assert await other.waiting(lease=lease) == []
        await clock.advance(50)
        assert await one.waiting(lease=lease) == []  # it still has it
        await clock.advance(50)
        assert await other.waiting(lease=lease) == []
        await clock.advance(11)
        (taken,) = await other.waiting(lease=lease)
        assert taken.number == change.number
        assert await one.waiting(lease=lease) == []


async def test_many_see_one_task_at_once(where: str, clock: ManualClock) -> None:
    """Two processes that read the same tasks at the same time give each step to one of them."""
    async with Book.open(where, clock=clock) as one, Book.open(where, clock=clock) as other:
        both = [
            each.observe(ACCOUNT, after(steps, f"T-{number}"))
            for number in range(10)
            for steps in (3, 7, 5)
            for each in (one, other)
        ]
        changes = [change for found in await asyncio.gather(*both) for change in found]
    assert len(changes) == 70
    assert len({(change.task_id, change.status) for change in changes}) == 70


async def test_the_sweep_reads_what_was_not_heard_of(book: Book) -> None:
    """By the age of each status; unknown statuses too, those that nothing is known of, and never one at its end."""
    await book.observe(ACCOUNT, after(1, "T-fast"), at=START)
    await book.observe(ACCOUNT, after(2, "T-slow"), at=START)
    await book.observe(ACCOUNT, after(7, "T-done"), at=START)
    await book.observe(ACCOUNT, task("T-odd", current="lost_at_sea"), at=START)
    await book.observe("local/platform", task("T-blank", None), at=START)
    ages = {"broadcasting": timedelta(minutes=1), "accepted": timedelta(minutes=9), OTHER: timedelta(minutes=5)}
    assert await book.due(at(0.9), ages) == []
    assert await book.due(at(1), ages) == [(ACCOUNT, "T-fast")]
    assert set(await book.due(at(5), ages)) == {
        (ACCOUNT, "T-fast"),
        (ACCOUNT, "T-odd"),
        ("local/platform", "T-blank"),
    }
    await book.observe(ACCOUNT, after(1, "T-fast"), at=at(4.5))
    assert (ACCOUNT, "T-fast") not in await book.due(at(5), ages)
    assert len(await book.due(at(600), AGES)) == 4
    assert len(await book.due(at(600), AGES, limit=2)) == 2


async def test_a_status_with_many_tasks_leaves_others_their_reads(book: Book) -> None:
    """Of more tasks than can be read those come first that are overdue by most of the age of their status."""
    for number in range(30):
        await book.observe(ACCOUNT, after(1, f"T-many-{number}"), at=at(number / 10))
    for number in range(3):
        await book.observe(ACCOUNT, after(6, f"T-near-{number}"), at=at(5))
    ages = {"broadcasting": timedelta(minutes=10), "delivery_arriving": timedelta(minutes=5)}
    due = await book.due(at(16), ages, limit=20)
    assert [task_id for _, task_id in due] == [
        *(f"T-near-{number}" for number in range(3)),
        *(f"T-many-{number}" for number in range(17)),
    ]
    assert len(await book.due(at(16), ages)) == 33


async def is_known(book: Book, account: str, task_id: str) -> bool | None:
    """Whether a task is in the book."""
    return (await book.known([(account, task_id)]))[account, task_id]


async def test_an_unknown_id_is_remembered(book: Book) -> None:
    """It is known not to be there, for the account that asked, until a read or a push says otherwise."""
    assert await is_known(book, ACCOUNT, "T-1") is None
    await book.not_found(ACCOUNT, "T-1")
    assert await is_known(book, ACCOUNT, "T-1") is False
    assert await is_known(book, "local/platform", "T-1") is None
    assert await book.due(at(60_000)) == []
    await book.observe(ACCOUNT, after(1))
    assert await is_known(book, ACCOUNT, "T-1") is True
    await book.not_found(ACCOUNT, "T-1", at(5))
    assert await is_known(book, ACCOUNT, "T-1") is True
    assert await book.due(at(14)) == []
    assert await book.due(at(16)) == [(ACCOUNT, "T-1")]


async def test_what_a_ledger_knows_is_a_part(book: Book) -> None:
    """What it does not say stays as it was read."""
    await book.observe(ACCOUNT, after(1, group_tag="G", price=500_000, currency="SGD"))
    (change,) = await book.observe(ACCOUNT, task(current="accepted", updated_at=written(at(12))), source="ledger")
    assert (change.status, change.at, change.entry, change.source) == ("accepted", at(12), None, "ledger")
    assert (change.task.group_tag, change.task.price) == ("G", Money.of("5.00", "SGD"))
    assert await book.observe(ACCOUNT, after(2)) == []


async def test_orders_are_found_by_what_people_know(book: Book) -> None:
    """By vessel (a part of its name, in any case; its IMO), berth, tag, status, account, id and day, also together."""

    def to(vessel: str, imo: int, berth: str, day: int) -> dict[str, object]:
        window = {"start_time_utc": f"2026-01-{day:02}T05:00:00Z", "end_time_utc": f"2026-01-{day:02}T07:00:00Z"}
        return {
            "to_contact": {"vessel_name": vessel, "vessel_imo": imo, "berth_no": berth},
            "to_time_window": window,
        }

    await book.observe(ACCOUNT, after(1, "T-1", **to("MV Ever 100%", 9074729, "B12", 3), group_tag="G1"))
    await book.observe(ACCOUNT, after(2, "T-2", **to("MV Évora", 9000001, "b12", 4), group_tag="G1"))
    await book.observe(ACCOUNT, after(7, "T-3", group_tag="G2"))

    async def found(**only: object) -> list[str]:
        return [order.task_id async for order in book.orders(Only(**only))]  # type: ignore[arg-type]

    assert await found() == ["T-1", "T-2", "T-3"]
    assert await found(vessel="ever 100%") == await found(vessel="9074729") == ["T-1"]
    assert await found(vessel="100_") == []
    assert await found(vessel="ÉVORA") == ["T-2"]
    assert await found(berth="B12") == ["T-1", "T-2"]
    assert await found(group_tag="G1", statuses=["accepted", "complete"]) == ["T-2"]
    assert await found(account="local/platform") == []
    assert await found(name="T-3") == await found(statuses=["complete"]) == ["T-3"]
    assert await found(open=True) == ["T-1", "T-2"]
    assert await found(since=at(24 * 60), until=at(48 * 60)) == ["T-1"]
    assert await book.counts() == {"broadcasting": 1, "accepted": 1, "complete": 1}


async def test_what_ended_long_ago_is_forgotten(book: Book) -> None:
    """Orders at their end, with their history and changes; nothing of which more may happen."""
    await book.observe(ACCOUNT, after(7, "T-1"), at=at(0))
    await book.observe(ACCOUNT, after(6, "T-2"), at=at(0))
    await book.observe(ACCOUNT, after(7, "T-3"), at=at(100))
    assert await book.forget(at(50), accounts=["local/other"]) == 0
    assert await book.forget(at(50), accounts=[ACCOUNT]) == 1
    assert [order.task_id async for order in book.orders()] == ["T-2", "T-3"]
    assert {change.task_id for change in await book.waiting()} == {"T-2", "T-3"}


async def test_what_was_not_handed_on_may_be_kept(book: Book) -> None:
    """Whoever asks for that keeps orders with changes that wait or are parked, however old they are."""
    for number in range(3):
        await book.observe(ACCOUNT, task(f"T-{number}", entries("cancelled"), "cancelled"))
    done, parked, _ = await book.waiting()
    await book.acknowledge(done)
    await book.park(parked, "HTTP 400")
    assert await book.forget(at(50), only_handed_on=True) == 1
    assert [order.task_id async for order in book.orders()] == ["T-1", "T-2"]
    assert await book.forget(at(50)) == 2


async def test_what_is_forgotten_is_not_sent_again(
    where: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sending again while orders are forgotten comes before all of it or after: no change without its order is left."""
    change, forgetting, may_end = Database.change, threading.Event(), threading.Event()

    def halted(self: Database, name: str, /, **values: Any) -> int:
        if name == "forget_orders":
            forgetting.set()
            may_end.wait(60)
        return change(self, name, **values)

    async with Book.open(where, clock=clock) as one, Book.open(where, clock=clock) as other:
        await one.observe(ACCOUNT, task("T-1", entries("cancelled"), "cancelled"))
        (first,) = await one.waiting()
        await one.acknowledge(first)
        monkeypatch.setattr(Database, "change", halted)
        old = asyncio.create_task(one.forget(at(50), only_handed_on=True))
        assert await asyncio.to_thread(forgetting.wait, 60)
        again = asyncio.create_task(other.resend_from(first.number))
        await asyncio.wait([again], timeout=0.2)
        may_end.set()
        assert (await old, await again) == (1, 0)
        assert await other._store.read(lambda db: list(db.stream("SELECT number FROM book_changes"))) == []


@pytest.mark.parametrize(
    "odd",
    [
        task(current=None, statuses=None),
        task(current="", statuses=[{}]),
        task(current="nul\0", statuses=entries("nul\0"), tracking_id="a\0b", group_tag="\0"),
        task(current="accepted", price=10**30, currency="SGD", to_contact={"vessel_imo": 10**30, "vessel_name": None}),
        task(current="accepted", from_time_window=None, to_time_window={}, statuses=["broadcasting", 7, None, ["x"]]),
        task(current="accepted", statuses=[{"status": "accepted", "updated_at": "2026-01-02T00:00:00"}] * 100),
        task(current="x" * 5000, statuses=entries(*(f"s{n}" for n in range(100)))),
        task(statuses={"accepted": "2026-01-02T00:00:00Z"}),
    ],
)
async def test_odd_but_lawful_tasks_are_taken(book: Book, odd: Task) -> None:
    """Nulls, odd times, unknown and many statuses, numbers that no column takes: no failure, and nothing new twice."""
    changes = await book.observe(ACCOUNT, odd)
    assert await book.observe(ACCOUNT, odd) == []
    assert len({(change.status, change.at) for change in changes}) == len(changes)
    ((order,),) = [[each async for each in book.orders()]]
    assert order.task.id == odd.id
    assert len(await book.history(order)) == len(changes)


async def test_a_book_of_a_newer_version_is_left_alone(path: Path) -> None:
    """Whoever wrote it knows more of it."""
    async with Book.open(path):
        pass
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE book_meta SET value = 3")
        database.commit()
    with pytest.raises(ConfigError, match="newer version"):
        async with Book.open(path):
            pass


async def test_a_closed_book_says_so(path: Path) -> None:
    """It neither waits nor fails in another way."""
    async with Book.open(path) as book:
        pass
    with pytest.raises(StoreError, match="closed"):
        await book.observe(ACCOUNT, after(1))
    with pytest.raises(StoreError, match="closed"):
        await book.waiting()
