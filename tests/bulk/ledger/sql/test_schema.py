"""The tables, and what is said of a ledger's version."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gotsurge_async.bulk.ledger import Ledger, LedgerError, LedgerUnusable, OrderOutcome, OrderState
from gotsurge_async.bulk.ledger.sql.schema import TABLES, VERSION
from gotsurge_async.bulk.ledger.states import LETTERS
from tests.bulk.ledger.kit import TurnedClock, bring, ids, loaded, order, orders, states


def change(path: Path, statement: str, *values: object) -> None:
    """Change a closed ledger behind its back."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement, values)


async def test_a_newer_ledger_is_refused(path: Path, clock: TurnedClock) -> None:
    """A ledger of a newer version is not touched, and the error says that it is newer and what to do."""
    await (await Ledger.open(path, clock=clock)).close()
    change(path, "UPDATE ledger_meta SET value = ? WHERE name = 'schema_version'", VERSION + 1)
    before = path.read_bytes()
    told = rf"newer version \(schema {VERSION + 1}, this program knows {VERSION}\); use a newer"
    for opening in (Ledger.open, Ledger.look):
        with pytest.raises(LedgerError, match=told):
            await opening(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("value", [0, "new", -1])
async def test_a_version_that_is_none_is_damage(path: Path, value: object) -> None:
    """A version that cannot be is told as damage, by the table that says it."""
    await (await Ledger.open(path)).close()
    change(path, "UPDATE ledger_meta SET value = ? WHERE name = 'schema_version'", value)
    with pytest.raises(LedgerUnusable, match=r"is damaged \(table ledger_meta: the schema version"):
        await Ledger.open(path)


@pytest.mark.parametrize("table", sorted({*TABLES} - {"ledger_meta"}))
async def test_a_missing_table_is_damage(path: Path, table: str) -> None:
    """A ledger that lost one of its tables is not opened, and the table is named."""
    await (await Ledger.open(path)).close()
    change(path, f"DROP TABLE {table}")
    with pytest.raises(LedgerUnusable, match=rf"no table {table}"):
        await Ledger.open(path)


async def test_people_see_a_row_for_each_order(path: Path) -> None:
    """The view ``each_order`` shows every order with its run, line, key, state in words, task and error."""
    async with await Ledger.open(path) as ledger:
        run = await loaded(ledger, orders(3), mode="two-phase")
        one, two, _ = await ids(run)
        claimed = await run.claim([one, two])
        await run.record(
            [
                OrderOutcome(claimed[0], OrderState.REFUSED, error="no such street"),
                OrderOutcome(claimed[1], OrderState.DRAFTED, "task-2"),
            ]
        )
        loading = await ledger.begin(environment="e", mode="direct", source="s")
        await loading.add([order(9, 'quoted " key')])
        with closing(sqlite3.connect(path)) as database:
            rows = database.execute(
                "SELECT id, run_id, line, environment, key, state, task_id, error FROM each_order ORDER BY id"
            ).fetchall()
        assert rows[:3] == [
            (one, run.id, 1, "simulator", "TRK-1", "rejected", None, "no such street"),
            (two, run.id, 2, "simulator", "TRK-2", "drafted", "task-2", None),
            (two + 1, run.id, 3, "simulator", "TRK-3", "pending", None, None),
        ]
        assert rows[3][1:] == (loading.id, 9, "e", 'quoted " key', "loading", None, None)
        await run.close()
        await loading.close()


async def test_the_view_knows_every_state(path: Path) -> None:
    """Each letter of the ledger has its word in the view, the one that the first version stored."""
    async with await Ledger.open(path) as ledger:
        run = await loaded(ledger, orders(len(LETTERS)))
        await run.close()
        change(path, "UPDATE chunks SET states = ?", "".join(LETTERS.values()))
        with closing(sqlite3.connect(path)) as database:
            found = [state for (state,) in database.execute("SELECT state FROM each_order ORDER BY id")]
        assert found == [state.value for state in LETTERS]
        assert list((await states(ledger, run)).values()) == [state.word for state in LETTERS]


async def test_a_ledger_that_is_opened_again_is_as_it_was(path: Path) -> None:
    """Opening a ledger of this version changes none of its tables and loses none of its orders."""
    async with await Ledger.open(path) as ledger:
        run = await loaded(ledger, orders(3))
        await bring(run, OrderState.CREATED)
        await run.close()
    with closing(sqlite3.connect(path)) as database:
        before = database.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
    async with await Ledger.open(path) as ledger:
        assert (await ledger.counts(run.id)).created == 3
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall() == before
