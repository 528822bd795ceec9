"""The inbox: what is in it stays, once, until it is old."""

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from gotsurge_async.database import Database
from gotsurge_async.errors import ConfigError
from gotsurge_async.models.answers import Task
from gotsurge_async.testing import START, ManualClock
from gotsurge_async.webhooks import inbox as module
from gotsurge_async.webhooks import room
from gotsurge_async.webhooks.book import Book
from gotsurge_async.webhooks.event import EventState
from gotsurge_async.webhooks.inbox import Inbox
from gotsurge_async.webhooks.room import UnknownFull
from gotsurge_async.webhooks.store import StoreError
from tests.support.postgres import postgresql
from tests.webhooks.kit import TASK, event


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
async def inbox(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Inbox]:
    where = tmp_path / "inbox.db" if request.param == "sqlite" else request.getfixturevalue("server")
    async with Inbox.open(where, clock=ManualClock()) as inbox:
        await inbox.drop([each.id for each in await inbox.newest(limit=10_000)])
        yield inbox


async def test_an_event_waits_with_its_task(inbox: Inbox) -> None:
    """What was put in waits, with account, task and time, and its body is as it came."""
    assert await inbox.put("acme", event()) is EventState.WAITING
    (waiting,) = await inbox.waiting()
    assert (waiting.account, waiting.task_id, waiting.received_at) == ("acme", TASK, START)
    shown = await inbox.show(waiting.id)
    assert shown is not None
    assert (shown.body, shown.state, shown.times, shown.size) == (event(), EventState.WAITING, 1, len(event()))
    assert inbox.arrived.is_set()


async def test_the_same_event_is_kept_once(inbox: Inbox) -> None:
    """An event that comes again, at once or later, or after it was read, is one event that came three times."""
    await asyncio.gather(inbox.put("acme", event()), inbox.put("acme", event()))
    await inbox.done([each.id for each in await inbox.waiting()])
    await inbox.put("acme", event())
    (kept,) = await inbox.newest()
    assert (kept.times, kept.state) == (3, EventState.DONE)


async def test_what_makes_two_events(inbox: Inbox) -> None:
    """Another account's event is another one; and so is each of the same text that does not tell its time."""
    for account, body in (("a", event()), ("b", event()), ("a", event(at=None)), ("a", event(at=None))):
        await inbox.put(account, body)
    assert len(await inbox.waiting()) == 4


@pytest.mark.parametrize("body", [b"", b"\x00\xff", b"[" * 10_000, b'{"data": {"id": "\\u0000"}}'])
async def test_what_is_no_event_is_dead(inbox: Inbox, body: bytes) -> None:
    """Whatever came is kept as it came, and why nothing can be made of it."""
    assert await inbox.put("acme", body) is EventState.DEAD
    (dead,) = await inbox.newest(EventState.DEAD)
    assert dead.why
    shown = await inbox.show(dead.id)
    assert shown is not None
    assert shown.body == body
    assert await inbox.replay([dead.id]) == 0


async def test_an_event_of_another_model_is_done(inbox: Inbox) -> None:
    """It is kept, and nothing waits."""
    assert await inbox.put("acme", b'{"model_name": "User", "data": {"id": "7"}}') is EventState.DONE
    assert await inbox.waiting() == []


async def test_settled_replayed_dropped(inbox: Inbox) -> None:
    """An event goes from waiting to done or dead, back by a replay, and away by a drop."""
    for number in range(3):
        await inbox.put("acme", event(f"task-{number}"))
    one, two, three = [each.id for each in await inbox.waiting()]
    await inbox.done([one])
    await inbox.dead([two], "there is no such task")
    assert [each.id for each in await inbox.waiting()] == [three]
    assert await inbox.counts() == {EventState.WAITING: 1, EventState.DONE: 1, EventState.DEAD: 1}
    assert await inbox.ids(EventState.DEAD) == [two]
    inbox.arrived.clear()
    assert await inbox.replay([one, two, three]) == 2
    assert inbox.arrived.is_set()
    assert [each.id for each in await inbox.waiting(after=one)] == [two, three]
    assert await inbox.drop([one, 10**6]) == 1
    assert await inbox.show(one) is None
    assert [each.task_id for each in await inbox.newest(task_id="task-2")] == ["task-2"]


