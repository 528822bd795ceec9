"""The one task that writes: group commit, isolation, back pressure, and what happens when the disk fails."""

import asyncio
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.bulk.ledger import (
    Counts,
    Ledger,
    LedgerBusy,
    LedgerClosed,
    LedgerError,
    LedgerUnusable,
    NewOrder,
    OrderOutcome,
    OrderState,
)
from gotsurge_async.bulk.ledger.sql import sqlite
from gotsurge_async.bulk.ledger.writer import TRIES, Writer
from gotsurge_async.database import Database, Moved, Sqlite
from tests.bulk.ledger.kit import begun, ids, loaded, order, orders, states


class Counting(Sqlite):
    """A database that counts its commits, and can be told to fail them."""

    commits = 0
    broken = False

    def commit(self) -> None:
        if self.broken:
            raise sqlite3.OperationalError("the disk went away")
        self.commits += 1
        super().commit()


@pytest.fixture
def db(path: Path) -> Counting:
    """A writer's connection, to a file with one table."""
    made = sqlite.writing(path, {"put": "INSERT INTO t VALUES (:n)"})
    made.driver.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
    return Counting(made.driver, made._texts)


def writing(db: Database, path: Path, *, thread: ThreadPoolExecutor | None = None, **more: Any) -> Writer:
    """A writer on a database, which closes it."""

    def told(error: BaseException) -> LedgerError | None:
        return sqlite.translate(error, str(path)) if isinstance(error, sqlite3.Error) else None

    return Writer(db, told, thread or ThreadPoolExecutor(1), path=str(path), **more)


def put(db: Database, number: int) -> int:
    """A job: insert a number, which fails if it is there."""
    db.change("put", n=number)
    return number


def numbers(path: Path) -> list[int]:
    """What is in the table for everybody to see."""
    with closing(sqlite3.connect(path)) as reader:
        return [n for (n,) in reader.execute("SELECT n FROM t ORDER BY n")]


async def test_jobs_that_come_together_share_a_commit(db: Counting, path: Path) -> None:
    """Many jobs at once are one commit, and each gets its own result when that is durable."""
    writer = writing(db, path)
    results = await asyncio.gather(*(writer.run(lambda c, n=n: put(c, n)) for n in range(200)))  # type: ignore[misc]
    assert results == list(range(200)) == numbers(path)
    assert db.commits == 1
    await writer.close()


async def test_a_lone_job_does_not_wait_for_company(db: Counting, path: Path) -> None:
    """Jobs one after the other are a commit each."""
    writer = writing(db, path)
    for number in range(5):
        await writer.run(lambda c, n=number: put(c, n))  # type: ignore[misc]
    assert db.commits == 5
    await writer.close()


async def test_callers_in_two_groups_become_one(db: Counting, path: Path) -> None:
    """Callers that came during the commit of others share the next ones with them, and do not alternate for ever."""
    writer = writing(db, path)
    loop, began, others_are_here = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    async def ask(*some: int) -> None:
        for number in some:
            await writer.run(lambda c, n=number: put(c, n))  # type: ignore[misc]

    def wait(_: Database) -> None:
        loop.call_soon_threadsafe(began.set)
        others_are_here.wait()

    async def first() -> None:
        await writer.run(wait)
        await ask(*range(10))

    async def second() -> None:
        await began.wait()
        loop.call_soon(others_are_here.set)  # after the first of them is in the queue
        await ask(*range(10, 20))

    await asyncio.gather(first(), second())
    assert numbers(path) == list(range(20))
    assert db.commits <= 12
    await writer.close()


async def test_requests_of_a_kind_are_done_together(db: Counting, path: Path) -> None:
    """All requests of one kind in a transaction are given to it at once, and answered each in its place."""
    writer = writing(db, path)
    calls: list[list[int]] = []

    def double(_: Database, requests: Any) -> list[int]:
        calls.append(list(requests))
        return [2 * n for n in requests]

    answers = await asyncio.gather(*(writer.request(double, n) for n in range(4)), writer.run(lambda c: put(c, 1)))
    assert answers == [0, 2, 4, 6, 1]
    assert calls == [[0, 1, 2, 3]]
    assert db.commits == 1
    await writer.close()


