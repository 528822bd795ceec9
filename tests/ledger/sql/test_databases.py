"""The tables, and what is said of a ledger's version."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gotsurge_async.ledger import Ledger, LedgerError, LedgerUnusable, OrderOutcome, OrderState
from gotsurge_async.ledger.sql import databases
from gotsurge_async.ledger.sql.databases import TABLES, VERSION
from gotsurge_async.ledger.states import LETTERS
from tests.ledger.kit import TidyLedger, TurnedClock, bring, ids, loaded, order, orders, states


def change(path: Path, statement: str, *values: object) -> None:
    """Change a closed ledger behind its back."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement, values)


def add_version(folder: Path, monkeypatch: pytest.MonkeyPatch, *statements: str) -> int:
    """Let the program know one more version for each statement that turns a ledger into it; the newest one."""
    for version, statement in enumerate(statements, VERSION + 1):
        text = f"-- name: change\n{statement};\n-- name: other@postgresql\nSELECT nothing;\n"
        (folder / f"{version:03}.sql").write_text(text, encoding="utf-8")
    newest = VERSION + len(statements)
    monkeypatch.setattr(databases, "MIGRATIONS", folder)
    monkeypatch.setattr(databases, "VERSION", newest)
    return newest


def text_of(path: Path) -> str:
    """All that a closed ledger has, as SQL."""
    with closing(sqlite3.connect(path)) as database:
        return "\n".join(database.iterdump())


async def test_an_older_ledger_is_migrated(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of each version is executed once, in order, also when the ledger is only read; the orders stay."""
    async with await TidyLedger.open(path) as ledger:
        run = await loaded(ledger, orders(3))
    newest = add_version(tmp_path, monkeypatch, "CREATE TABLE first (n {big})", "INSERT INTO first VALUES (1)")
    for opening in (Ledger.look, Ledger.open, Ledger.open):
        async with await opening(path) as ledger:
            assert (await ledger.counts(run.id)).pending == 3
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT n FROM first").fetchall() == [(1,)]
        assert ("schema_version", newest) in database.execute("SELECT name, value FROM ledger_meta").fetchall()


async def test_a_migration_that_fails_changes_nothing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All missing versions are made in one transaction."""
    await (await Ledger.open(path)).close()
    before = text_of(path)
    add_version(tmp_path, monkeypatch, "CREATE TABLE first (n INTEGER)", "SELECT nothing FROM nowhere")
    with pytest.raises(LedgerError):
        await Ledger.open(path)
    assert text_of(path) == before


async def test_a_newer_ledger_is_refused(path: Path, clock: TurnedClock) -> None:
    """A ledger of a newer version is not touched, and the error says that it is newer and what to do."""
    await (await Ledger.open(path, clock=clock)).close()
    change(path, "UPDATE ledger_meta SET value = ? WHERE name = 'schema_version'", VERSION + 1)
    before = path.read_bytes()
    told = rf"newer version \(schema {VERSION + 1}; this program knows {VERSION}\): update"
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
    async with await TidyLedger.open(path) as ledger:
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
            (one, run.id, 1, "simulator", "TRK-1", "refused", None, "no such street"),
            (two, run.id, 2, "simulator", "TRK-2", "drafted", "task-2", None),
            (two + 1, run.id, 3, "simulator", "TRK-3", "pending", None, None),
        ]
        assert rows[3][1:] == (loading.id, 9, "e", 'quoted " key', "loading", None, None)


async def test_the_view_knows_every_state(path: Path) -> None:
    """The view shows each letter of the ledger as the word of its state."""
    async with await Ledger.open(path) as ledger:
        run = await loaded(ledger, orders(len(LETTERS)))
        await run.close()
        change(path, "UPDATE chunks SET states = ?", "".join(LETTERS.values()))
        with closing(sqlite3.connect(path)) as database:
            found = [state for (state,) in database.execute("SELECT state FROM each_order ORDER BY id")]
        assert found == [state.value for state in LETTERS]
        assert list((await states(ledger, run)).values()) == [state.value for state in LETTERS]


async def test_a_ledger_that_is_opened_again_is_as_it_was(path: Path) -> None:
    """Opening a ledger of this version changes none of its tables and loses none of its orders."""
    async with await TidyLedger.open(path) as ledger:
        run = await loaded(ledger, orders(3))
        await bring(run, OrderState.CREATED)
    with closing(sqlite3.connect(path)) as database:
        before = database.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
    async with await Ledger.open(path) as ledger:
        assert (await ledger.counts(run.id)).created == 3
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall() == before
