"""Looking a ledger through, and copying it while it is used."""

import asyncio
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from gotsurge_async.ledger import Ledger, LedgerError, LedgerOlder, LedgerUnusable, NewOrder, OrderState, RunHeld
from gotsurge_async.ledger.upkeep.check import backup, check, refuse_unfit, vacuum
from tests.ledger.kit import TidyLedger, loaded, pushed


def json_orders(first: int, last: int) -> list[NewOrder]:
    """Orders whose payloads are JSON."""
    return [
        NewOrder(line, f"TRK-{line}", b'{"tracking_id":"TRK-%d"}' % line, b'["TRK-%d"]' % line)
        for line in range(first, last + 1)
    ]


async def make(path: Path | str) -> None:
    """A ledger with ten created orders and ten that wait."""
    await pushed(path, json_orders(1, 10))
    await pushed(path, json_orders(11, 20), OrderState.PENDING)


def change(path: Path, statement: str) -> None:
    """Damage a ledger past its checks."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)


async def test_a_sound_ledger_is_found_sound(path: Path) -> None:
    """A sound ledger has no flaws; its runs, orders, id and count are reported."""
    await make(path)
    health = check(path)
    assert (health.flaws, health.runs, health.orders, health.counter) == ((), 2, 20, 3)
    with pytest.raises(LedgerError, match="does not exist"):
        check(path.with_name("none.db"))


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE bodies SET body = CAST(replace(body, '}', ']') AS BLOB)", "line 3, key TRK-3: payload cannot be dec"),
        ("UPDATE bodies SET source = CAST(x'ff' || substr(source, 2) AS BLOB)", "line 1, key TRK-1: source cannot"),
        ("DELETE FROM chunks WHERE id = 2", "table keys, environment 'simulator', key 'TRK-11': its chunk is missing"),
        ("UPDATE keys SET place = 19 WHERE key = 'TRK-1'", "key 'TRK-1': the key's order is missing"),
        ("DELETE FROM counters", "is an older copy"),
        ("DROP TABLE decisions", "table decisions: no such table"),
    ],
)
async def test_damage_is_listed(path: Path, statement: str, message: str) -> None:
    """Each kind of damage is reported with its place; opening names more of them (`test_integrity`)."""
    await make(path)
    change(path, statement)
    assert message in "\n".join(map(str, check(path).flaws))


async def test_a_file_that_is_no_ledger_is_a_flaw(path: Path) -> None:
    """A file whose beginning is damaged is reported as that, not as an error of the database."""
    await make(path)
    path.write_bytes(b"\0" * 100 + path.read_bytes()[100:])
    assert "not a database" in str(check(path).flaws[0])


async def test_a_copy_is_made_while_orders_come_in(path: Path, tmp_path: Path) -> None:
    """A backup during a push is sound, of one moment, and for its owner alone."""
    await make(path)
    async with await TidyLedger.open(path) as ledger:
        run = await ledger.begin(environment="simulator", mode="direct", source="x")

        async def load() -> None:
            for block in range(30):
                await run.add(json_orders(100 + block * 10, 109 + block * 10))

        loading = asyncio.create_task(load())
        copies = [await asyncio.to_thread(backup, path, tmp_path / f"copy-{n}.db") for n in range(5)]
        await loading
    assert [copy.orders % 10 for copy in copies] == [0] * 5
    assert [copy.orders for copy in copies] == sorted(copy.orders for copy in copies)
    for number, copy in enumerate(copies):
        file = tmp_path / f"copy-{number}.db"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert check(file).orders == copy.orders
    assert sorted(file.name for file in tmp_path.glob(".copy*")) == []


async def test_what_is_there_is_not_replaced(path: Path, tmp_path: Path) -> None:
    """An existing file stays unless it is forced; the ledger is never its own backup."""
    await make(path)
    file = tmp_path / "copy.db"
    file.write_bytes(b"older")
    with pytest.raises(LedgerError, match="already exists"):
        backup(path, file)
    assert file.read_bytes() == b"older"
    assert backup(path, file, force=True).orders == 20
    assert check(file).flaws == ()
    link = tmp_path / "link.db"
    link.symlink_to(path)
    for name in (path, link):
        with pytest.raises(LedgerError, match="its own backup"):
            backup(path, name, force=True)
    async with await TidyLedger.open(file) as ledger:
        await loaded(ledger, json_orders(50, 60))
        with pytest.raises(LedgerError, match="in use"):
            backup(path, file, force=True)


async def test_a_damaged_ledger_does_not_replace_a_good_copy(path: Path, tmp_path: Path) -> None:
    """A backup of a damaged ledger fails, and the last good one stays."""
    await make(path)
    file = tmp_path / "copy.db"
    backup(path, file)
    good = file.read_bytes()
    change(path, "UPDATE chunks SET states = 'gone' WHERE id = 1")
    with pytest.raises(LedgerUnusable, match=r"was not copied.*chunk 1"):
        backup(path, file, force=True)
    assert file.read_bytes() == good


def test_a_backup_without_a_ledger_makes_nothing(path: Path, tmp_path: Path) -> None:
    """Nothing to copy is an error, and no file; a folder that is not there is one too."""
    with pytest.raises(LedgerError, match="does not exist"):
        backup(path, tmp_path / "copy.db")
    path.write_bytes(b"")
    with pytest.raises(LedgerUnusable):
        backup(path, tmp_path / "none" / "copy.db")
    assert [file.name for file in tmp_path.iterdir()] == ["ledger.db"]


async def test_a_ledger_is_made_small(path: Path) -> None:
    """What nothing needs any more is given back, but not while a run is held, and never of a damaged ledger."""
    await make(path)
    async with await Ledger.open(path) as ledger:
        run = await ledger.begin(environment="simulator", mode="direct", source="x")
        await run.add(json_orders(100, 3000))
        with pytest.raises(RunHeld):
            await asyncio.to_thread(vacuum, path)
        await run.discard()
    before, after = vacuum(path)
    assert after < before / 2
    assert path.stat().st_size == after
    assert check(path).orders == 20
    change(path, "UPDATE chunks SET states = 'gone' WHERE id = 1")
    with pytest.raises(LedgerUnusable, match="chunk 1"):
        vacuum(path)
    with pytest.raises(LedgerError, match="does not exist"):
        vacuum(path.with_name("none.db"))


async def test_an_unfit_ledger_is_refused_in_time(path: Path) -> None:
    """What would be refused when it is opened for writing is refused by a look too."""
    await make(path)
    refuse_unfit(path)
    change(path, "UPDATE counters SET n = 1")
    with pytest.raises(LedgerOlder):
        refuse_unfit(path)
    change(path, "UPDATE chunks SET states = 'gone' WHERE id = 1")
    with pytest.raises(LedgerUnusable, match="its states are invalid"):
        refuse_unfit(path)


@pytest.mark.slow
async def test_a_ledger_in_postgresql_is_looked_after(url: str, tmp_path: Path) -> None:
    """It is checked and made small as a file is; a copy is another program's work, and it is said which."""
    await make(url)
    health = check(url)
    assert (health.flaws, health.runs, health.orders, health.counter) == ((), 2, 20, 3)
    async with await TidyLedger.open(url) as ledger:
        await loaded(ledger, json_orders(30, 31))
        with pytest.raises(RunHeld):
            await asyncio.to_thread(vacuum, url)
    assert min(vacuum(url)) > 0
    with pytest.raises(LedgerError, match=r"pg_dump.*accept-older"):
        backup(url, tmp_path / "copy.db")
    for statement, message in (
        (
            "UPDATE bodies SET body = replace(convert_from(body, 'UTF8'), '}', ']')::bytea WHERE chunk = 1",
            "line 3, key",
        ),
        ("UPDATE results SET ids = '{]'", "table results, chunk 1, part 0: its task ids are not a list of text"),
        ("UPDATE chunks SET updated_at = -5 WHERE id = 2", "table chunks, chunk 2: updated_at cannot be -5"),
        (
            "DELETE FROM keys WHERE key = 'TRK-11'",
            "chunk 2, line 11, key TRK-11: the order is live, but cannot be found",
        ),
        ("SELECT setval('chunk_ids', 1)", "1, but there is a chunk 3"),
    ):
        with psycopg.connect(url) as connection:
            connection.execute(statement)
        assert message in "\n".join(map(str, check(url).flaws))
    with pytest.raises(LedgerUnusable, match="is damaged"):
        await Ledger.open(url)