async def test_what_is_old_is_forgotten(inbox: Inbox) -> None:
    """Read events go after a week, dead ones after a month, and what waits never."""
    clock = inbox._clock
    assert isinstance(clock, ManualClock)
    for number in range(3):
        await inbox.put("acme", event(f"task-{number}"))
    one, two, three = [each.id for each in await inbox.waiting()]
    await inbox.done([one])
    await inbox.dead([two], "why")
    for days, left in ((6, [three, two, one]), (2, [three, two]), (23, [three])):
        await clock.advance(days * 86_400)
        await inbox.clean()
        assert [each.id for each in await inbox.newest()] == left
    assert [(each.id, each.body) for each in await inbox.oldest(since=START)] == [(three, event("task-2"))]
    assert await inbox.oldest(since=START + timedelta(days=1)) == []


async def test_a_sender_that_leaves_takes_nobody_with_it(inbox: Inbox) -> None:
    """An event whose sender was cancelled is kept or not, and those beside it are."""
    puts = [asyncio.ensure_future(inbox.put("acme", event(f"task-{number}"))) for number in range(3)]
    await asyncio.sleep(0)
    puts[1].cancel()
    assert await puts[0] is await puts[2] is EventState.WAITING
    assert {each.task_id for each in await inbox.waiting()} >= {"task-0", "task-2"}


async def test_a_symbolic_link_leads_to_the_same_lock(tmp_path: Path) -> None:
    """Of two processes that name the inbox's file differently, one is alone, and the other waits."""
    link = tmp_path / "other" / "link.db"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "inbox.db")
    clock = ManualClock()
    async with (
        Inbox.open(tmp_path / "inbox.db", clock=clock) as one,
        Inbox.open(link, clock=clock) as other,
        one.alone("follow"),
    ):
        second = asyncio.create_task(AsyncExitStack().enter_async_context(other.alone("follow")))
        await clock.settle()
        assert not second.done()
        second.cancel()


async def test_one_at_a_time_follows(inbox: Inbox) -> None:
    """While one process is alone with something, another waits."""
    clock = inbox._clock
    assert isinstance(clock, ManualClock)
    order = []
    free = asyncio.Event()

    async def second() -> None:
        async with inbox.alone("follow"):
            order.append("second")

    async with inbox.alone("follow"):
        waiting = asyncio.create_task(second())
        order.append("first")
        free.set()
    while not waiting.done():
        await clock.advance(1)
        await asyncio.sleep(0.001)
    assert order == ["first", "second"]


async def test_dead_letters_keep_no_event_out(inbox: Inbox) -> None:
    """They have a share of their own, of which the oldest go first, also those that became dead later."""
    inbox._room.most = 50 * (20 + room.ROW_BYTES)  # of which dead letters have a tenth
    for number in range(30):
        assert await inbox.put("acme", b"%020d" % number) is EventState.DEAD
    assert await inbox.put("acme", event(text="x" * 1500)) is EventState.WAITING
    dead = await inbox.newest(EventState.DEAD)
    assert 4 <= len(dead) <= 5
    shown = await inbox.show(dead[0].id)
    assert shown is not None
    assert shown.body == b"%020d" % 29
    await inbox.dead([each.id for each in await inbox.waiting()], "why")
    await inbox.clean()
    assert await inbox.newest() == []
    assert not inbox._room.sizes.total()


async def test_what_events_claim(inbox: Inbox) -> None:
    """The statuses of events that are not old; and the names of orders that the book knows, of their account."""
    async with Book.open(inbox.place) as book:
        other = Task(id="other", current_status="draft", tracking_id="T-1", invoice_number="I-1")
        await book.observe("acme", other, source="create")
        for number, names in enumerate(({"tracking_id": "T-1"}, {"invoice_number": "I-1"}, {"tracking_id": "T-2"}, {})):
            await inbox.put("acme", event(f"task-{number}", "accepted", **names))
        await inbox.put("another", event("task-9", tracking_id="T-1"))
        waiting = await inbox.waiting()
        assert list((await inbox.named(waiting)).values()) == ["T-1", "I-1"]
        first = waiting[0].id
        assert await inbox.claims([first], waiting[0].received_at) == {first: "accepted"}
        assert await inbox.claims([first], waiting[0].received_at + timedelta(seconds=1)) == {}
        large = {"tracking_id": "T-3", "text": "x" * 5000}
        await inbox.put("acme", event("task-5", "complete", **large))
        (kept,) = [each for each in await inbox.newest() if each.task_id == "task-5"]
        assert kept.size < 500
        assert await inbox.claims([kept.id], waiting[0].received_at) == {kept.id: "complete"}


