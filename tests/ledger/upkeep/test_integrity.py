"""A ledger that is damaged: it is reported with its table and its row, before anything is written."""

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.ledger import Ledger, LedgerError, LedgerUnusable, Mode, OrderState
from gotsurge_async.ledger.sql.store import Backend, place
from gotsurge_async.ledger.upkeep import integrity
from gotsurge_async.ledger.upkeep.integrity import columns, look_through
from tests.ledger.kit import TidyLedger, TurnedClock, bring, loaded, order, orders

NO_TEXT = "CAST(x'ff80' AS TEXT)"
GARBLED = {
    str: ("NULL", "7", "x'00'", NO_TEXT),
    int: ("NULL", "-5", "'word'", "1e99", "x'01'"),
    bytes: ("NULL", "7", "'text'"),
}
OTHERS = {
    ("runs", "state"): ("'creaued'", "''"),
    ("runs", "mode"): ("'pigeon'",),
    ("runs", "columns"): ("'{]'", "'7'"),
    ("runs", "options"): ("'{]'", "'[1]'"),
    ("runs", "created_at"): ("253402300800000000",),
    ("chunks", "states"): ("'creaued'", "''", "'" + "c" * 40 + "'"),
    ("chunks", "run"): ("99",),
    ("bodies", "chunk"): ("99",),
    ("bodies", "packed"): ("1", "3"),
    ("bodies", "meta"): ("'{]'", "'[7]'", "'[[1]]'", "replace(meta, '\"TRK', '7,\"TRK')"),
    ("bodies", "body"): ("x'00'", "body || x'00'"),
    ("bodies", "source"): ("x'00'",),
    ("results", "chunk"): ("99",),
    ("results", "ids"): ("'{]'", "'7'", "'[7]'", "replace(ids, '[', '[null,')"),
    ("notes", "chunk"): ("99",),
    ("notes", "place"): ("21",),
    ("keys", "chunk"): ("99",),
    ("keys", "place"): ("21",),
    ("decisions", "created"): ("2",),
    ("decisions", "run"): ("99",),
    ("unused_drafts", "run"): ("99",),
}
"""What else a column cannot hold."""


ROWIDS = {
    ("runs", "number"),
    ("decisions", "id"),
    ("chunks", "id"),
    ("bodies", "chunk"),
    ("counters", "slot"),
    ("distributions", "run"),
    ("submitted", "number"),
}
"""A row's number, which SQLite keeps as nothing else."""
BY_KEY = ("results", "notes", "keys")
"""Tables that SQLite finds by their keys alone, which cannot be empty."""


OF_WORKERS = ("distributions", "segments", "workers")
"""Tables that hold nothing of orders: of each column one wrong value is enough."""


def cases() -> list[tuple[str, str, list[str]]]:
    """Each column of each table with the values that it cannot hold."""
    found = []
    for table, some in columns().items():
        for column in some:
            wrong = GARBLED[column.type]
            if (table, column.name) in ROWIDS:
                wrong = ("-5",)
            if table in OF_WORKERS:
                wrong = wrong[-1:]
            values = [
                value
                for value in dict.fromkeys((*wrong, *OTHERS.get((table, column.name), ())))
                if not (value == "NULL" and (column.may_be_empty or (table in BY_KEY and column.is_name)))
                and not (value == "-5" and -5 in column.numbers)
            ]
            found.append((table, column.name, values))
    return found


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
        database.execute("INSERT INTO unused_drafts VALUES ('task-9', 2, 'TRK-41', 1, 2)")
        database.execute("INSERT INTO notes VALUES (3, 4, NULL, 'said', 1, NULL)")
        database.execute("INSERT INTO contested VALUES (3, 4, 1, 'TRK-62')")
        database.execute("INSERT INTO proposals VALUES ('p', 'd', x'7b7d', 1, 2, 'proposed', 'amy', 1, 1, 0, '{}')")
        database.execute("INSERT INTO submitted VALUES (1, 'local', '', 'TRK-99', x'7b7d', 1, 2, 0, 0, 0)")
        database.execute("INSERT INTO distributions VALUES (3, 1, 1, '{}', 0, 0, 0, 9, 2, 'LimitReached', 'enough')")
        database.execute("INSERT INTO segments VALUES (3, 0, 4, 4, 1, 'open', 'one', 0, 1, 0, 0, 0, 0)")
        database.execute("INSERT INTO workers VALUES ('one', 'here', 1, '0', 'local', 1, 2, 'working', 1, 0, 0, NULL)")
        database.commit()


