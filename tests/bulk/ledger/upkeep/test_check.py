"""Looking a ledger through, and copying it while it is used."""

import asyncio
import sqlite3
import stat
from pathlib import Path

import pytest

from gotsurge_async.bulk.ledger import Ledger, LedgerError, LedgerUnusable, NewOrder, OrderState
from gotsurge_async.bulk.ledger.upkeep.backup import backup
from gotsurge_async.bulk.ledger.upkeep.check import check
from tests.bulk.ledger.kit import bring, loaded


def json_orders(first: int, last: int) -> list[NewOrder]:
    """Orders whose payloads are JSON."""
    return [
        NewOrder(line, f"TRK-{line}", b'{"tracking_id":"TRK-%d"}' % line, b'["TRK-%d"]' % line)
        for line in range(first, last + 1)
    ]


async def pushed(path: Path) -> None:
    """A ledger with ten created orders and ten that wait."""
    async with await Ledger.open(path) as ledger:
        run = await loaded(ledger, json_orders(1, 10))
        await bring(run, OrderState.CREATED)
        await run.close()
        await (await loaded(ledger, json_orders(11, 20))).close()


def change(path: Path, *statements: str) -> None:
    """Damage a ledger past its checks."""
    database = sqlite3.connect(path)
    database.execute("PRAGMA ignore_check_constraints = ON")
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()


async def test_a_sound_ledger_is_found_sound(path: Path) -> None:
    """Nothing is found, and what it holds is told."""
    await pushed(path)
    health = check(path)
    assert (health.flaws, health.runs, health.orders, health.counter) == ((), 2, 20, 3)
    with pytest.raises(LedgerError, match="does not exist"):
        check(path.with_name("none.db"))


@pytest.mark.parametrize(
    ("statements", "told"),
    [
        (("UPDATE orders SET state = 'gone' WHERE id = 3",), "table orders, row 3, run"),
        (("UPDATE orders SET live = 0 WHERE id = 3",), "live cannot be 0"),
        (("UPDATE payloads SET payload = x'7b7b' WHERE order_id = 3",), "table payloads, order 3: payload cannot be"),
        (("UPDATE payloads SET source_row = x'ff' WHERE order_id = 3",), "table payloads, order 3: source_row"),
        (("DELETE FROM payloads WHERE order_id = 3",), "table orders, row 3, run"),
        (
            ("DROP INDEX orders_live_task", "UPDATE orders SET task_id = 'task-1' WHERE id = 2"),
            "rows 1 and 2: two live orders have one task: task-1",
        ),
        (
            ("DROP INDEX orders_live_key", "UPDATE orders SET key = 'TRK-1' WHERE id = 2"),
            "two live orders have one key: TRK-1",
        ),
        (("UPDATE orders SET run_id = 'r' WHERE id = 2",), "belongs to a row of runs that is not there"),
        (("UPDATE ledger_meta SET value = 1 WHERE name = 'last_order_id'",), "there is an order 20"),
        (("UPDATE ledger_meta SET value = 1 WHERE name = 'counter'",), "is an older copy"),
    ],
)
async def test_damage_is_listed(path: Path, statements: tuple[str, ...], told: str) -> None:
    """Each kind of damage is told with its place."""
    await pushed(path)
    change(path, *statements)
    flaws = "\n".join(map(str, check(path).flaws))
    assert told in flaws


async def test_a_file_that_is_no_ledger_is_a_flaw(path: Path) -> None:
    """A file whose beginning is damaged is told as that, not as an error of the database."""
    await pushed(path)
    path.write_bytes(b"\0" * 100 + path.read_bytes()[100:])
    assert "not a database" in str(check(path).flaws[0])


async def test_a_copy_is_made_while_orders_come_in(path: Path, tmp_path: Path) -> None:
    """A backup during a push is sound, of one moment, and for its owner alone."""
    await pushed(path)
    async with await Ledger.open(path) as ledger:
        run = await ledger.begin(environment="simulator", mode="direct", source="x")

        async def load() -> None:
            for block in range(30):
                await run.add(json_orders(100 + block * 10, 109 + block * 10))

        loading = asyncio.create_task(load())
        copies = [await asyncio.to_thread(backup, path, tmp_path / f"copy-{n}.db") for n in range(5)]
        await loading
        await run.close()
    assert [copy.orders % 10 for copy in copies] == [0] * 5
    assert [copy.orders for copy in copies] == sorted(copy.orders for copy in copies)
    for number, copy in enumerate(copies):
        file = tmp_path / f"copy-{number}.db"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert check(file).orders == copy.orders
    assert sorted(file.name for file in tmp_path.glob(".copy*")) == []


async def test_what_is_there_is_not_replaced(path: Path, tmp_path: Path) -> None:
    """An existing file stays unless it is forced; the ledger is never its own backup."""
    await pushed(path)
    file = tmp_path / "copy.db"
    file.write_bytes(b"older")
    with pytest.raises(LedgerError, match="exists already"):
        backup(path, file)
    assert file.read_bytes() == b"older"
    assert backup(path, file, force=True).orders == 20
    assert check(file).flaws == ()
    link = tmp_path / "link.db"
    link.symlink_to(path)
    for name in (path, link):
        with pytest.raises(LedgerError, match="its own backup"):
            backup(path, name, force=True)
    async with await Ledger.open(file) as ledger:
        run = await loaded(ledger, json_orders(50, 60))
        with pytest.raises(LedgerError, match="in use"):
            backup(path, file, force=True)
        await run.close()


async def test_a_damaged_ledger_does_not_replace_a_good_copy(path: Path, tmp_path: Path) -> None:
    """A backup of a damaged ledger fails, and the last good one stays."""
    await pushed(path)
    file = tmp_path / "copy.db"
    backup(path, file)
    good = file.read_bytes()
    change(path, "UPDATE orders SET state = 'gone' WHERE id = 3")
    with pytest.raises(LedgerUnusable, match=r"was not copied.*row 3"):
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
