"""Finished runs are moved into a file of their own; nothing is lost, and nothing of them can be pushed again."""

import asyncio
import os
import shutil
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gotsurge_async.database import Database, Sqlite
from gotsurge_async.ledger import (
    IllegalTransition,
    Ledger,
    LedgerError,
    Mode,
    NewOrder,
    OrderOutcome,
    OrderRow,
    OrderState,
    Run,
)
from gotsurge_async.ledger.upkeep import archive as module
from gotsurge_async.ledger.upkeep.archive import Archived, archive
from gotsurge_async.push.load import load_refused
from tests.ledger.kit import START, TidyLedger, TurnedClock, bring, leases_end, loaded, only, order, orders
from tests.ledger.sql.test_databases import add_version

LATER = START + timedelta(days=1)


async def finished(ledger: Ledger, rows: list[NewOrder], state: OrderState = OrderState.CREATED, **more: Any) -> str:
    """A run that is over; its id."""
    run = await loaded(ledger, rows, **more)
    async with run:
        await run.start()
        await bring(run, state)
        await run.finish()
    return run.id


async def results(ledger: Ledger, run_id: str) -> list[OrderRow]:
    """What became of each order."""
    return [row async for page in ledger.results(run_id) for row in page]


async def archived_results(file: Path, run_id: str) -> list[OrderRow]:
    """The same, as the archive has it."""
    async with await Ledger.look(file) as opened:
        return await results(opened, run_id)


async def move(where: str, to: Path, clock: TurnedClock, *, before: datetime = LATER) -> Archived:
    """Archive what is finished; the file is whole afterwards."""
    return await archive(where, to, before=before, clock=clock)


@pytest.fixture
def to(tmp_path: Path) -> Path:
    """Where the archive will be."""
    return tmp_path / "folder" / "archive.db"


async def test_a_finished_run_is_moved_with_all_that_is_of_it(
    ledger: Ledger, where: str, to: Path, clock: TurnedClock
) -> None:
    """The archive has its results as they were, for its owner alone; the ledger says where they are."""
    run = await loaded(ledger, orders(45), mode=Mode.TWO_PHASE)
    async with run:
        await run.start()
        await run.note_unused([("TRK-1", "unused-1")])
        await bring(run, OrderState.CREATED)
        await run.finish()
    before, counts = await results(ledger, run.id), await ledger.counts(run.id)
    rows = [row async for row in ledger.rows(run.id)]
    done = await move(where, to, clock)
    assert (done.runs, done.left, done.file) == ({run.id: 45}, {}, str(to))
    assert (stat.S_IMODE(to.stat().st_mode), await archived_results(to, run.id)) == (0o600, before)
    async with await Ledger.look(to) as opened:
        assert await opened.counts(run.id) == counts
        assert [row async for row in opened.rows(run.id)] == rows
        assert [draft.task_id for draft in await opened.unused_drafts(run.id)] == ["unused-1"]
        info = await opened.run(run.id)
    kept = await ledger.run(run.id)
    assert (kept.archived_in, kept.archived_at, info.archived_in) == (str(to), START, None)
    assert replace(kept, archived_in=None, holder=None) == info
    assert await ledger.counts(run.id) == counts
    assert (await move(where, to, clock)).runs == {}


async def test_nothing_is_done_with_the_orders_of_an_archived_run(
    ledger: Ledger, where: str, to: Path, clock: TurnedClock
) -> None:
    """Whatever would, says in which file they are."""
    run_id = await finished(ledger, orders(2), OrderState.REFUSED)
    await move(where, to, clock)

    async def rows() -> None:
        async for _ in ledger.rows(run_id):
            pass

    for ask in (
        rows,
        lambda: results(ledger, run_id),
        lambda: ledger.hold(run_id),
        lambda: load_refused(ledger, run_id),
        lambda: ledger.resolve(run_id, {"TRK-1": None}, by="Mei"),
    ):
        with pytest.raises(LedgerError, match=f"run {run_id} was archived, .*archive.db"):
            await ask()