@pytest.fixture
def copy(whole: Path, path: Path) -> Path:
    """A copy of it, to damage."""
    shutil.copy(whole, path)
    return path


def garble(path: Path, table: str, column: str, value: str) -> None:
    """Put a value where it cannot be, past every check of the database."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA writable_schema = ON")
        database.execute(
            "UPDATE sqlite_schema SET sql = replace(replace(replace(replace(replace(sql, ' NOT NULL', ''), "
            "'TEXT', 'BLOB'), 'INTEGER PRIMARY', 'KEPT'), 'INTEGER', 'BLOB'), 'KEPT', 'INTEGER PRIMARY') "
            "WHERE type = 'table'"
        )
        database.commit()
    with closing(sqlite3.connect(path)) as database:
        rows = [row[1] for row in database.execute(f"PRAGMA table_info({table})") if row[5]]
        last = f"SELECT {', '.join(rows)} FROM {table} ORDER BY {' DESC, '.join(rows)} DESC LIMIT 1"  # noqa: S608
        database.execute(f"UPDATE {table} SET {column} = {value} WHERE ({', '.join(rows)}) IN ({last})")  # noqa: S608
        assert database.total_changes == 1
        database.commit()


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
    async with await TidyLedger.open(path) as ledger:
        await loaded(ledger, orders(1))


async def outcome(work: Coroutine[Any, Any, None]) -> str | None:
    """What an error of the ledger says; None if there was none."""
    try:
        await work
    except LedgerError as error:
        return str(error)
    return None


def flaws(path: Path) -> list[str]:
    """All that is wrong in a ledger."""
    with closing(Backend(place(path)).reading()) as db:
        return [str(flaw) for flaw in look_through(db, 100, whole=True)]


async def test_a_sound_ledger_has_no_flaw(copy: Path) -> None:
    """Nothing is wrong with a ledger that was only ever written by this program, but that its orders are no JSON."""
    assert [flaw for flaw in flaws(copy) if "cannot be decoded" not in flaw] == []
    await read_all(copy)
    await write_something(copy)


@pytest.mark.parametrize(("number", "table", "column", "values"), [(at, *case) for at, case in enumerate(cases())])
async def test_what_cannot_be_is_refused(
    whole: Path, path: Path, number: int, table: str, column: str, values: list[str]
) -> None:
    """Each value that a column cannot hold is seen in its table; then nothing is written, and reading tells too.

    The ledger is opened for one value of every third column, of another kind from column to column.
    """
    for value in values:
        shutil.copy(whole, path)
        garble(path, table, column, value)
        assert any(f"table {table}" in flaw or table == "ledger_meta" for flaw in flaws(path)), value
    if number % 3:
        return
    shutil.copy(whole, path)
    garble(path, table, column, values[number // 3 % len(values)])
    with pytest.raises(LedgerError, match=r"damaged|older|newer version") as caught:
        await write_something(path)
    assert f"table {table}" in str(caught.value) or table == "ledger_meta"
    assert "other ledger" in str(caught.value) or "backup" in str(caught.value)
    message = await outcome(read_all(path))
    assert message is None or "table " in message or table == "ledger_meta"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "UPDATE chunks SET states = 'creaued' WHERE id = 1",
            r"table chunks, chunk 1: its states are invalid: 'creaued'",
        ),
        (
            "UPDATE results SET ids = replace(ids, '\"task-41\"', 'null')",
            "chunk 3, place 0: the order has the impossible state drafted without a task",
        ),
        (
            "UPDATE chunks SET states = 'p' || substr(states, 2) WHERE id = 3",
            "place 0: the order has the impossible state pending with a task",
        ),
        (
            "UPDATE chunks SET states = 'a' || substr(states, 2) WHERE id = 1",
            "line 1, key TRK-1: the state of the order is already_pushed, b",
        ),
        (
            "UPDATE runs SET state = 'loading' WHERE number = 1",
            "place 0: the order has the impossible state created in .* being loaded",
        ),
        (
            "UPDATE keys SET place = 3 WHERE key = 'TRK-7'",
            "table keys, chunk 1, line 7, key TRK-7: the order is live, but cannot be found",
        ),
        (
            "DELETE FROM keys WHERE key = 'TRK-7'",
            "table keys, chunk 1, line 7, key TRK-7: the order is live, but cannot be found",
        ),
        ("DELETE FROM bodies WHERE chunk = 2", "table bodies, chunk 2: its orders are missing"),
        ("DELETE FROM runs WHERE number = 2", "table chunks, chunk 3: its run is missing"),
        ("UPDATE ledger_meta SET value = 3 WHERE name = 'last_chunk'", "3, but there is a chunk 4"),
        ("DELETE FROM ledger_meta WHERE name = 'last_chunk'", "the last chunk is missing"),
        ("UPDATE runs SET columns = '[1]' WHERE columns IS NOT NULL", "table runs.*Expected `str`, got `int`"),
        (
            "UPDATE runs SET holder_since = 5 WHERE number = 1",
            "table runs, row .*the record of its holder is incomplete",
        ),
        (
            "UPDATE bodies SET meta = replace(meta, '26161', '99999999999999999999') WHERE chunk = 1",
            "line 1, key TRK-1: its line, size",
        ),
        (
            "UPDATE bodies SET meta = json_set(meta, '$[0][3]', -1, '$[1][3]', 15) WHERE chunk = 1",
            "line 1, key TRK-1: its line, size",
        ),
        ("DROP TABLE decisions", "no table decisions"),
        ("ALTER TABLE notes RENAME COLUMN error TO terror", "table notes: no such column: error"),
    ],
)
async def test_the_row_is_named(copy: Path, change: str, message: str) -> None:
    """What contradicts itself is reported with its row, and with what to do."""
    with closing(sqlite3.connect(copy)) as database:
        database.execute(change)
        changed = database.total_changes
        database.commit()
    if not changed and change.startswith("UPDATE"):
        pytest.fail("nothing was changed")
    with pytest.raises(LedgerUnusable, match=message) as caught:
        await write_something(copy)
    assert "Do not start another ledger" in str(caught.value)


async def test_a_key_that_an_index_lost_is_refused(copy: Path) -> None:
    """A live key that its index no longer finds would be pushed again: the ledger is refused."""
    data = copy.read_bytes()
    found = [place for place in range(len(data)) if data.startswith((b"simulatorTRK-11", b'"TRK-11"'), place)]
    damaged = 0
    for at in found:
        (copy.parent / "ledger.db-wal").unlink(missing_ok=True)
        flipped = bytearray(data)
        flipped[at + (10 if data[at : at + 1] == b"s" else 2)] ^= 4
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
            async with await TidyLedger.open(copy) as ledger:
                run = await ledger.begin(environment="simulator", mode="direct", source="again")
                await run.add(orders(80))
                admission = await run.admit()
                assert (admission.already_pushed, admission.superseded) == (40, 40), place
        except LedgerError:
            refused += 1
    assert refused > 10


async def test_a_large_ledger_is_looked_through_once_a_day(
    copy: Path, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above a size the whole look is taken when it is a day old; the numbers that count are looked at every time."""
    monkeypatch.setattr(integrity, "ALWAYS", 10)
    await (await Ledger.open(copy, clock=clock)).close()
    with closing(sqlite3.connect(copy)) as database:
        database.execute("UPDATE decisions SET decided_at = -1")
        database.commit()
    clock.turn(60)
    await (await Ledger.open(copy, clock=clock)).close()
    clock.turn(24 * 60 * 60)
    with pytest.raises(LedgerUnusable, match="table decisions"):
        await Ledger.open(copy, clock=clock)


async def test_an_order_is_not_shown(copy: Path) -> None:
    """What is reported of a damaged order does not hold the addresses in it; only what kind it is."""
    garble(copy, "bodies", "body", "'10 Loyang Way'")
    garble(copy, "bodies", "source", "CAST(x'ff31304c6f79616e67' AS TEXT)")
    garble(copy, "bodies", "meta", "x'31304c6f79616e67'")
    assert any("meta cannot be bytes" in flaw for flaw in flaws(copy))
    assert "Loyang" not in "".join(flaws(copy))


@pytest.mark.parametrize("value", ["-1", "'word'", NO_TEXT])
async def test_whoever_only_reads_gets_the_row_named(copy: Path, value: str) -> None:
    """Reading a value that cannot be is an error that names its row, and no other."""
    garble(copy, "decisions", "decided_at", value)
    message = await outcome(read_all(copy))
    assert message is None if value == "-1" else "table decisions, row 1: decided_at cannot be" in (message or "")