async def test_a_job_whose_rows_moved_is_tried_again(db: Counting, path: Path) -> None:
    """A job that another process came in between of is undone and done again, without its company noticing."""
    writer = writing(db, path)
    moved: list[int] = []

    def moving(c: Database) -> int:
        put(c, 7)
        if len(moved) < 3:
            moved.append(1)
            raise Moved
        return 7

    assert await asyncio.gather(writer.run(moving), writer.run(lambda c: put(c, 8))) == [7, 8]
    assert len(moved) == 3
    assert numbers(path) == [7, 8]
    await writer.close()


async def test_a_job_whose_rows_always_move_is_busy_in_the_end(db: Counting, path: Path) -> None:
    """What never comes through is told as busy, nothing of it is written, and the writer goes on."""
    writer = writing(db, path)
    tries: list[int] = []

    def moving(c: Database) -> None:
        tries.append(put(c, 7))
        raise Moved

    with pytest.raises(LedgerBusy, match="try again") as caught:
        await writer.run(moving)
    assert isinstance(caught.value.__cause__, Moved)
    assert len(tries) == TRIES
    assert await writer.run(lambda c: put(c, 8)) == 8
    assert numbers(path) == [8]
    await writer.close()


async def test_a_job_that_fails_fails_alone(db: Counting, path: Path) -> None:
    """Of jobs in one transaction, those that raise are undone and told, the others are committed."""
    writer = writing(db, path)
    await writer.run(lambda c: put(c, 3))

    def half(database: Database) -> None:
        put(database, 100)
        raise KeyError("of its own")

    jobs = [lambda c, n=n: put(c, n) for n in range(6)]
    ended: list[Any] = await asyncio.gather(*map(writer.run, [*jobs, half]), return_exceptions=True)  # type: ignore[arg-type]
    assert [end for end in ended if isinstance(end, int)] == [0, 1, 2, 4, 5]
    assert isinstance(ended[3], LedgerError)
    assert not isinstance(ended[3], LedgerUnusable)
    assert isinstance(ended[6], KeyError)
    assert numbers(path) == [0, 1, 2, 3, 4, 5]
    await writer.close()


async def test_a_failed_commit_fails_everybody(db: Counting, path: Path) -> None:
    """When a commit fails every caller of it is told, nothing is written, and later jobs fail at once the same way."""
    writer = writing(db, path)

    db.broken = True
    ended = await asyncio.gather(
        *(writer.run(lambda c, n=n: put(c, n)) for n in range(5)),  # type: ignore[misc]
        return_exceptions=True,
    )
    db.broken = False
    assert all(isinstance(end, LedgerError) and "the disk went away" in str(end) for end in ended)
    assert len({id(end) for end in ended}) == 5
    with pytest.raises(LedgerUnusable, match="the disk went away"):
        await writer.run(lambda c: put(c, 9))
    assert numbers(path) == []
    await writer.close()


async def test_the_queue_is_bounded(db: Counting, path: Path) -> None:
    """No more jobs are taken into a transaction than the queue holds; all are done in the end."""
    writer = writing(db, path, limit=10)
    await asyncio.gather(*(writer.run(lambda c, n=n: put(c, n)) for n in range(95)))  # type: ignore[misc]
    assert db.commits == 10
    assert len(numbers(path)) == 95
    await writer.close()


async def test_closing_finishes_what_waits(db: Counting, path: Path) -> None:
    """Close writes what was queued before it, refuses what comes after, also what waits for a place in the queue."""
    writer = writing(db, path, limit=3)
    asked = [asyncio.create_task(writer.run(lambda c, n=n: put(c, n))) for n in range(8)]  # type: ignore[misc]
    await asyncio.sleep(0)
    await writer.close()
    ended = await asyncio.gather(*asked, return_exceptions=True)
    assert [end for end in ended if isinstance(end, int)] == [0, 1, 2]
    assert numbers(path) == [0, 1, 2]
    assert all(isinstance(end, LedgerClosed) for end in ended[3:])
    with pytest.raises(LedgerClosed):
        await writer.run(lambda c: put(c, 9))