async def test_nothing_that_is_archived_is_pushed_again(
    ledger: Ledger, where: str, to: Path, clock: TurnedClock
) -> None:
    """Keys stay taken, tasks stay recorded; a refused order may be pushed again, as before."""
    run_id = await finished(ledger, orders(3))
    await finished(ledger, [order(9)], OrderState.REFUSED)
    assert await ledger.draft_or_archived("simulator", "task-1") is None
    await move(where, to, clock)
    run = await loaded(ledger, [*orders(2), replace(order(3), payload=b'{"line":"other"}'), order(4), order(9)])
    counts = await run.counts()
    assert (counts.already_pushed, counts.pending) == (3, 2)
    assert set(await ledger.recorded("simulator", ["task-1", "task-9", "none"])) == {"task-1", "task-9"}
    info = await ledger.draft_or_archived("simulator", "task-1")
    assert info is not None
    assert info.id == run_id
    assert await ledger.draft_or_archived("simulator", "task-9") is None  # its key is free
    owner = (await ledger.known("simulator", ["TRK-1"]))["TRK-1"]
    assert (owner.row.state, owner.row.payload) == (OrderState.CREATED, b"")
    assert {row.task_id for row in await results(ledger, run.id) if row.line <= 3} == {"task-1", "task-2", "task-3"}
    (new,) = [row.id async for row in run.rows({OrderState.PENDING}) if row.line == 4]
    await run.claim([new])
    await run.record([OrderOutcome(new, OrderState.IN_DOUBT)])
    with pytest.raises(LedgerError, match=r"recorded for an archived order of run"):
        await run.record([OrderOutcome(new, OrderState.CREATED, "task-1")])


async def test_what_is_not_over_is_left(ledger: Ledger, where: str, to: Path, clock: TurnedClock) -> None:
    """Runs with something in doubt or to be sent, in other hands, too young, or with a draft that nobody knows."""
    doubtful = await finished(ledger, [order(1)], OrderState.IN_DOUBT)
    waits = await loaded(ledger, [order(2)])
    await waits.start()
    await waits.finish()
    await waits.close()
    lost = await loaded(ledger, [order(3)], mode=Mode.TWO_PHASE)
    await lost.start()
    await lost.lose_drafts([(await only(lost)).id])
    await bring(lost, OrderState.CREATED)
    await lost.finish()
    await lost.close()
    held = await ledger.hold(await finished(ledger, [order(4)]))
    rival = await finished(ledger, [order(1)])  # its key is in doubt in the first run
    clock.turn(3600)
    await finished(ledger, [order(5)])
    done = await move(where, to, clock, before=START + timedelta(minutes=1))
    assert (done.runs, done.held, set(done.left)) == ({}, (held.id,), {doubtful, lost.id, held.id, rival})
    assert "in doubt" in done.left[doubtful]
    assert "in doubt" in done.left[rival]
    assert "may have an unrecorded draft" in done.left[lost.id]
    await held.close()
    assert set((await move(where, to, clock, before=START + timedelta(minutes=1))).runs) == {held.id}


async def test_what_became_of_keys_elsewhere_is_written_down(
    ledger: Ledger, where: str, to: Path, clock: TurnedClock
) -> None:
    """An archive says of an order that was pushed by another run what the ledger said, though it has no such run."""
    first = await finished(ledger, orders(2))
    again = await finished(ledger, [order(1), replace(order(2), payload=b'{"line":"other"}'), order(3)])
    waiting = await loaded(ledger, [order(4)], mode=Mode.TWO_PHASE)
    await waiting.start()
    await waiting.close()
    taken = await loaded(ledger, [order(4), order(5)], mode=Mode.TWO_PHASE)  # it takes one over
    async with taken:
        await taken.start()
        await bring(taken, OrderState.CREATED)
        await taken.finish()
    async with await ledger.hold(waiting.id) as run:
        await run.start()
        await run.finish()
    before = {run_id: await results(ledger, run_id) for run_id in (again, waiting.id)}
    counts = {run_id: await ledger.counts(run_id) for run_id in before}
    async with await ledger.hold(first), await ledger.hold(taken.id):  # these stay
        assert set((await move(where, to, clock)).runs) == set(before)
    for run_id, entries in before.items():
        assert await archived_results(to, run_id) == entries
        assert await ledger.counts(run_id) == counts[run_id]
        async with await Ledger.look(to) as opened:
            assert await opened.counts(run_id) == counts[run_id]