async def test_unknown_tasks_have_a_part_of_it(inbox: Inbox) -> None:
    """Events of tasks that the order book does not know fill a quarter; what is done makes room, the oldest first."""
    inbox._room.most = 40 * 1024
    async with Book.open(inbox.place) as book:
        await book.observe("acme", Task(id=TASK, current_status="accepted"), source="create")
        text = "x" * 1024
        puts = [inbox.put("acme", event(f"task-{number:030}", text=text)) for number in range(20)]
        answers = await asyncio.gather(*puts, return_exceptions=True)
        assert {type(each) for each in answers} == {EventState, UnknownFull}
        assert await inbox.put("acme", event(text=text)) is EventState.WAITING
        with pytest.raises(UnknownFull):  # the task is of another account
            await inbox.put("another", event(text=text))
        await inbox.not_ours([each.id for each in await inbox.waiting() if each.task_id != TASK], "unknown")
        unknown = answers.count(EventState.WAITING)
        assert await inbox.counts() == {EventState.WAITING: 1, EventState.DONE: unknown, EventState.DEAD: 0}
        for number in range(40):
            await inbox.put("acme", event(at=f"2026-01-02T00:00:{number:02}Z", text=text))
            await inbox.done([each.id for each in await inbox.waiting()])
        counts = await inbox.counts()
        assert 20 < counts[EventState.DONE] < 40
        assert inbox._room.sizes == await inbox._store.read(room.measure)  # as counted, so measured


async def test_the_file_is_its_owners(tmp_path: Path) -> None:
    """Nobody else reads what came."""
    async with Inbox.open(tmp_path / "sub" / "inbox.db") as inbox:
        await inbox.put("acme", event())
        for path in (tmp_path / "sub").iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_locked_file_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another process keeps the file locked an event is refused; after that it is taken."""
    monkeypatch.setattr("gotsurge_async.webhooks.store.BUSY_SECONDS", 0.01)
    async with Inbox.open(tmp_path / "inbox.db") as inbox:
        other = sqlite3.connect(tmp_path / "inbox.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"inbox\.db.*another process"):
            await inbox.put("acme", event())
        other.execute("ROLLBACK")
        other.close()
        await inbox.put("acme", event())
        assert len(await inbox.waiting()) == 1


async def test_room_is_measured_while_another_process_writes(tmp_path: Path) -> None:
    """Whether a full inbox has room is read, and waits for no other process that is in the middle of a write."""
    async with Inbox.open(tmp_path / "inbox.db", most_bytes=2_000) as inbox:
        await inbox.put("acme", event())
        other = sqlite3.connect(tmp_path / "inbox.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            async with asyncio.timeout(2):
                assert not await inbox.has_room(5_000)
        finally:
            other.close()


async def test_a_ledger_is_no_inbox(tmp_path: Path) -> None:
    """The ledger's own file is refused."""
    sqlite3.connect(tmp_path / "ledger.db").execute("CREATE TABLE ledger_meta (name TEXT)").connection.close()
    with pytest.raises(ConfigError, match="ledger"):
        async with Inbox.open(tmp_path / "ledger.db"):
            pass


def test_the_limits_are_those_that_are_documented() -> None:
    """A week, a month, a gigabyte."""
    assert (module.KEEP.days, module.KEEP_DEAD.days, module.MOST_BYTES) == (7, 30, 2**30)


async def test_a_full_disk_refuses_events_and_takes_them_later(tmp_path: Path) -> None:
    """An event for which there is no room is not kept; once there is room, events are taken again."""
    async with Inbox.open(tmp_path / "inbox.db") as inbox:
        await inbox.put("acme", event())

        def fill(db: Database) -> None:
            ((pages,),) = db.driver.execute("PRAGMA page_count").fetchall()
            db.driver.execute(f"PRAGMA max_page_count = {pages}")

        await inbox._store.write(fill)
        with pytest.raises(StoreError, match="the disk is full; free some space"):
            await asyncio.gather(*(inbox.put("acme", event(f"task-{number}", text="x" * 5000)) for number in range(9)))
        await asyncio.gather(*(inbox.put("acme", event(f"task-{number}", text="x" * 5000)) for number in range(9)))
        assert len(await inbox.waiting()) == 10
