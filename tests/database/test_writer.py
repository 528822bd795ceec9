"""The one writer: group commit, isolation, and what happens when the disk fails; and the readers."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.database import Database, Kind, Moved, Place
from gotsurge_async.database.errors import Trouble
from gotsurge_async.database.readers import Readers
from gotsurge_async.database.writer import TRIES, Writer

from .kit import Busy, Closed, Counting, Failure, Plain, Unsure, Unusable, numbers, put, writing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "t.db"


@pytest.fixture
def db(path: Path) -> Iterator[Counting]:
    made = Plain(Place(Kind.SQLITE, path)).writing()
    yield made
    made.driver.close()  # a writer that has failed does not have it any more


async def test_jobs_that_come_together_share_a_commit(db: Counting, path: Path) -> None:
    """Many jobs at once are one commit, and each gets its own result when that is durable."""
    writer = writing(db, path)
    results = await asyncio.gather(*(writer.run(lambda c, n=n: put(c, n)) for n in range(200)))  # type: ignore[misc]
    assert results == list(range(200)) == numbers(path)
    assert db.commits == 1
    await writer.close()


async def test_a_lone_job_does_not_wait_for_company(db: Counting, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs one after the other are a commit each; after the first one nothing waits for others that may come."""
    waits: list[int] = []
    whole = Writer._gather

    def gather(writer: Writer, seen: int, quiet: int) -> None:
        waits.extend([] if seen else [db.commits])
        whole(writer, seen, quiet)

    monkeypatch.setattr(Writer, "_gather", gather)
    writer = writing(db, path)
    for number in range(5):
        await writer.run(lambda c, n=number: put(c, n))  # type: ignore[misc]
    assert (db.commits, waits) == (5, [0])
    await writer.close()


