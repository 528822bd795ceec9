"""The one task that writes: group commit, isolation, back pressure, and what happens when the disk fails."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.pool import Pool

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
from gotsurge_async.bulk.ledger.sql.sqlite import ledger_url, make_engine, writer_connection
from gotsurge_async.bulk.ledger.sql.writer import Writer
from tests.bulk.ledger.kit import begun, ids, loaded, order, orders, states


@contextmanager
def listening(target: Any, name: str, function: Any) -> Iterator[None]:
    """Hear an event of SQLAlchemy for a while."""
    event.listen(target, name, function)
    try:
        yield
    finally:
        event.remove(target, name, function)


@contextmanager
def counted_commits() -> Iterator[list[Connection]]:
    """The commits of every engine."""
    commits: list[Connection] = []
    with listening(Engine, "commit", commits.append):
        yield commits


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    """An engine on a new file."""
    made = make_engine(ledger_url(path))
    yield made
    made.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A writer's connection, to a file with one table."""
    made = writer_connection(engine)
    with made.begin():
        made.execute(text("CREATE TABLE t (n INTEGER PRIMARY KEY)"))
    yield made
    made.close()


def put(connection: Connection, number: int) -> int:
    """A job: insert a number, which fails if it is there."""
    connection.execute(text("INSERT INTO t VALUES (:n)"), {"n": number})
    return number


async def numbers(engine: Engine) -> list[int]:
    """What is in the table for everybody to see."""
    with engine.connect() as reader:
        return list(reader.scalars(text("SELECT n FROM t ORDER BY n")))


async def test_jobs_that_come_together_share_a_commit(engine: Engine, connection: Connection) -> None:
    """Many jobs at once are one commit, and each gets its own result when that is durable."""
    writer = Writer(connection, "x", ThreadPoolExecutor(1))
    with counted_commits() as commits:
        results = await asyncio.gather(*(writer.run(lambda c, n=n: put(c, n)) for n in range(200)))  # type: ignore[misc]
    assert results == list(range(200)) == await numbers(engine)
    assert len(commits) == 1
    await writer.close()


async def test_a_lone_job_does_not_wait_for_company(connection: Connection) -> None:
    """Jobs one after the other are a commit each."""
    writer = Writer(connection, "x", ThreadPoolExecutor(1))
    with counted_commits() as commits:
        for number in range(5):
            await writer.run(lambda c, n=number: put(c, n))  # type: ignore[misc]
    assert len(commits) == 5
    await writer.close()


async def test_callers_in_two_groups_become_one(engine: Engine, connection: Connection) -> None:
    """Callers that came during the commit of others share the next ones with them, and do not alternate for ever."""
    writer = Writer(connection, "x", ThreadPoolExecutor(1))
    loop, began, others_are_here = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    async def ask(*some: int) -> None:
        for number in some:
            await writer.run(lambda c, n=number: put(c, n))  # type: ignore[misc]

    def wait(_: Connection) -> None:
        loop.call_soon_threadsafe(began.set)
        others_are_here.wait()

    async def first() -> None:
        await writer.run(wait)
        await ask(*range(10))

    async def second() -> None:
        await began.wait()
        loop.call_soon(others_are_here.set)  # after the first of them is in the queue
        await ask(*range(10, 20))

    with counted_commits() as commits:
        await asyncio.gather(first(), second())
    assert await numbers(engine) == list(range(20))
    assert len(commits) <= 12
    await writer.close()


async def test_requests_of_a_kind_are_done_together(connection: Connection) -> None:
    """All requests of one kind in a transaction are given to it at once, and answered each in its place."""
    writer = Writer(connection, "x", ThreadPoolExecutor(1))
    calls: list[list[int]] = []

    def double(_: Connection, requests: Any) -> list[int]:
        calls.append(list(requests))
        return [2 * n for n in requests]

    answers = await asyncio.gather(*(writer.request(double, n) for n in range(4)), writer.run(lambda c: put(c, 1)))
    assert answers == [0, 2, 4, 6, 1]
    assert calls == [[0, 1, 2, 3]]
    await writer.close()


