"""Opening and closing a ledger, its runs, and the operator's word."""

import asyncio
import os
import re
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from gotsurge_async.bulk.ledger import (
    IllegalTransition,
    Ledger,
    LedgerClosed,
    LedgerError,
    LedgerUnusable,
    Mode,
    NoSuchRun,
    OrderState,
    RunHeld,
    RunState,
)
from tests.bulk.ledger.kit import START, TurnedClock, begun, bring, loaded, order, orders, states


def mode_of(path: Path) -> int:
    """The permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def write(path: Path, data: bytes) -> None:
    """Put something else where a ledger should be."""
    path.write_bytes(data)


def content(path: Path) -> bytes:
    """What is there."""
    return path.read_bytes()


async def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """The ledger, its write-ahead log and its shared memory are 0600, absent folders 0700, whatever the umask."""
    path = tmp_path / "new" / "folder" / "ledger.db"
    before = os.umask(0)
    try:
        async with await Ledger.open(path) as ledger:
            run = await loaded(ledger, [order(1)])
            assert {file.name for file in path.parent.iterdir()} >= {"ledger.db", "ledger.db-wal", "ledger.db-shm"}
            assert {mode_of(file) for file in path.parent.iterdir()} == {0o600}
            await run.close()
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "new") == mode_of(tmp_path / "new" / "folder") == 0o700


async def test_closing_leaves_no_task_no_thread_and_no_lock(path: Path) -> None:
    """After close the ledger and its counter are left; tasks, threads and locks are gone, and closing again is fine."""
    tasks, threads = asyncio.all_tasks(), threading.active_count()
    ledger = await Ledger.open(path)
    run = await loaded(ledger, orders(10))
    assert [len(batch) async for batch in run.pending()] == [10]
    await run.close()
    await ledger.close()
    await ledger.close()
    assert {file.name for file in path.parent.iterdir()} == {"ledger.db", "ledger.db.counter"}
    assert asyncio.all_tasks() == tasks
    assert threading.active_count() == threads
    with pytest.raises(LedgerClosed, match="is closed"):
        await ledger.runs()
    with pytest.raises(LedgerClosed, match="is closed"):
        await begun(ledger)


async def test_a_cancelled_close_is_finished(path: Path) -> None:
    """A close whose caller is cancelled goes on, and closing again waits for its end."""
    ledger = await Ledger.open(path)
    writing = asyncio.create_task(begun(ledger))
    closing = asyncio.create_task(ledger.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await ledger.close()
    with pytest.raises(LedgerClosed):
        await writing
    assert [file.name for file in path.parent.iterdir()] == ["ledger.db"]


async def test_a_url_is_as_good_as_a_path(path: Path) -> None:
    """`sqlite:///PATH` opens the same ledger as PATH."""
    async with await Ledger.open(f"sqlite:///{path}") as ledger:
        run = await begun(ledger)
        assert ledger.path == str(path)
        await run.close()
    async with await Ledger.open(str(path)) as ledger:
        assert [info.id for info in await ledger.runs()] == [run.id]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("sqlite://", "must outlive the process"),
        ("sqlite:///:memory:", "must outlive the process"),
        ("postgresql://user:hush@host/db", "postgresql is not supported"),
        ("nonsense://", "not supported"),
        ("://", "cannot be read"),
    ],
)
async def test_other_databases_are_refused(where: str, message: str) -> None:
    """What cannot be a ledger is refused with a word on what can, and without the password of the URL."""
    with pytest.raises(LedgerError, match=message) as caught:
        await Ledger.open(where)
    assert "hush" not in str(caught.value)


async def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    """A file of something else is left as it is, and the error says that it is not a database."""
    write(path, b"tracking_id,price\n" * 1000)
    with pytest.raises(LedgerUnusable, match=r"ledger\.db: is not a database"):
        await Ledger.open(path)
    assert content(path) == b"tracking_id,price\n" * 1000


async def test_another_programs_database_is_refused(path: Path) -> None:
    """A database with tables, but not ours, is left alone."""
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE runs (id)")
    database.close()
    with pytest.raises(LedgerError, match="is a database, but not a ledger"):
        await Ledger.open(path)


@pytest.mark.parametrize("size", [4096, 20_000])
async def test_a_truncated_ledger_is_refused(path: Path, size: int) -> None:
    """A ledger whose file lost its end is told as damaged, with what to do."""
    async with await Ledger.open(path) as ledger:
        run = await loaded(ledger, orders(300))
        await run.close()
    os.truncate(path, size)
    with pytest.raises(LedgerUnusable, match="is damaged"):
        await Ledger.open(path)


async def test_a_ledger_that_cannot_be_written_is_refused(path: Path) -> None:
    """A read-only ledger is told when it is opened, before anything could be sent."""
    await (await Ledger.open(path)).close()
    with pytest.raises(LedgerUnusable, match="cannot be written to; check the permissions"):
        await Ledger.open(f"sqlite:///file:{path}?mode=ro&uri=true")


async def test_a_folder_that_cannot_be_made_is_an_error_of_ours(path: Path) -> None:
    """A file where a folder should be is told as a LedgerError, not as an OSError."""
    write(path, b"in the way")
    with pytest.raises(LedgerUnusable, match="check the path and its permissions"):
        await Ledger.open(path / "below" / "ledger.db")
    with pytest.raises(LedgerUnusable, match="cannot be opened"):
        await Ledger.open(path.parent)


async def test_many_open_a_new_file_at_once(path: Path) -> None:
    """A new ledger opened by many at the same moment is one good ledger."""
    ledgers = await asyncio.gather(*(Ledger.open(path) for _ in range(8)))
    runs = await asyncio.gather(*(begun(ledger) for ledger in ledgers))
    assert {info.id for info in await ledgers[0].runs()} == {run.id for run in runs}
    for run, ledger in zip(runs, ledgers, strict=True):
        await run.close()
        await ledger.close()


async def test_a_run_is_found_as_it_was_begun(ledger: Ledger) -> None:
    """Everything said at the beginning of a run is read back, with its holder and its time."""
    run = await ledger.begin(
        environment="sandbox",
        mode="two-phase",
        source="orders.csv",
        source_sha256="abc",
        columns=["tracking_id", "price"],
        options={"rate": 5.5, "key": "tracking_id", "nested": {"a": [1, None]}},
    )
    info = await ledger.run(run.id)
    assert info == run.info
    assert re.fullmatch(r"20261124T233800-[a-z2-9]{4}", info.id)
    assert (info.state, info.mode, info.environment) == (RunState.LOADING, Mode.TWO_PHASE, "sandbox")
    assert (info.source, info.source_sha256, info.columns) == ("orders.csv", "abc", ("tracking_id", "price"))
    assert info.options == {"rate": 5.5, "key": "tracking_id", "nested": {"a": [1, None]}}
    assert info.created_at == START
    assert info.holder is not None
    assert (info.holder.pid, info.holder.since) == (os.getpid(), START)
    await run.close()
    assert (await ledger.run(run.id)).holder is None


async def test_runs_are_listed_newest_first(ledger: Ledger, clock: TurnedClock) -> None:
    """The newest run is first, and a limit keeps the newest."""
    made: list[str] = []
    for _ in range(3):
        run = await loaded(ledger, [])
        made.insert(0, run.id)
        await run.close()
        clock.turn(1)
    assert [info.id for info in await ledger.runs()] == made
    assert [info.id for info in await ledger.runs(limit=2)] == made[:2]


async def test_a_mode_that_does_not_exist_is_refused(ledger: Ledger) -> None:
    """Only direct and two-phase are modes."""
    with pytest.raises(ValueError, match="three-phase"):
        await begun(ledger, mode="three-phase")


async def test_a_held_run_is_not_given_away(ledger: Ledger, path: Path, clock: TurnedClock) -> None:
    """While one has a run, another ledger on the file gets RunHeld with the holder's name; later it gets it."""
    run = await loaded(ledger, orders(3))
    async with await Ledger.open(path, clock=clock) as other:
        with pytest.raises(RunHeld) as caught:
            await other.hold(run.id)
        assert (caught.value.run_id, caught.value.pid, caught.value.since) == (run.id, os.getpid(), START)
        await run.close()
        taken = await other.hold(run.id)
        assert (await taken.counts()).pending == 3
        await taken.close()


