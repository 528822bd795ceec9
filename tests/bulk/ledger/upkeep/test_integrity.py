"""A ledger that is damaged: it is told, with its table and its row, before anything is written."""

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.bulk.ledger import Ledger, LedgerError, LedgerUnusable, Mode, OrderState
from gotsurge_async.bulk.ledger.sql.schema import decisions, meta, payloads, runs
from gotsurge_async.bulk.ledger.sql.schema import orders as orders_table
from gotsurge_async.bulk.ledger.upkeep import integrity
from gotsurge_async.bulk.ledger.upkeep.integrity import TABLES, condition, counting, structure, unsound
from tests.bulk.ledger.kit import TurnedClock, bring, loaded, order, orders

NO_TEXT = "CAST(x'ff80' AS TEXT)"
GARBLED = {
    "text": ("NULL", "7", "x'00'", NO_TEXT),
    "number": ("NULL", "-5", "'word'", "1e99", "x'01'"),
    "bytes": ("NULL", "7", "'text'"),
    "json": ("'{]'", "'7'", "5", NO_TEXT),
}
STATES = ("'creaued'", "''")


def kind_of(name: str) -> str:
    """What a column holds, from its type."""
    return {"TEXT": "text", "JSON": "json", "BLOB": "bytes"}.get(name, "number")


def cases() -> list[tuple[str, str, str]]:
    """Each column of each table with each value that it cannot hold."""
    found = []
    for table in TABLES:
        for column in table.columns:
            if column.primary_key and kind_of(_type(column)) == "number":
                continue  # a row's number is the row itself
            for value in GARBLED[kind_of(_type(column))]:
                if value == "NULL" and column.nullable:
                    continue
                found.append((table.name, column.name, value))
            if column.name in ("state", "mode"):
                found += [(table.name, column.name, value) for value in STATES]
    return found