async def test_a_cancelled_caller_does_not_undo_its_job(db: Counting, path: Path) -> None:
    """A job whose caller was cancelled is done all the same, and its end is still heard; others are not disturbed."""
    writer = writing(db, path)
    heard: list[str] = []
    asked = [
        asyncio.create_task(writer.run(lambda c, n=n: put(c, n), after=lambda n=n: heard.append(str(n))))  # type: ignore[misc]
        for n in (1, 1, 2)
    ]
    await asyncio.sleep(0)
    asked[0].cancel()
    asked[1].cancel()
    assert await asked[2] == 2
    assert [task.cancelled() for task in asked[:2]] == [True, True]
    assert numbers(path) == [1, 2]
    assert sorted(heard) == ["1", "1", "2"]
    await writer.close()


async def test_a_writer_that_is_stopped_in_the_middle_leaves_nobody_waiting(db: Counting, path: Path) -> None:
    """When the writer's own task is cancelled, callers whose job is under way, queued or before the queue are told."""
    thread = ThreadPoolExecutor(1)
    writer = writing(db, path, limit=2, thread=thread)
    asked = [asyncio.create_task(writer.run(lambda c, n=n: put(c, n))) for n in range(6)]  # type: ignore[misc]
    for _ in range(4):
        await asyncio.sleep(0)
    (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "gotsurge-ledger-writer"]
    task.cancel()
    ended = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(end, LedgerUnusable | LedgerClosed) for end in ended)
    thread.shutdown()  # what it was doing ends in its own time: only then may the connection be closed


async def test_a_full_disk_stops_the_ledger(path: Path) -> None:
    """A full disk is told with what to do; what was durable stays, nothing half is left, and later writes fail fast."""
    ledger = await Ledger.open(path)
    assert ledger._store._writer is not None
    ledger._store._writer._db.driver.execute("PRAGMA max_page_count = 60")
    run = await loaded(ledger, orders(10))
    claimed = await run.claim((await ids(run))[:5])
    more = await begun(ledger)
    big = [NewOrder(line, f"BIG-{line}", b"x" * 50_000) for line in range(10)]
    with pytest.raises(LedgerUnusable, match=r"ledger\.db: the disk is full; free some space") as caught:
        await more.add(big)
    with pytest.raises(LedgerUnusable) as again:
        await run.record([OrderOutcome(claimed[0], OrderState.CREATED)])
    assert str(again.value) == str(caught.value)
    assert again.value is not caught.value
    with pytest.raises(LedgerUnusable):
        await run.claim(claimed)
    assert await run.counts() == Counts(sending=5, pending=5)
    assert (await more.counts()).total == 0
    for held in (run, more):
        await held.close()
    await ledger.close()
    async with await Ledger.open(path) as later:
        resumed = await later.hold(run.id)
        assert await resumed.recover() == Counts(in_doubt=5, pending=5)
        await resumed.close()


async def test_another_process_that_keeps_the_file_locked_is_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write waits for another's lock up to a limit, then says so, changes nothing, and succeeds when tried again."""
    monkeypatch.setattr("gotsurge_async.bulk.ledger.sql.sqlite.BUSY_SECONDS", 0.05)
    async with await Ledger.open(path) as ledger:
        run = await loaded(ledger, [order(1)])
        everything = await ids(run)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerBusy, match="kept it locked for too long; try again"):
            await run.claim(everything)
        other.execute("ROLLBACK")
        other.close()
        assert await states(ledger, run) == {"TRK-1": "pending"}
        assert await run.claim(everything) == everything
        await run.close()


async def test_the_ledgers_marks_share_commits(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen chunks in flight make far fewer commits than marks, and every mark is durable when its call returns."""
    run = await loaded(ledger, orders(640))
    chunks = iter([page async for page in run.pending(20)])

    async def work() -> None:
        for chunk in chunks:
            claimed = await run.claim([each.id for each in chunk])
            await run.record([OrderOutcome(each, OrderState.CREATED) for each in claimed])

    commits: list[str] = []
    commit = Database.commit

    def counted(db: Database) -> None:
        commits.append(threading.current_thread().name)
        commit(db)

    monkeypatch.setattr(Database, "commit", counted)
    await asyncio.gather(*(work() for _ in range(16)))
    assert 0 < len([name for name in commits if "writer" in name]) <= 16
    assert await run.counts() == Counts(created=640)
    await run.close()