async def test_a_run_that_does_not_exist_is_named(ledger: Ledger) -> None:
    """Asking for an unknown run says so, and leaves no lock file."""
    with pytest.raises(NoSuchRun, match="has no run r-1"):
        await ledger.hold("r-1")
    with pytest.raises(NoSuchRun):
        await ledger.run("r-1")
    assert not list(Path(ledger.path).parent.glob("*.lock"))


async def test_a_run_that_was_never_admitted_is_swept_away(ledger: Ledger) -> None:
    """A run whose loading ended without a word cannot be taken up, and the next run removes it with its orders."""
    dead = await begun(ledger)
    await dead.add(orders(5))
    await dead.close()
    with pytest.raises(LedgerError, match="push its source again"):
        await ledger.hold(dead.id)
    alive = await begun(ledger)
    await alive.add(orders(5))
    third = await begun(ledger)
    assert {info.id for info in await ledger.runs()} == {alive.id, third.id}
    assert (await ledger.counts(dead.id)).total == 0
    assert (await ledger.counts(alive.id)).loading == 5
    await alive.close()
    await third.close()


async def test_a_cancelled_begin_lets_the_run_go(ledger: Ledger) -> None:
    """A begin that is cancelled holds no lock, and what it may have begun is swept away by the next."""
    beginning = asyncio.create_task(begun(ledger))
    await asyncio.sleep(0)
    beginning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beginning
    run = await begun(ledger)
    assert [info.id for info in await ledger.runs()] == [run.id]
    assert len(list(Path(ledger.path).parent.glob("*.lock"))) == 1
    await run.close()