def _type(column: Any) -> str:
    name = type(column.type).__name__
    return {"Text": "TEXT", "JSON": "JSON", "LargeBinary": "BLOB"}.get(name, "INTEGER")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with a run of each mode, orders in many states, and a decision."""
    path = tmp_path_factory.mktemp("whole") / "ledger.db"
    asyncio.run(make(path))
    return path


async def make(path: Path) -> None:
    """Make it."""
    async with await Ledger.open(path, clock=TurnedClock()) as ledger:
        direct = await ledger.begin(
            environment="simulator", mode="direct", source="a.csv", columns=["a", "b"], options={"rate": 1}
        )
        await direct.add([order(line, fingerprint=b"f%d" % line) for line in range(1, 41)])
        await direct.admit(source_sha256="abc")
        await bring(direct, OrderState.IN_DOUBT)
        await ledger.resolve(direct.id, {"TRK-1": "task-1"}, by="mei")
        await direct.close()
        two = await loaded(ledger, orders(60)[40:], mode=Mode.TWO_PHASE)
        await bring(two, OrderState.DRAFTED)
        await two.close()
        await (await loaded(ledger, orders(80)[60:])).close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("INSERT INTO unused_drafts VALUES ('task-9', ?, 'TRK-41', 1, 2)", (two.id,))
        database.commit()


@pytest.fixture
def copy(whole: Path, path: Path) -> Path:
    """A copy of it, to damage."""
    shutil.copy(whole, path)
    return path


def garble(path: Path, table: str, column: str, value: str) -> None:
    """Put a value where it cannot be, past every check of the database."""
    database = sqlite3.connect(path)
    try:
        database.execute("PRAGMA ignore_check_constraints = ON")
        database.execute("PRAGMA foreign_keys = OFF")
        database.execute("PRAGMA writable_schema = ON")
        database.execute(
            "UPDATE sqlite_schema SET sql = replace(replace(replace(sql, ' NOT NULL', ''), 'BIGINT', 'BLOB'), "
            "'TEXT', 'BLOB') WHERE type = 'table'"
        )
        database.commit()
        database.close()
        database = sqlite3.connect(path)
        database.execute("PRAGMA ignore_check_constraints = ON")
        key = "rowid"
        database.execute(
            f'UPDATE {table} SET "{column}" = {value} WHERE {key} = (SELECT max({key}) FROM {table})'  # noqa: S608
        )
        database.commit()
    finally:
        database.close()


async def read_all(path: Path) -> None:
    """Read everything of a ledger that is looked at."""
    async with await Ledger.look(path) as ledger:
        for info in await ledger.runs():
            await ledger.counts(info.id)
            await ledger.decisions(info.id)
            [row async for row in ledger.rows(info.id)]
            [page async for page in ledger.results(info.id)]


async def write_something(path: Path) -> None:
    """Open a ledger for writing, and push an order that it has."""
    async with await Ledger.open(path) as ledger:
        run = await loaded(ledger, orders(1))
        await run.close()


async def outcome(work: Coroutine[Any, Any, None]) -> str | None:
    """What an error of the ledger says; None if there was none."""
    try:
        await work
    except LedgerError as error:
        return str(error)
    return None


async def test_a_sound_ledger_has_no_flaw(copy: Path) -> None:
    """Nothing is wrong with a ledger that was only ever written by this program."""
    database = sqlite3.connect(copy)
    try:
        assert unsound(database) + structure(database) + counting(database) == []
    finally:
        database.close()
    await read_all(copy)
    await write_something(copy)


@pytest.mark.parametrize(("table", "column", "value"), cases())
async def test_what_cannot_be_is_refused(copy: Path, table: str, column: str, value: str) -> None:
    """Each column, with each value that it cannot hold: nothing is written, the table is named; reading tells too."""
    garble(copy, table, column, value)
    with pytest.raises(LedgerError, match=r"damaged|older|newer version") as caught:
        await write_something(copy)
    assert table in str(caught.value) or table == meta.name
    assert "other ledger" in str(caught.value) or "backup" in str(caught.value)
    told = await outcome(read_all(copy))
    assert told is None or table in told or table == meta.name


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE orders SET state = 'creaued' WHERE id = 7", r"table orders, row 7, run .*, line 7, key TRK-7: state"),
        ("UPDATE orders SET live = 0 WHERE id = 7", "row 7.*live cannot be 0"),
        ("UPDATE orders SET task_id = NULL WHERE id = 41", "row 41.*task_id cannot be empty"),
        ("DELETE FROM payloads WHERE order_id = 70", "row 70.*it has no payload"),
        ("UPDATE ledger_meta SET value = 3 WHERE name = 'last_order_id'", "3, but there is an order 80"),
        ("UPDATE runs SET columns = '[1]' WHERE columns IS NOT NULL", "table runs.*columns are not names"),
        ("DROP TABLE decisions", "no table decisions"),
    ],
)
async def test_the_row_is_named(copy: Path, change: str, told: str) -> None:
    """What contradicts itself is told with its row, and with what to do."""
    database = sqlite3.connect(copy)
    database.execute("PRAGMA ignore_check_constraints = ON")
    database.execute(change)
    database.commit()
    database.close()
    with pytest.raises(LedgerUnusable, match=told) as caught:
        await write_something(copy)
    assert "Begin no other ledger" in str(caught.value)


async def test_a_key_that_an_index_lost_is_refused(copy: Path) -> None:
    """A live key that its index no longer finds would be pushed again: the ledger is refused."""
    data = copy.read_bytes()
    found = [place for place in range(len(data)) if data.startswith(b"simulatorTRK-1", place)]
    damaged = 0
    for place in found:
        (copy.parent / "ledger.db-wal").unlink(missing_ok=True)
        flipped = bytearray(data)
        flipped[place + 10] ^= 4
        copy.write_bytes(flipped)
        with pytest.raises(LedgerUnusable, match="damaged"):
            await write_something(copy)
        damaged += 1
    assert damaged >= 2  # in the table, and in the index


@pytest.mark.slow
async def test_no_flip_of_a_bit_is_a_traceback(copy: Path) -> None:
    """Bytes that are changed anywhere in the file: it is an error of the ledger, or a key that is there stays known."""
    data = copy.read_bytes()
    chance = random.Random(10)  # so that it can be repeated
    refused = 0
    for _ in range(150):
        place = chance.randrange(len(data))
        flipped = bytearray(data)
        flipped[place] ^= 1 << chance.randrange(8)
        for beside in copy.parent.glob("ledger.db-*"):
            beside.unlink()
        copy.write_bytes(flipped)
        try:
            await read_all(copy)
            async with await Ledger.open(copy) as ledger:
                run = await ledger.begin(environment="simulator", mode="direct", source="again")
                await run.add(orders(80))
                admission = await run.admit()
                assert (admission.already_pushed, admission.superseded) == (40, 40), place
                await run.close()
        except LedgerError:
            refused += 1
    assert refused > 10


async def test_a_large_ledger_is_looked_through_once_a_day(
    copy: Path, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above a size the whole look is taken when it is a day old; the numbers that count are looked at every time."""
    monkeypatch.setattr(integrity, "ALWAYS", 10)
    await (await Ledger.open(copy, clock=clock)).close()
    database = sqlite3.connect(copy)
    database.execute("UPDATE decisions SET decided_at = -1")
    database.commit()
    database.close()
    clock.turn(60)
    await (await Ledger.open(copy, clock=clock)).close()
    clock.turn(24 * 60 * 60)
    with pytest.raises(LedgerUnusable, match="table decisions"):
        await Ledger.open(copy, clock=clock)


def test_every_column_has_a_rule() -> None:
    """No column of the tables is without a condition."""
    columns = [column for table in (meta, runs, orders_table, payloads, decisions) for column in table.columns]
    assert all("typeof" in condition(column) for column in columns)


def test_an_order_is_not_shown() -> None:
    """What is told of a damaged payload does not hold the addresses in it."""
    shown: Callable[..., str] = integrity._shown
    assert shown(b"10 Loyang Way", private=True) == "text"