async def test_a_group_of_which_one_fails_stays_a_group(
    db: Counting, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is tried alone then, and the next job waits for the others all the same."""
    waits: list[int] = []
    whole = Writer._gather

    def gather(writer: Writer, seen: int, quiet: int) -> None:
        waits.extend([] if seen else [db.commits])
        whole(writer, seen, quiet)

    writer = writing(db, path)
    group = (writer.run(lambda c, n=n: put(c, n)) for n in (1, 1, 2))  # type: ignore[misc]
    await asyncio.gather(*group, return_exceptions=True)
    monkeypatch.setattr(Writer, "_gather", gather)
    await writer.run(lambda c: put(c, 3))
    assert len(waits) == 1
    assert numbers(path) == [1, 2, 3]
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

    assert list(await asyncio.gather(writer.run(moving), writer.run(lambda c: put(c, 8)))) == [7, 8]
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

    with pytest.raises(Busy, match="try again") as caught:
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
    assert isinstance(ended[3], Failure)
    assert not isinstance(ended[3], Unusable)
    assert isinstance(ended[6], KeyError)
    assert numbers(path) == [0, 1, 2, 3, 4, 5]
    await writer.close()


@pytest.mark.parametrize("replaces", [False, True])
async def test_a_spoiled_request_is_tried_twice(db: Counting, path: Path, replaces: bool) -> None:
    """When all requests of a batch are of one kind and one fails, the batch is not repeated whole before each alone."""
    writer = writing(None if replaces else db, path)
    tries: list[list[int]] = []

    def put_all(c: Database, requests: Any) -> list[int]:
        tries.append(list(requests))
        return [put(c, number) for number in requests]

    await writer.run(lambda c: put(c, 3))
    ended = await asyncio.gather(*(writer.request(put_all, number) for number in (2, 3, 4)), return_exceptions=True)
    assert [end for end in ended if isinstance(end, int)] == [2, 4]
    assert isinstance(ended[1], Failure)
    assert tries == [[2, 3, 4], [2], [3], [4]]
    assert numbers(path) == [2, 3, 4]
    await writer.close()


async def test_a_failed_commit_fails_everybody(db: Counting, path: Path) -> None:
    """Every caller of a commit that fails hears that it may be durable; later jobs certainly write nothing."""
    writer = writing(db, path)

    db.broken = True
    ended = await asyncio.gather(
        *(writer.run(lambda c, n=n: put(c, n)) for n in range(5)),  # type: ignore[misc]
        return_exceptions=True,
    )
    db.broken = False
    assert all(isinstance(end, Unsure) and "the disk" in str(end) for end in ended)
    assert len({id(end) for end in ended}) == 5
    with pytest.raises(Unusable, match="the disk") as later:
        await writer.run(lambda c: put(c, 9))
    assert not isinstance(later.value, Unsure)
    assert numbers(path) == []
    await writer.close()


async def test_a_commit_that_a_full_disk_refuses_wrote_nothing(db: Counting, path: Path) -> None:
    """Its callers need not doubt: the end of the transaction did not fit on the disk."""
    writer = writing(db, path)
    db.full = True
    with pytest.raises(Unusable, match="the disk is full") as refused:
        await writer.run(lambda c: put(c, 1))
    assert not isinstance(refused.value, Unsure)
    await writer.close()
    assert numbers(path) == []


async def test_a_transaction_is_bounded(db: Counting, path: Path) -> None:
    """No transaction takes more jobs than it may; all are done in the end."""
    writer = writing(db, path, together=10)
    await asyncio.gather(*(writer.run(lambda c, n=n: put(c, n)) for n in range(95)))  # type: ignore[misc]
    assert db.commits == 10
    assert len(numbers(path)) == 95
    await writer.close()


async def test_closing_finishes_what_waits(db: Counting, path: Path) -> None:
    """Close writes what was queued before it, and refuses what comes after."""
    writer = writing(db, path, together=3)
    asked = [asyncio.create_task(writer.run(lambda c, n=n: put(c, n))) for n in range(8)]  # type: ignore[misc]
    await asyncio.sleep(0)
    await writer.close()
    assert await asyncio.gather(*asked) == list(range(8)) == numbers(path)
    ended: list[str] = []
    with pytest.raises(Closed):
        await writer.run(lambda c: put(c, 9), after=lambda: ended.append("after"))
    assert ended == ["after"]


async def test_a_lost_connection_is_replaced(path: Path) -> None:
    """Where the writer opens its connections itself, a failed commit refuses its group, and the next one succeeds."""
    writer = writing(None, path)
    opened: list[Counting] = []

    def note(c: Database) -> None:
        assert isinstance(c, Counting)
        opened.append(c)

    def spoil(c: Database) -> None:
        note(c)
        opened[-1].broken = True

    jobs = [spoil, lambda c: put(c, 1), lambda c: put(c, 2)]
    ended = await asyncio.gather(*map(writer.run, jobs), return_exceptions=True)
    assert [type(end) for end in ended] == [Unsure] * 3
    assert numbers(path) == []
    assert await writer.run(lambda c: put(c, 3)) == 3
    await writer.run(note)
    assert opened[-1] is not opened[0]
    assert numbers(path) == [3]
    await writer.close()


async def test_a_job_that_breaks_the_connection_fails_alone(path: Path) -> None:
    """A connection that breaks is replaced, and the others are done over the new one, requests of a kind together."""
    writer = writing(None, path)
    asked: list[list[int]] = []

    def put_all(c: Database, requests: Any) -> list[int]:
        asked.append(list(requests))
        return [put(c, number) for number in requests]

    def breaking(_: Database) -> None:
        raise OSError("the network went away")

    ended = await asyncio.gather(
        writer.run(lambda c: put(c, 1)),
        writer.request(put_all, 2),
        writer.run(breaking),
        writer.request(put_all, 3),
        return_exceptions=True,
    )
    assert [end for end in ended if isinstance(end, int)] == [1, 2, 3] == numbers(path)
    assert isinstance(ended[2], Unusable)
    assert asked[-1] == [2, 3]
    await writer.close()


async def test_a_disk_that_stands_still_refuses_requests_in_time(db: Counting, path: Path) -> None:
    """Requests that wait, and those that come meanwhile, are refused after a time; jobs are not, and go on later."""
    writer = writing(db, path, patience=0.05)
    free = threading.Event()

    def put_all(c: Database, requests: Any) -> list[int]:
        return [put(c, number) for number in requests]

    standing = asyncio.create_task(writer.run(lambda _: free.wait()))
    await asyncio.sleep(0.02)
    job = asyncio.create_task(writer.run(lambda c: put(c, 7)))
    for number in (1, 2):
        with pytest.raises(Busy, match="did not finish a write"):
            await writer.request(put_all, number)
    free.set()
    assert await standing
    assert await job == 7
    assert await writer.request(put_all, 3) == 3
    assert numbers(path) == [3, 7]
    await writer.close()


async def test_readers_see_what_is_durable(path: Path) -> None:
    """Reads run at the same time, each sees one moment, and after close there are none."""
    backend = Plain(Place(Kind.SQLITE, path))
    writer, readers = writing(backend.writing(), path), Readers(backend, name="test", keep=True)
    await writer.run(lambda c: put(c, 1))
    assert await asyncio.gather(*(readers.read(lambda c: c.rows("all")) for _ in range(8))) == [[(1,)]] * 8
    with pytest.raises(Failure, match="readonly"):
        await readers.read(lambda c: c.driver.execute("DELETE FROM t"))
    await readers.close()
    with pytest.raises(Closed):
        await readers.read(lambda c: c.rows("all"))
    await writer.close()


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
    """When the writer's own task is cancelled, callers whose job is under way or queued are refused."""
    thread = ThreadPoolExecutor(1)
    writer = writing(db, path, together=2, thread=thread)
    free = threading.Event()
    asked: list[asyncio.Task[Any]] = [asyncio.create_task(writer.run(lambda _: free.wait())) for _ in range(2)]
    asked += [asyncio.create_task(writer.run(lambda c, n=n: put(c, n))) for n in range(6)]  # type: ignore[misc]
    for _ in range(4):
        await asyncio.sleep(0)
    (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "gotsurge-test-writer"]
    task.cancel()
    ended = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(end, Unusable | Closed) for end in ended)
    free.set()
    thread.shutdown()  # what it was doing ends in its own time: only then may the connection be closed