async def test_cancelled_reads_leave_the_ledger_whole(ledger: Ledger) -> None:
    """Reads that are cancelled at any moment neither leave a task nor spoil a later read."""
    run = await loaded(ledger, orders(500))
    for turns in range(40):
        reading = asyncio.create_task(run.counts())
        for _ in range(turns):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
    assert (await run.counts()).pending == 500
    await run.close()
    late = asyncio.create_task(ledger.runs())
    await asyncio.sleep(0)
    late.cancel()
    await ledger.close()
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("gotsurge-ledger")]


async def test_an_operator_settles_what_is_in_doubt(ledger: Ledger, clock: TurnedClock) -> None:
    """The word that an order exists makes it created, that none exists refused; both are kept with name and time."""
    run = await loaded(ledger, orders(3))
    await bring(run, OrderState.IN_DOUBT)
    clock.turn(60)
    await ledger.resolve(run.id, {"TRK-1": "task-1"}, by="mei")
    clock.turn(60)
    await ledger.resolve(run.id, {"TRK-2": None}, by="raj")
    rows = {row.key: row async for row in run.rows()}
    assert (rows["TRK-1"].state, rows["TRK-1"].task_id, rows["TRK-1"].error) == (OrderState.CREATED, "task-1", None)
    assert (rows["TRK-2"].state, rows["TRK-2"].error) == (OrderState.REFUSED, "not created, says raj")
    assert rows["TRK-3"].state is OrderState.IN_DOUBT
    first, second = await ledger.decisions(run.id)
    assert (first.key, first.created, first.task_id, first.by) == ("TRK-1", True, "task-1", "mei")
    assert (second.key, second.created, second.task_id, second.by) == ("TRK-2", False, None, "raj")
    assert (second.at - first.at).total_seconds() == 60
    await run.close()


