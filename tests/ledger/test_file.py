"""A ledger in a file: its permissions, and what stands there instead."""

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from gotsurge_async.ledger import Ledger, LedgerError, LedgerMoved, LedgerUnusable
from tests.ledger.kit import TidyLedger, begun, loaded, order, orders


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
        async with await TidyLedger.open(path) as ledger:
            await loaded(ledger, [order(1)])
            assert {file.name for file in path.parent.iterdir()} >= {"ledger.db", "ledger.db-wal", "ledger.db-shm"}
            assert {mode_of(file) for file in path.parent.iterdir()} == {0o600}
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "new") == mode_of(tmp_path / "new" / "folder") == 0o700


async def test_what_is_left_in_the_end(path: Path) -> None:
    """After the last close there are the ledger and its counter: no log, no lock."""
    async with await Ledger.open(path) as ledger:
        await (await loaded(ledger, orders(10))).close()
    assert {file.name for file in path.parent.iterdir()} == {"ledger.db", "ledger.db.counter"}


async def test_a_url_is_as_good_as_a_path(path: Path) -> None:
    """`sqlite:///PATH` opens the same ledger as PATH."""
    async with await TidyLedger.open(f"sqlite:///{path}") as ledger:
        run = await begun(ledger)
        assert ledger.path == str(path)
    async with await Ledger.open(str(path)) as ledger:
        assert [info.id for info in await ledger.runs()] == [run.id]


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
    """A ledger whose file lost its end is reported as damaged, with what to do."""
    async with await TidyLedger.open(path) as ledger:
        await loaded(ledger, orders(300))
    os.truncate(path, size)
    with pytest.raises(LedgerUnusable, match="is damaged"):
        await Ledger.open(path)


async def test_a_folder_that_cannot_be_made_is_an_error_of_ours(path: Path) -> None:
    """A file where a folder should be is reported as a LedgerError, not as an OSError."""
    write(path, b"in the way")
    with pytest.raises(LedgerUnusable, match="check the path and its permissions"):
        await Ledger.open(path / "below" / "ledger.db")
    with pytest.raises(LedgerUnusable, match="cannot be opened"):
        await Ledger.open(path.parent)


async def test_a_file_that_is_replaced_while_it_is_open_admits_nothing(path: Path) -> None:
    """Its orders would be in a ledger that no process finds; with the file back it is as it was."""
    async with await Ledger.open(path) as ledger:
        away = path.with_name("away.db")
        path.rename(away)
        write(path, b"")
        with pytest.raises(LedgerMoved, match=r"moved, removed or replaced"):
            await loaded(ledger, orders(2))
        assert not await ledger.is_writable()
        away.replace(path)
        assert await ledger.is_writable()
        await (await loaded(ledger, orders(2))).close()