async def test_a_job_that_fails_fails_alone(engine: Engine, connection: Connection) -> None:
    """Of jobs in one transaction, those that raise are undone and told, the others are committed."""
    writer = Writer(connection, "x", ThreadPoolExecutor(1))
    await writer.run(lambda c: put(c, 3))

    def half(database: Connection) -> None:
        put(database, 100)
        raise KeyError("of its own")

    jobs = [lambda c, n=n: put(c, n) for n in range(6)]
    ended: list[Any] = await asyncio.gather(*map(writer.run, [*jobs, half]), return_exceptions=True)  # type: ignore[arg-type]
    assert [end for end in ended if isinstance(end, int)] == [0, 1, 2, 4, 5]
    assert isinstance(ended[3], LedgerError)
    assert not isinstance(ended[3], LedgerUnusable)
    assert isinstance(ended[6], KeyError)
    assert await numbers(engine) == [0, 1, 2, 3, 4, 5]
    await writer.close()


async def test_a_failed_commit_fails_everybody(engine: Engine, connection: Connection) -> None:
    """When a commit fails every caller of it is told, nothing is written, and later jobs fail at once the same way."""
    writer = Writer(connection, "x", ThreadPoolExecutor(1))

    def broken(_: Connection) -> None:
        raise sqlite3.OperationalError("the disk went away")

    with listening(engine, "commit", broken):
        ended = await asyncio.gather(
            *(writer.run(lambda c, n=n: put(c, n)) for n in range(5)),  # type: ignore[misc]
            return_exceptions=True,
        )
    assert all(isinstance(end, LedgerError) and "the disk went away" in str(end) for end in ended)
    assert len({id(end) for end in ended}) == 5
    with pytest.raises(LedgerUnusable, match="the disk went away"):
        await writer.run(lambda c: put(c, 9))
    assert await numbers(engine) == []
    await writer.close()


async def test_the_queue_is_bounded(engine: Engine, connection: Connection) -> None:
    """No more jobs are taken into a transaction than the queue holds; all are done in the end."""
    writer = Writer(connection, "x", ThreadPoolExecutor(1), limit=10)
    with counted_commits() as commits:
        await asyncio.gather(*(writer.run(lambda c, n=n: put(c, n)) for n in range(95)))  # type: ignore[misc]
    assert len(commits) == 10
    assert len(await numbers(engine)) == 95
    await writer.close()


async def test_closing_finishes_what_waits(engine: Engine, connection: Connection) -> None:
    """Close writes what was queued before it, refuses what comes after, also what waits for a place in the queue."""
    writer = Writer(connection, "x", ThreadPoolExecutor(1), limit=3)
    asked = [asyncio.create_task(writer.run(lambda c, n=n: put(c, n))) for n in range(8)]  # type: ignore[misc]
    await asyncio.sleep(0)
    await writer.close()
    ended = await asyncio.gather(*asked, return_exceptions=True)
    assert [end for end in ended if isinstance(end, int)] == [0, 1, 2]
    assert await numbers(engine) == [0, 1, 2]
    assert all(isinstance(end, LedgerClosed) for end in ended[3:])
    with pytest.raises(LedgerClosed):
        await writer.run(lambda c: put(c, 9))


async def test_a_cancelled_caller_does_not_undo_its_job(engine: Engine, connection: Connection) -> None:
    """A job whose caller was cancelled is done all the same, and its end is still heard; others are not disturbed."""
    writer = Writer(connection, "x", ThreadPoolExecutor(1))
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
    assert await numbers(engine) == [1, 2]
    assert sorted(heard) == ["1", "1", "2"]
    await writer.close()


async def test_a_writer_that_is_stopped_in_the_middle_leaves_nobody_waiting(connection: Connection) -> None:
    """When the writer's own task is cancelled, callers whose job is under way, queued or before the queue are told."""
    thread = ThreadPoolExecutor(1)
    writer = Writer(connection, "x", thread, limit=2)
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

    def small(connection: Any, _: object) -> None:
        connection.execute("PRAGMA max_page_count = 60")

    with listening(Pool, "connect", small):
        ledger = await Ledger.open(path)
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


async def test_the_ledgers_marks_share_commits(ledger: Ledger) -> None:
    """Sixteen chunks in flight make far fewer commits than marks, and every mark is durable when its call returns."""
    run = await loaded(ledger, orders(640))
    chunks = iter([page async for page in run.pending(20)])

    async def work() -> None:
        for chunk in chunks:
            claimed = await run.claim([each.id for each in chunk])
            await run.record([OrderOutcome(each, OrderState.CREATED) for each in claimed])

    with counted_commits() as commits:
        await asyncio.gather(*(work() for _ in range(16)))
    assert await run.counts() == Counts(created=640)
    assert len(commits) <= 16
    await run.close()