async def test_words_about_many_orders_are_taken_all_or_none(ledger: Ledger) -> None:
    """One of them that cannot be recorded leaves the others as they were."""
    run = await loaded(ledger, orders(3))
    await bring(run, OrderState.IN_DOUBT)
    with pytest.raises(NoSuchRun, match="no order TRK-9"):
        await ledger.resolve(run.id, {"TRK-1": "task-1", "TRK-9": None}, by="mei")
    assert await ledger.decisions(run.id) == []
    await ledger.resolve(run.id, {"TRK-1": "task-1", "TRK-3": None}, by="mei")
    assert await states(ledger, run) == {"TRK-1": "created", "TRK-2": "in_doubt", "TRK-3": "refused"}
    assert [(each.key, each.task_id) for each in await ledger.decisions(run.id)] == [
        ("TRK-1", "task-1"),
        ("TRK-3", None),
    ]
    await run.close()


async def test_an_operator_cannot_settle_what_is_known(ledger: Ledger) -> None:
    """Only an order in doubt can be resolved, once; nothing else is recorded."""
    run = await loaded(ledger, [order(1)])
    with pytest.raises(IllegalTransition, match=r"TRK-1 .* is unprocessed, not in doubt"):
        await ledger.resolve(run.id, {"TRK-1": None}, by="mei")
    await bring(run, OrderState.IN_DOUBT)
    with pytest.raises(NoSuchRun, match="no order TRK-7"):
        await ledger.resolve(run.id, {"TRK-7": None}, by="mei")
    with pytest.raises(NoSuchRun, match="no run r-1"):
        await ledger.resolve("r-1", {"TRK-1": None}, by="mei")
    await ledger.resolve(run.id, {"TRK-1": "task-1"}, by="mei")
    with pytest.raises(IllegalTransition):
        await ledger.resolve(run.id, {"TRK-1": None}, by="mei")
    assert len(await ledger.decisions(run.id)) == 1
    assert await states(ledger, run) == {"TRK-1": "created"}
    await run.close()


async def test_recorded_tasks_are_known_with_their_orders(ledger: Ledger) -> None:
    """Of some task ids those are named that an order of the environment owns, each with its order."""
    run = await loaded(ledger, orders(2))
    await bring(run, OrderState.CREATED)
    other = await loaded(ledger, orders(1), environment="sandbox")
    await bring(other, OrderState.CREATED)
    again = await loaded(ledger, orders(2))
    rows = {row.task_id: row.id async for row in run.rows()}
    elsewhere = [row.task_id or "" async for row in other.rows()]
    assert [row.task_id async for row in again.rows()] == list(rows)
    assert await ledger.recorded("simulator", [*map(str, rows), *elsewhere, "unknown"]) == rows
    assert await ledger.recorded("simulator", []) == {}
    for each in (run, other, again):
        await each.close()


async def test_whether_a_run_is_held_can_be_asked(ledger: Ledger, path: Path) -> None:
    """A run is held until it is closed, also as another process sees it."""
    run = await loaded(ledger, orders(1))
    async with await Ledger.open(path) as other:
        assert await other.is_held(run.id)
        await run.close()
        assert not await other.is_held(run.id)


async def test_a_recorded_task_is_not_replaced_by_a_word(ledger: Ledger) -> None:
    """An order in doubt whose task is recorded can be said to be this one, or not created, but no other one."""
    run = await loaded(ledger, orders(1), mode=Mode.TWO_PHASE)
    await bring(run, OrderState.IN_DOUBT)
    with pytest.raises(IllegalTransition, match="task-1 is recorded"):
        await ledger.resolve(run.id, {"TRK-1": "task-2"}, by="mei")
    assert await ledger.decisions(run.id) == []
    await ledger.resolve(run.id, {"TRK-1": "task-1"}, by="mei")
    assert await states(ledger, run) == {"TRK-1": "created"}
    await run.close()
