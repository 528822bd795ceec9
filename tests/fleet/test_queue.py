"""The queue's tables, and the jobs in them, on a real PostgreSQL."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import psycopg
import pytest
from procrastinate.exceptions import ConnectorException
from procrastinate.schema import SchemaManager

from gotsurge_async.database import Database, place_of
from gotsurge_async.fleet import enqueue, upgrade
from gotsurge_async.fleet.queue import describe, must_be_there
from gotsurge_async.ledger import Ledger, LedgerError, LedgerUnusable, RunState
from gotsurge_async.ledger.segments import Waiting
from tests.ledger.kit import loaded, orders
from tests.support.postgres import Server

pytestmark = pytest.mark.slow

_numbers = count(1)


@pytest.fixture
def url(postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A new database."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    name = f"queue_{next(_numbers)}"
    yield postgres.create(name)
    postgres.ask(f"DROP DATABASE {name} WITH (FORCE)")


def asked(url: str, query: str) -> list[tuple[object, ...]]:
    """What the database says."""
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


async def test_two_at_once_make_the_tables(url: str) -> None:
    """Both succeed, and so does a third one afterwards: nothing that is there is touched."""
    place = place_of(url)
    await asyncio.gather(*(asyncio.to_thread(upgrade, place) for _ in range(4)))
    must_be_there(place)
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('mine', 'theirs')")
    upgrade(place)
    assert asked(url, "SELECT queue_name FROM procrastinate_jobs") == [("mine",)]


async def test_a_newer_library_brings_its_migrations(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that came after the tables were made are done, in their order, once; those before are not."""
    place = place_of(url)
    upgrade(place)
    newer = tmp_path / "migrations"
    newer.mkdir()
    (newer / "00.00.00_01_initial.sql").write_text("SELECT nothing FROM nowhere")
    (newer / "98.00.00_01_pre_more.sql").write_text("CREATE TABLE more (n int); INSERT INTO more VALUES (1);")
    (newer / "98.00.00_50_post_more.sql").write_text("INSERT INTO more VALUES (2);")
    monkeypatch.setattr(SchemaManager, "get_migrations_path", staticmethod(lambda: str(newer)))
    upgrade(place)
    upgrade(place)
    assert asked(url, "SELECT n FROM more ORDER BY n") == [(1,), (2,)]


async def test_what_is_left_of_a_queue_is_replaced(url: str) -> None:
    """Where its tables were dropped by hand they are made anew; until then a push and a worker say what to do."""
    place = place_of(url)
    upgrade(place)
    with psycopg.connect(url) as connection:
        connection.execute("DROP TABLE procrastinate_jobs, procrastinate_workers, procrastinate_events CASCADE")
    async with await Ledger.open(url) as ledger:
        run = await loaded(ledger, orders(30))
        with pytest.raises(LedgerError, match="gotsurge db upgrade"):
            await ledger.segments.put_up(
                run, brakes={}, enqueue=lambda db, waiting: enqueue(db, "simulator", waiting), size=1
            )
        upgrade(place)
        must_be_there(place)
        assert await ledger.segments.put_up(
            run, brakes={}, enqueue=lambda db, waiting: enqueue(db, "simulator", waiting), size=1
        )


def test_an_error_of_the_queue_is_described_on_one_line() -> None:
    """With what the database said, and what to do where its tables are gone; never as a text of the library."""
    error = ConnectorException()
    error.__cause__ = psycopg.errors.UndefinedTable('relation "procrastinate_jobs" does not exist\nLINE 1: …')
    assert describe(error).startswith(
        'relation "procrastinate_jobs" does not exist; the queue does not exist: create it'
    )
    error.__cause__ = psycopg.OperationalError("the connection is lost")
    assert describe(error) == "the connection is lost"


async def test_tables_that_others_made_are_theirs(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever uses the same library in the same database brings it up to date himself."""
    with psycopg.connect(url) as connection:
        connection.execute(SchemaManager.get_schema())
    (tmp_path / "98.00.00_01_pre_more.sql").write_text("CREATE TABLE more (n int)")
    monkeypatch.setattr(SchemaManager, "get_migrations_path", staticmethod(lambda: str(tmp_path)))
    upgrade(place_of(url))
    assert asked(url, "SELECT to_regclass('more') IS NULL") == [(True,)]


async def test_a_database_that_cannot_be_used_is_reported(url: str) -> None:
    """In a sentence, without the password."""
    where = place_of(url.replace("gotsurge@", "nobody:secret@"))
    with pytest.raises(LedgerUnusable, match="cannot be used") as refused:
        upgrade(where)
    assert "secret" not in str(refused.value)


async def test_a_missing_queue_is_reported_before_any_job_is_added(url: str) -> None:
    """A push and a worker say what to do; the run is as it was, and is put up when the queue is there."""
    with pytest.raises(LedgerError, match="gotsurge db upgrade"):
        must_be_there(place_of(url))

    def wake(db: Database, waiting: Sequence[Waiting]) -> None:
        enqueue(db, "simulator", waiting)

    async with await Ledger.open(url) as ledger:
        run = await loaded(ledger, orders(30))
        with pytest.raises(LedgerError, match="has no queue for workers yet: create it with `gotsurge db upgrade"):
            await ledger.segments.put_up(run, brakes={}, enqueue=wake, size=1)
        assert (await ledger.run(run.id)).state is RunState.READY
        upgrade(place_of(url))
        assert await ledger.segments.put_up(run, brakes={}, enqueue=wake, size=1) == 2
        jobs = "SELECT queue_name, args->>'run_id', (args->>'number')::int FROM procrastinate_jobs ORDER BY 3"
        assert asked(url, jobs) == [("gotsurge-simulator", run.id, 0), ("gotsurge-simulator", run.id, 1)]
        # Put up anew, the jobs of before wait still, and are no obstacle.
        assert await ledger.segments.put_up(await ledger.hold(run.id), brakes={}, enqueue=wake, size=1) == 2
