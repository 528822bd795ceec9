"""Ledgers that are only looked at: older, in use, or not ours to write."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection

from gotsurge_async.bulk.ledger import Ledger, LedgerError, LedgerUnusable, OrderState
from gotsurge_async.bulk.ledger.sql import store
from gotsurge_async.bulk.ledger.sql.sqlite import read_only
from tests.bulk.ledger.kit import TurnedClock, bring, loaded, orders
from tests.bulk.ledger.powerless import lock_up, locked_away, powerless


async def pushed(path: Path, count: int = 3) -> str:
    """A ledger with a run of created orders; the run's id."""
    async with await Ledger.open(path) as ledger:
        run = await loaded(ledger, orders(count))
        await bring(run, OrderState.CREATED)
        await run.close()
    return run.id


async def created(path: Path) -> int:
    """How many orders are created, as somebody sees it who may write nothing."""
    with powerless():
        async with await Ledger.look(path) as ledger:
            return sum([(await ledger.counts(info.id)).created for info in await ledger.runs()])


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that others may enter."""
    with locked_away(Path(__file__)) as inside:
        inside.parent.chmod(0o755)
        yield inside.parent


async def test_a_locked_ledger_is_read_and_not_written(path: Path) -> None:
    """What a closed ledger holds is shown to whoever may read it; to open it for writing is refused in plain words."""
    run_id = await pushed(path)
    with locked_away(path) as locked:
        assert await created(locked) == 3
        with powerless():
            with pytest.raises(LedgerUnusable, match="cannot be written to; check the permissions"):
                await Ledger.open(locked)
            async with await Ledger.look(locked) as ledger:
                assert not await ledger.is_held(run_id)
                assert [len(page) async for page in ledger.results(run_id)] == [3]
        assert [file.name for file in locked.parent.iterdir()] == ["ledger.db"]


async def test_a_live_writer_is_seen(folder: Path) -> None:
    """What another process has committed and not yet moved into the file is seen, and that it has the run."""
    path = folder / "ledger.db"
    async with await Ledger.open(path) as ledger:
        run = await loaded(ledger, orders(5))
        await bring(run, OrderState.CREATED)
        lock_up(folder)
        assert path.with_name("ledger.db-wal").stat().st_size > 0
        assert await created(path) == 5
        with powerless():
            async with await Ledger.look(path) as looking:
                assert await looking.is_held(run.id)
        folder.chmod(0o755)
        await run.close()


async def test_what_a_crash_left_in_the_log_is_seen(folder: Path, path: Path) -> None:
    """A log with its index is read; one without is refused, for what it holds could not be seen."""
    async with await Ledger.open(path) as ledger:
        run = await loaded(ledger, orders(5))
        await bring(run, OrderState.CREATED)
        for end in ("", "-wal", "-shm"):
            shutil.copy(path.with_name(path.name + end), folder)
        await run.close()
    lock_up(folder)
    assert await created(folder / path.name) == 5
    folder.chmod(0o755)
    (folder / "ledger.db-shm").unlink()
    lock_up(folder)
    with pytest.raises(LedgerUnusable, match=r"write-ahead log without an index.*copy"):
        await created(folder / path.name)


async def test_whoever_looks_leaves_nothing_and_changes_nothing(path: Path) -> None:
    """Looking where all may be written leaves one file, and cannot write; a ledger that does not exist is not made."""
    await pushed(path)
    before = sorted(file.name for file in path.parent.iterdir())
    async with await Ledger.look(path) as ledger:
        assert len(await ledger.runs()) == 1
    with closing(read_only(path)) as connection, pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM orders")
    assert sorted(file.name for file in path.parent.iterdir()) == before
    with pytest.raises(LedgerError, match="does not exist"):
        await Ledger.look(path.with_name("none.db"))
    assert not path.with_name("none.db").exists()


async def test_an_older_version_is_brought_up_to_date_to_look_at_it(
    path: Path, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look at a ledger of an older schema migrates it where it can be written, and else says to look at a copy."""
    await pushed(path)
    ran: list[str] = []

    def migration(connection: Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE runs ADD COLUMN note TEXT")
        ran.append("migrated")

    monkeypatch.setattr(store, "MIGRATIONS", (*store.MIGRATIONS, migration))
    with locked_away(path) as locked, powerless(), pytest.raises(LedgerUnusable, match="look at a copy"):
        await Ledger.look(locked)
    async with await Ledger.look(path, clock=clock) as ledger:
        assert len(await ledger.runs()) == 1
    assert ran == ["migrated"]


async def test_a_damaged_row_is_told_by_whatever_reads_it(path: Path) -> None:
    """A damaged ledger opens to look at it; what is whole is shown, and the row that is not is named."""
    run_id = await pushed(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA ignore_check_constraints = ON")
        database.execute("UPDATE orders SET state = 'gone' WHERE id = 2")
        database.commit()
    async with await Ledger.look(path) as ledger:
        assert len(await ledger.runs()) == 1
        with pytest.raises(LedgerUnusable, match=r"table orders, row 2, run .*state cannot be 'gone'"):
            await ledger.counts(run_id)
        with pytest.raises(LedgerUnusable, match="row 2"):
            [page async for page in ledger.results(run_id)]


async def test_a_damaged_name_in_the_schema_is_damage_too(path: Path) -> None:
    """A name that is no text any more, which the driver cannot even tell of, is damage and not an error of Python's."""
    await pushed(path)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"CREATE TABLE runs", b"CRE\xa1TE TABLE runs", 1))
    for opening in (Ledger.look, Ledger.open):
        with pytest.raises(LedgerUnusable, match="is damaged"):
            await opening(path)