async def test_a_change_while_it_is_copied_is_not_lost(
    ledger: Ledger, where: str, to: Path, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was changed before the copy is in it; what would be changed meanwhile waits, and is refused then."""
    old = await finished(ledger, orders(2))
    other = await loaded(ledger, [replace(order(1), payload=b'{"line":"mended"}')], mode=Mode.TWO_PHASE)
    (rival,) = await other.rivals({OrderState.CHANGED}, 0)
    assert await other.replace(rival, "broadcasting", doubt=bytes)
    loop = asyncio.get_running_loop()
    begun = threading.Event()
    copy = module._copy

    async def meanwhile() -> None:
        begun.set()
        await other.note_text(rival, b"{}", "")

    def interrupted(*given: Any) -> Any:
        changes.append(asyncio.run_coroutine_threadsafe(meanwhile(), loop))
        assert begun.wait(10)
        return copy(*given)

    changes: list[Any] = []

    monkeypatch.setattr(module, "_copy", interrupted)
    async with other:
        assert (await move(where, to, clock)).runs == {old: 2}
        with pytest.raises(IllegalTransition, match="is archived"):
            await asyncio.wrap_future(changes[0])
        assert (await archived_results(to, old))[0].error == f"changed by run {other.id}"
        async with await Ledger.look(to) as opened:
            assert b'{"line":"mended"}' in [row.payload async for row in opened.rows(old)]


async def test_only_an_archive_of_the_same_ledger_is_written(
    ledger: Ledger, where: str, to: Path, clock: TurnedClock, tmp_path: Path
) -> None:
    """No run gets into a ledger, or into another one's archive; and no archive is taken for a ledger."""
    run_id = await finished(ledger, orders(1))
    mine = tmp_path / "other.db"
    async with await Ledger.open(mine, clock=clock) as other:
        await finished(other, orders(1))
    with pytest.raises(LedgerError, match="is not an archive of this ledger"):
        await move(where, mine, clock)
    await move(str(mine), to, clock)
    with pytest.raises(LedgerError, match="is not an archive of this ledger"):
        await move(where, to, clock)
    other = tmp_path / "other.db"
    await (await Ledger.open(other)).close()
    with pytest.raises(LedgerError, match="is not an archive of this ledger"):
        await move(where, other, clock)
    with pytest.raises(LedgerError, match="is an archive of runs: nothing is sent from it"):
        await Ledger.open(to)
    if "://" not in where:
        with pytest.raises(LedgerError, match="its own archive"):
            await move(where, Path(where), clock)
    assert len(await results(ledger, run_id)) == 1
    assert (await move(where, tmp_path / "right.db", clock)).runs == {run_id: 1}


async def test_an_older_archive_is_looked_at_and_added_to(
    path: Path, to: Path, tmp_path: Path, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive of an older version is migrated when it is read, and still nothing is sent from it."""
    async with await Ledger.open(path, clock=clock) as ledger:
        first = await finished(ledger, orders(1))
        second = await finished(ledger, [order(2)])
    await move(str(path), to, clock)
    add_version(tmp_path, monkeypatch, "CREATE TABLE more (n INTEGER)")
    assert [row.key for row in await archived_results(to, first)] == ["TRK-1"]
    with pytest.raises(LedgerError, match="is an archive of runs"):
        await Ledger.open(to)
    assert [row.key for row in await archived_results(to, second)] == ["TRK-2"]


async def test_a_copy_that_was_not_taken_out_is_made_again(
    ledger: Ledger, where: str, to: Path, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it ends between the copy and the ledger's transaction, or in that, both have the run; again finishes it."""
    run_id = await finished(ledger, orders(3))
    before = await results(ledger, run_id)
    execute = Database.change

    def end(db: Database, name: str, /, **values: Any) -> int:
        changed = execute(db, name, **values)
        if name == "mark_archived" and values["where"] is not None:  # in the ledger, at the end
            raise OSError("the end")
        return changed

    with monkeypatch.context() as patched:
        patched.setattr(Database, "change", end)
        with pytest.raises(LedgerError, match="the end"):
            await move(where, to, clock)
    assert await results(ledger, run_id) == await archived_results(to, run_id) == before
    leases_end(where)
    assert (await move(where, to, clock)).runs == {run_id: 3}
    assert await archived_results(to, run_id) == before


# --- killed ---------------------------------------------------------------------------------------------------------


async def _prepared(path: Path, clock: TurnedClock) -> dict[str, list[OrderRow]]:
    async with await Ledger.open(path, clock=clock) as ledger:
        first = await finished(ledger, orders(3))
        second = await finished(ledger, [order(1), order(7)])
        return {run_id: await results(ledger, run_id) for run_id in (first, second)}


def _killed_at(path: Path, to: Path, clock: TurnedClock, statement: int) -> bool:
    """Archive in a process that is killed right before a write, or a commit; whether it was."""
    child = os.fork()
    if child == 0:
        left = statement
        execute = Sqlite._execute

        def count(db: Sqlite, text: str, *given: Any) -> Any:
            nonlocal left
            left -= not text.startswith(("SELECT", "PRAGMA"))  # before these it is as after the last write
            if left < 0:
                os._exit(9)
            return execute(db, text, *given)

        try:
            Sqlite._execute = count  # type: ignore[method-assign]
            asyncio.run(move(str(path), to, clock))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 9


async def _after(path: Path, to: Path, clock: TurnedClock, expected: dict[str, list[OrderRow]]) -> None:
    """All is in the ledger or in the archive; archiving again finishes; pushing again sends nothing."""
    async with await Ledger.look(path) as ledger:
        for run_id, entries in expected.items():
            moved = (await ledger.run(run_id)).archived_in is not None
            assert (await archived_results(to, run_id) if moved else await results(ledger, run_id)) == entries
    await move(str(path), to, clock)
    for run_id, entries in expected.items():
        assert await archived_results(to, run_id) == entries
    async with await TidyLedger.open(path, clock=clock) as ledger:
        run: Run = await loaded(ledger, [*orders(3), order(7)])
        assert (await run.counts()).already_pushed == 4


@pytest.mark.slow
def test_a_kill_at_any_statement_loses_nothing(tmp_path: Path) -> None:
    """Before each write and commit of an archiving, in whichever database, the process may be killed."""
    clock = TurnedClock()
    expected = asyncio.run(_prepared(tmp_path / "ledger.db", clock))
    statement = 0
    while True:
        folder = tmp_path / f"at-{statement}"
        folder.mkdir()
        for file in tmp_path.glob("ledger.db*"):
            shutil.copy(file, folder / file.name)
        killed = _killed_at(folder / "ledger.db", folder / "archive.db", clock, statement)
        asyncio.run(_after(folder / "ledger.db", folder / "archive.db", clock, expected))
        shutil.rmtree(folder)
        if not killed:
            break
        statement += 1
    assert statement > 40


def test_times_are_aware() -> None:
    """Before means a moment, not a wall clock."""
    with pytest.raises(ValueError, match="has no time zone"):
        asyncio.run(archive("none.db", Path("x"), before=datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)))
