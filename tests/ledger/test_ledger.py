"""Opening and closing a ledger, its runs, and the operator's word."""

import asyncio
import os
import re
import threading
from pathlib import Path

import pytest

from gotsurge_async.config import SETTLE
from gotsurge_async.ledger import (
    IllegalTransition,
    Ledger,
    LedgerClosed,
    LedgerError,
    Mode,
    NoSuchRun,
    OrderState,
    RunHeld,
    RunState,
)
from gotsurge_async.ledger.locks import this_process
from tests.ledger.kit import (
    START,
    TidyLedger,
    TurnedClock,
    added,
    begun,
    bring,
    leases_end,
    loaded,
    locks,
    order,
    orders,
    states,
)


async def test_closing_leaves_no_task_no_thread_and_no_lock(where: str, tmp_path: Path) -> None:
    """After close tasks, threads and locks are gone, and closing again is fine."""
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
    ledger = await Ledger.open(where)
    run = await loaded(ledger, orders(10))
    assert [len(batch) async for batch in run.pending()] == [10]
    await run.close()
    await ledger.close()
    await ledger.close()
    assert not locks(tmp_path)
    assert asyncio.all_tasks() == tasks
    assert set(threading.enumerate()) <= threads  # one of an earlier test may have ended meanwhile
    with pytest.raises(LedgerClosed, match="is closed"):
        await ledger.runs()
    with pytest.raises(LedgerClosed, match="is closed"):
        await begun(ledger)


async def test_a_cancelled_close_is_finished(where: str, tmp_path: Path) -> None:
    """A close whose caller is cancelled goes on, and closing again waits for its end."""
    ledger = await Ledger.open(where)
    writing = asyncio.create_task(begun(ledger))
    closing = asyncio.create_task(ledger.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await ledger.close()
    with pytest.raises(LedgerClosed):
        await writing
    assert not locks(tmp_path)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("sqlite://", "a database in memory is not kept"),
        ("sqlite:///:memory:", "a database in memory is not kept"),
        ("mysql://user:hush@host/db", "mysql is not supported"),
        ("postgresql://user:hush@x@host/db", "in a password, write % as %25"),
        ("nonsense://", "not supported"),
        ("://", "cannot be read"),
    ],
)
async def test_other_databases_are_refused(where: str, message: str) -> None:
    """What cannot be a ledger is refused with a word on what can, and without the password of the URL."""
    with pytest.raises(LedgerError, match=message) as caught:
        await Ledger.open(where)
    assert "hush" not in str(caught.value)


async def test_many_open_a_new_ledger_at_once(where: str) -> None:
    """A new ledger opened by many at the same moment is one good ledger."""
    ledgers = await asyncio.gather(*(Ledger.open(where) for _ in range(8)))
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


async def test_a_held_run_is_not_given_away(ledger: Ledger, where: str, clock: TurnedClock) -> None:
    """While one has a run, another ledger on the file gets RunHeld with the holder's name; later it gets it."""
    run = await loaded(ledger, orders(3))
    async with await TidyLedger.open(where, clock=clock) as other:
        with pytest.raises(RunHeld) as caught:
            await other.hold(run.id)
        assert (caught.value.run_id, caught.value.holder) == (run.id, this_process(START))
        assert await other.is_held(run.id)
        await run.close()
        assert not await other.is_held(run.id)
        taken = await other.hold(run.id)
        assert (await taken.counts()).pending == 3


async def test_a_run_that_does_not_exist_is_named(ledger: Ledger, tmp_path: Path) -> None:
    """Asking for an unknown run says so, and leaves no lock file."""
    with pytest.raises(NoSuchRun, match="has no run with the id r-1"):
        await ledger.hold("r-1")
    with pytest.raises(NoSuchRun):
        await ledger.run("r-1")
    assert not locks(tmp_path)


async def test_a_run_that_was_never_admitted_is_swept_away(ledger: Ledger) -> None:
    """A run whose loading ended without a word cannot be taken up, and the next run removes it with its orders."""
    dead = await added(ledger, orders(5))
    await dead.close()
    with pytest.raises(LedgerError, match="push its orders again"):
        await ledger.hold(dead.id)
    alive = await added(ledger, orders(5))
    third = await begun(ledger)
    assert {info.id for info in await ledger.runs()} == {alive.id, third.id}
    assert (await ledger.counts(dead.id)).total == 0
    assert (await ledger.counts(alive.id)).loading == 5


async def test_a_cancelled_begin_lets_the_run_go(ledger: Ledger, where: str) -> None:
    """A begin that is cancelled holds no lock, and what it may have begun is swept away by the next."""
    beginning = asyncio.create_task(begun(ledger))
    await asyncio.sleep(0)
    beginning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beginning
    leases_end(where)
    run = await begun(ledger)
    assert [info.id for info in await ledger.runs()] == [run.id]


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
    clock.turn(SETTLE)
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


async def test_words_about_many_orders_are_taken_all_or_none(ledger: Ledger, clock: TurnedClock) -> None:
    """One of them that cannot be recorded leaves the others as they were."""
    run = await loaded(ledger, orders(3))
    await bring(run, OrderState.IN_DOUBT)
    clock.turn(SETTLE)
    with pytest.raises(NoSuchRun, match="no order TRK-9"):
        await ledger.resolve(run.id, {"TRK-1": "task-1", "TRK-9": None}, by="mei")
    assert await ledger.decisions(run.id) == []
    await ledger.resolve(run.id, {"TRK-1": "task-1", "TRK-3": None}, by="mei")
    assert await states(ledger, run) == {"TRK-1": "created", "TRK-2": "in_doubt", "TRK-3": "refused"}
    assert [(each.key, each.task_id) for each in await ledger.decisions(run.id)] == [
        ("TRK-1", "task-1"),
        ("TRK-3", None),
    ]


async def test_an_operator_cannot_settle_what_is_known(ledger: Ledger) -> None:
    """Only an order in doubt can be resolved, once; nothing else is recorded."""
    run = await loaded(ledger, [order(1)])
    with pytest.raises(IllegalTransition, match=r"TRK-1 .* is unprocessed, not in doubt"):
        await ledger.resolve(run.id, {"TRK-1": None}, by="mei")
    await bring(run, OrderState.IN_DOUBT)
    with pytest.raises(NoSuchRun, match="no order TRK-7"):
        await ledger.resolve(run.id, {"TRK-7": None}, by="mei")
    with pytest.raises(NoSuchRun, match="no run with the id r-1"):
        await ledger.resolve("r-1", {"TRK-1": None}, by="mei")
    await ledger.resolve(run.id, {"TRK-1": "task-1"}, by="mei")
    with pytest.raises(IllegalTransition):
        await ledger.resolve(run.id, {"TRK-1": None}, by="mei")
    assert len(await ledger.decisions(run.id)) == 1
    assert await states(ledger, run) == {"TRK-1": "created"}


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


async def test_a_recorded_task_is_not_replaced_by_a_word(ledger: Ledger) -> None:
    """An order in doubt whose task is recorded can be said to be this one, or not created, but no other one."""
    run = await loaded(ledger, orders(1), mode=Mode.TWO_PHASE)
    await bring(run, OrderState.IN_DOUBT)
    with pytest.raises(IllegalTransition, match="task-1 is already recorded"):
        await ledger.resolve(run.id, {"TRK-1": "task-2"}, by="mei")
    assert await ledger.decisions(run.id) == []
    await ledger.resolve(run.id, {"TRK-1": "task-1"}, by="mei")
    assert await states(ledger, run) == {"TRK-1": "created"}
