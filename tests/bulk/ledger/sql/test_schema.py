"""The tables, and how an older ledger becomes a newer one."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Connection

from gotsurge_async.bulk.ledger import LIVE, Ledger, LedgerError, OrderOutcome, OrderState
from gotsurge_async.bulk.ledger.sql.schema import MIGRATIONS
from gotsurge_async.bulk.ledger.sql.store import Store
from tests.bulk.ledger.kit import TurnedClock, loaded, order

NEWEST = 1 + len(MIGRATIONS)


def add_a_column(connection: Connection) -> None:
    """A migration."""
    connection.exec_driver_sql("ALTER TABLE runs ADD COLUMN note TEXT")


def fail(connection: Connection) -> None:
    """A migration that changes something, and then fails."""
    connection.exec_driver_sql("ALTER TABLE runs ADD COLUMN other TEXT")
    connection.exec_driver_sql("SELECT nothing FROM nowhere")


def columns_and_version(path: Path) -> tuple[set[str], int]:
    """What a ledger's file says of itself."""
    database = sqlite3.connect(path)
    try:
        version = database.execute("SELECT value FROM ledger_meta WHERE name = 'schema_version'").fetchone()[0]
        return {row[1] for row in database.execute("PRAGMA table_info(runs)")}, version
    finally:
        database.close()


async def test_an_older_ledger_is_migrated_once(path: Path, clock: TurnedClock) -> None:
    """Opening an older ledger runs the missing migrations, keeps its orders, and does not run them again."""
    async with await Ledger.open(path, clock=clock) as ledger:
        run = await loaded(ledger, [order(1)])
        await run.close()
    for _ in range(2):
        store = await Store.open(path, clock, [*MIGRATIONS, add_a_column])
        await store.close()
    columns, version = columns_and_version(path)
    assert "note" in columns
    assert version == NEWEST + 1


async def test_a_failed_migration_leaves_the_ledger_as_it_was(path: Path, clock: TurnedClock) -> None:
    """A migration that fails is undone together with those before it, and told as a LedgerError."""
    await (await Ledger.open(path, clock=clock)).close()
    before = columns_and_version(path)
    with pytest.raises(LedgerError):
        await Store.open(path, clock, [*MIGRATIONS, add_a_column, fail])
    assert columns_and_version(path) == before


async def test_a_newer_ledger_is_refused(path: Path, clock: TurnedClock) -> None:
    """A ledger of a newer version is not touched, and the error says that it is newer and what to do."""
    store = await Store.open(path, clock, [*MIGRATIONS, add_a_column])
    await store.close()
    told = rf"newer version \(schema {NEWEST + 1}, this program knows {NEWEST}\); use a newer"
    with pytest.raises(LedgerError, match=told):
        await Ledger.open(path, clock=clock)


async def test_a_key_is_live_once_and_liveness_follows_the_state(ledger: Ledger, path: Path) -> None:
    """The database itself refuses a second live row of a key, and a row that is live against its state."""
    run = await loaded(ledger, [order(1)])
    database = sqlite3.connect(path)
    insert = (
        "INSERT INTO orders (id, run_id, line, environment, key, state, live, updated_at) "
        "VALUES (?, ?, 9, 'simulator', 'TRK-1', ?, ?, 0)"
    )
    try:
        for number, state in enumerate(OrderState, 1000):
            with pytest.raises(sqlite3.IntegrityError, match="live_follows_state"):
                database.execute(insert, (number, run.id, state, int(state not in LIVE)))
            if state in LIVE:
                with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
                    database.execute(insert, (number, run.id, state, 1))
            else:
                database.execute(insert, (number, run.id, state, 0))
    finally:
        database.close()
    await run.close()


async def test_a_ledger_of_version_1_is_brought_over(path: Path, clock: TurnedClock) -> None:
    """What the first version wrote is taken up: its runs are sent on, and its tables are those of today."""
    async with await Ledger.open(path, clock=clock) as ledger:
        run = await loaded(ledger, [order(1)])
        await run.claim([row.id async for row in run.rows()])
        await run.close()
    new = schema_of(path)
    turn_back(path)
    async with await Ledger.open(path, clock=clock) as ledger, await ledger.hold(run.id) as taken_up:
        await taken_up.start()
        assert (await taken_up.recover()).in_doubt == 1
    assert schema_of(path) == new


def schema_of(path: Path) -> dict[str, set[tuple[str, str, int]]]:
    """The columns of each table: name, type, and whether NULL is refused."""
    database = sqlite3.connect(path)
    try:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: {row[1:4] for row in database.execute(f"PRAGMA table_info({name})")} for name in tables}
    finally:
        database.close()


async def test_a_task_of_two_orders_is_brought_over_as_the_first_ones(path: Path, clock: TurnedClock) -> None:
    """What version 1 recorded for two orders stays with the first one, and the other is in doubt."""
    async with await Ledger.open(path, clock=clock) as ledger:
        run = await loaded(ledger, [order(1), order(2)])
        await run.close()
    turn_back(path, "UPDATE orders SET state = 'created', task_id = 'one';")
    async with await Ledger.open(path, clock=clock) as ledger:
        rows = [(row.state, row.task_id) async for row in ledger.rows(run.id)]
    assert rows == [(OrderState.CREATED, "one"), (OrderState.IN_DOUBT, None)]


async def test_a_refused_order_is_stored_as_the_first_version_did(path: Path, clock: TurnedClock) -> None:
    """So that an older process, which may be pushing at this moment, and older copies of a ledger are understood."""
    async with await Ledger.open(path, clock=clock) as ledger:
        run = await loaded(ledger, [order(1)])
        (claimed,) = await run.claim([row.id async for row in run.rows()])
        await run.record([OrderOutcome(claimed, OrderState.REFUSED)])
        assert (await run.counts()).refused == 1
        await run.close()
    database = sqlite3.connect(path)
    try:
        assert database.execute("SELECT state FROM orders").fetchall() == [("rejected",)]
    finally:
        database.close()


def turn_back(path: Path, more: str = "") -> None:
    """Make a ledger one of version 1, as far as the tables go; and then ``more``."""
    database = sqlite3.connect(path)
    try:
        database.executescript(
            """
            DROP INDEX orders_live_task;
            ALTER TABLE runs DROP COLUMN epoch;
            ALTER TABLE orders DROP COLUMN epoch;
            ALTER TABLE orders DROP COLUMN lost_drafts;
            DROP TABLE unused_drafts;
            DELETE FROM ledger_meta WHERE name <> 'last_order_id' AND name <> 'schema_version';
            UPDATE ledger_meta SET value = 1 WHERE name = 'schema_version';
            """
        )
        database.executescript(more)
    finally:
        database.close()
    path.with_name(f"{path.name}.counter").unlink(missing_ok=True)  # version 1 had none