async def test_a_stopped_writer_refuses_nothing_more(db: Counting, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its clock stands, too, however long the disk takes for what it was doing."""
    refusals: list[Trouble] = []
    failure = Plain.failure
    monkeypatch.setattr(Plain, "failure", lambda self, kind, text: refusals.append(kind) or failure(self, kind, text))
    thread, free = ThreadPoolExecutor(1), threading.Event()
    writer = writing(db, path, thread=thread, patience=0.02)
    standing = asyncio.create_task(writer.run(lambda _: free.wait()))
    while Trouble.BUSY not in refusals:  # noqa: ASYNC110 - only its clock shows that it stands
        await asyncio.sleep(0.01)
    writer._task.cancel()
    with pytest.raises(Unsure):
        await standing
    assert writer._timer is not None
    assert writer._timer.cancelled()
    free.set()
    thread.shutdown()


async def test_a_thread_that_cannot_be_started_writes_nothing(db: Counting, path: Path) -> None:
    """Those who wait are refused, and so is who comes later."""
    thread = ThreadPoolExecutor(1)
    thread.shutdown()
    writer = writing(db, path, thread=thread)
    for number in (1, 2):
        async with asyncio.timeout(10):
            with pytest.raises(Unusable) as refused:
                await writer.run(lambda c, number=number: put(c, number))  # type: ignore[misc]
        assert not isinstance(refused.value, Unsure)
    assert numbers(path) == []
    writer._task.cancel()


@pytest.mark.parametrize("replaces", [False, True])
async def test_what_was_refused_for_want_of_a_thread_is_never_written(
    db: Counting, path: Path, replaces: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that starts later does not run it; a writer that replaces its connection works on."""
    real, can_start = threading.Thread.start, False

    def start(thread: threading.Thread) -> None:
        if not can_start:
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    writer = writing(None if replaces else db, path)
    jobs = [writer.begin(lambda c, n=n: put(c, n)) for n in range(3)]  # type: ignore[misc]
    done = await asyncio.gather(*jobs, return_exceptions=True)
    assert [type(each) for each in done] == [Unusable] * 3
    can_start = True
    last = (await asyncio.gather(writer.run(lambda c: put(c, 9)), return_exceptions=True))[0]
    await writer.close()
    assert (numbers(path), type(last)) == (([9], int) if replaces else ([], Unusable))


def test_a_lock_is_not_waited_for_when_the_event_loop_is_closed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No caller is left, and Python does not exit before the thread: it gives up long before its patience ends."""
    monkeypatch.setattr("gotsurge_async.database._PART", 50)
    thread, began, opened = ThreadPoolExecutor(1), threading.Event(), ExitStack()

    class Patient(Plain):
        def writing(self) -> Counting:
            made = super().writing()
            opened.callback(made.close)  # which the writer did not come to
            made.driver.execute("PRAGMA busy_timeout = 300000")
            began.set()
            return made

    async def leave() -> None:
        writer = Writer(Patient(Place(Kind.SQLITE, path)), thread, name="test")
        writer.begin(lambda c: put(c, 1)).add_done_callback(lambda done: done.exception())
        await asyncio.to_thread(began.wait, 60)

    with (
        opened,
        closing(Plain(Place(Kind.SQLITE, path)).writing()),
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        asyncio.run(leave())
        ended = threading.Thread(target=thread.shutdown, daemon=True)
        ended.start()
        ended.join(60)
        assert not ended.is_alive()
    assert numbers(path) == []
