"""What is particular to PostgreSQL: what a server must promise, lost connections, and copies of databases."""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gotsurge_async.database import Database, Moved
from gotsurge_async.ledger import (
    Counts,
    Ledger,
    LedgerBusy,
    LedgerError,
    LedgerOlder,
    LedgerUnusable,
    OrderOutcome,
    OrderState,
    RunHeld,
    TaskCancelling,
)
from gotsurge_async.ledger.upkeep.older_copy import accept_older, refuse_newest
from tests.ledger.kit import TidyLedger, ask, begun, bring, ids, leases_end, loaded, order, orders, states, until
from tests.ledger.processes import heard, start
from tests.support.postgres import Server, server

WAITING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@contextmanager
def keeping(url: str, table: str) -> Iterator[None]:
    """Keep everybody from a table."""
    connection = psycopg.connect(url)
    try:
        connection.execute(f"LOCK TABLE {table}".encode())
        yield
    finally:
        connection.close()


# --- what a server must promise ---------------------------------------------------------------------------------------


async def test_a_server_that_may_forget_is_refused(url: str) -> None:
    """One that confirms before it has written is told by its setting, and nothing is made there."""
    ask(url, f"ALTER DATABASE {url.rpartition('/')[2]} SET synchronous_commit = off")
    with pytest.raises(LedgerUnusable, match=r"synchronous_commit = off.*lose confirmed writes.*change that setting"):
        await Ledger.open(url)
    assert ask(url, "SELECT FROM pg_tables WHERE schemaname = 'public'") == []


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
async def test_a_server_that_does_not_write_through_is_refused(postgres: Server, url: str, setting: str) -> None:
    """What it confirmed would be gone after a crash of its machine."""
    postgres.ask(f"ALTER SYSTEM SET {setting} = off")
    try:
        postgres.ask("SELECT pg_reload_conf()")
        await until(lambda: postgres.ask(f"SHOW {setting}") == [("off",)])
        with pytest.raises(LedgerUnusable, match=f"{setting} = off"):
            await Ledger.open(url)
    finally:
        postgres.ask(f"ALTER SYSTEM RESET {setting}")
        postgres.ask("SELECT pg_reload_conf()")
        await until(lambda: postgres.ask(f"SHOW {setting}") == [("on",)])


async def test_a_database_that_does_not_take_every_key_is_refused(postgres: Server, url: str) -> None:
    """Keys are text in any script, so its encoding must be UTF8."""
    latin = postgres.create(f"{url.rpartition('/')[2]}_latin", "ENCODING LATIN1 LOCALE 'C' TEMPLATE template0")
    with pytest.raises(LedgerUnusable, match="has the encoding LATIN1, but needs UTF8"):
        await Ledger.open(latin)


@pytest.mark.slow
async def test_a_standby_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that follows another is not written to; it may be looked at."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with server() as first:
        async with await Ledger.open(first.url) as ledger:
            await (await loaded(ledger, orders(3))).close()
        standby = first.standby()
        standby.start()
        try:
            with pytest.raises(LedgerUnusable, match="on a standby server: give the address of the primary"):
                await Ledger.open(standby.url)
            async with await Ledger.look(standby.url) as ledger:
                (info,) = await ledger.runs()
                assert await ledger.counts(info.id) == Counts(pending=3)
        finally:
            standby.stop()


async def test_other_tables_in_the_database_are_no_ledger(url: str) -> None:
    """A ledger is made beside whatever else there is, and not where a part of a ledger is left."""
    ask(url, "CREATE TABLE gotsurge_tokens (account TEXT)")
    async with await Ledger.open(url) as ledger:
        assert await ledger.runs() == []
    ask(url, "DROP TABLE ledger_meta")
    with pytest.raises(LedgerError, match="is a database, but not a ledger"):
        await Ledger.open(url)


async def test_who_may_only_read_looks(url: str) -> None:
    """A user without the right to write is told so, and may look."""
    async with await Ledger.open(url) as ledger:
        await (await loaded(ledger, orders(3))).close()
    name = url.rpartition("/")[2]
    ask(url, f"CREATE ROLE reader_{name} LOGIN")
    ask(url, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader_{name}")
    as_reader = url.replace("gotsurge@", f"reader_{name}@")
    with pytest.raises(LedgerUnusable, match="denies this user a necessary right"):
        await Ledger.open(as_reader)
    async with await Ledger.look(as_reader) as ledger:
        (info,) = await ledger.runs()
        assert await ledger.counts(info.id) == Counts(pending=3)


async def test_a_password_is_never_shown(url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither by a ledger, nor by the errors of one that cannot be reached, nor in a log or a file's name."""
    caplog.set_level(logging.DEBUG)
    with_password = url.replace("gotsurge@", "gotsurge:hush@") + "?application_name=hush"
    async with await Ledger.open(with_password) as ledger:
        shown = [ledger.path, repr(ledger.place), str(ledger.place), repr(ledger)]
    away = "postgresql://gotsurge:hush@127.0.0.1:1/x?connect_timeout=5"
    for where in (away, url.replace("gotsurge@", "nobody:hush@"), url.replace("gotsurge@", "gotsurge:hush@") + "_gone"):
        with pytest.raises(LedgerUnusable) as caught:
            await Ledger.open(where)
        shown += [str(caught.value), repr(caught.value), str(caught.value.__cause__)]
    assert "hush" not in "\n".join([*shown, caplog.text, *map(str, tmp_path.rglob("*"))])
    assert ledger.path == url


async def test_closing_leaves_no_connection(url: str) -> None:
    """After close the server knows of none."""
    async with await TidyLedger.open(url) as ledger:
        run = await loaded(ledger, orders(30))
        await asyncio.gather(*(run.counts() for _ in range(6)))
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    await until(lambda: ask(url, query) == [(1,)])  # ours


# --- connections that are lost ----------------------------------------------------------------------------------------


async def lost(url: str, lose: Callable[[], Any]) -> str:
    """Claim some orders while their table is kept, and lose the server meanwhile: all who wait are refused."""
    ledger = await Ledger.open(url)
    run = await loaded(ledger, orders(60))
    everything = await ids(run)
    with keeping(url, "chunks"):
        claims = [asyncio.ensure_future(run.claim(everything[at : at + 20])) for at in (0, 20, 40)]
        await until(lambda: ask(url, WAITING))
        claims.append(asyncio.ensure_future(run.claim(everything)))  # while the first ones are written
        await asyncio.to_thread(lose)
        told = await asyncio.gather(*claims, return_exceptions=True)
    assert [type(each) for each in told] == [LedgerUnusable] * 4
    with pytest.raises(LedgerUnusable):
        await run.claim(everything)
    await run.close()
    await ledger.close()
    assert {str(each) for each in told} == {str(told[0])}
    return str(told[0])


async def came_to_nothing(url: str) -> None:
    """What was refused was not written, and a new process goes on."""
    leases_end(url)
    async with await TidyLedger.open(url) as ledger:
        (info,) = await ledger.runs()
        run = await ledger.hold(info.id)
        assert await run.recover() == Counts(pending=60)
        assert len(await run.claim(await ids(run))) == 60


async def test_a_connection_that_is_lost_refuses_all_who_wait(url: str) -> None:
    """What was on its way is not written, nothing more is, and it is told what to do."""
    told = await lost(url, lambda: ask(url, WAITING.replace("pid", "pg_terminate_backend(pid)", 1)))
    assert "check that the server is running and reachable, then try again" in told
    await came_to_nothing(url)


@pytest.mark.slow
async def test_a_server_that_stops_refuses_all_who_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where the whole server is gone, and comes back."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with server() as stopping:
        told = await lost(stopping.url, stopping.stop)
        assert "check that the server is running and reachable, then try again" in told
        with pytest.raises(LedgerUnusable, match=r"refused.*check that the server is running"):
            await Ledger.open(stopping.url)
        stopping.start()
        await came_to_nothing(stopping.url)


FROZEN_IN_A_TRANSACTION = """
    import signal, threading
    from gotsurge_async.ledger.sql import marks
    run = await ledger.hold((await ledger.runs())[0].id)
    everything = await ids(run)
    say("frozen")
    marks.count = lambda db, slot: signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
    for _ in range(2):
        try:
            await run.claim(everything)
        except LedgerUnusable as error:
            say(error)
    os._exit(0)
"""


@pytest.mark.slow
async def test_a_frozen_process_loses_its_transaction(url: str) -> None:
    """What it had locked is free after a while; what it was writing is not written, and it is told when it wakes."""
    async with await TidyLedger.open(url) as ledger:
        run = await loaded(ledger, orders(20))
        await run.close()
        process = await start(url, FROZEN_IN_A_TRANSACTION, idle_seconds=1)
        assert await heard(process) == "frozen"
        status = Path(f"/proc/{process.pid}/status")
        await until(lambda: "State:\tT" in status.read_text())
        with pytest.raises(RunHeld):
            await ledger.hold(run.id)  # who wants it does not wait
        await asyncio.to_thread(leases_end, url)  # waits for the row
        run = await ledger.hold(run.id)
        assert await run.recover() == Counts(pending=20)
        assert len(await run.claim(await ids(run))) == 20
        process.send_signal(signal.SIGCONT)
        told = await heard(process)
        assert told.startswith("ledger postgresql://")
        assert "resume" in told
        assert "ledger postgresql://" in await heard(process)
        assert await process.wait() == 0
        assert set((await states(ledger, run)).values()) == {"sending"}


async def test_a_worker_stands_still_in_nothing_that_the_server_waits_for(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is claimed and recorded goes by statements, between which the server's limit holds: in a COPY none does."""

    def refused(*_: object) -> None:
        raise AssertionError("a process that is frozen in it keeps its rows for ten minutes")

    async with await TidyLedger.open(url) as ledger:
        run = await loaded(ledger, orders(40))
        monkeypatch.setattr(psycopg.Cursor, "copy", refused)
        everything = await ids(run)
        await run.claim(everything)
        await run.record([OrderOutcome(each, OrderState.CREATED, f"task-{each}") for each in everything])
        assert (await run.counts()).created == 40


# --- several writers --------------------------------------------------------------------------------------------------


async def test_writers_that_wait_in_a_circle_both_come_through(url: str) -> None:
    """The one that the server undoes is run again."""
    ask(url, f"ALTER DATABASE {url.rpartition('/')[2]} SET deadlock_timeout = '50ms'")
    one, other = await Ledger.open(url), await Ledger.open(url)
    came = [threading.Event(), threading.Event()]
    tries: list[int] = []

    def crossing(first: int) -> Callable[[Database], None]:
        def job(db: Database) -> None:
            tries.append(first)
            db.change("count", slot=first, n=1)
            came[first].set()
            assert came[1 - first].wait(60)
            db.change("count", slot=1 - first, n=1)

        return job

    async with one, other:
        await asyncio.gather(one.write(crossing(0)), other.write(crossing(1)))
        assert len(tries) > 2
        identity = await one.identity()
        assert identity is not None
        assert identity.counter == 4


async def test_who_never_comes_through_is_told(ledger: Ledger) -> None:
    """A write that others come in between of each time ends as busy, and the next one is tried."""

    def job(_: Database) -> None:
        raise Moved

    with pytest.raises(LedgerBusy, match="keep changing the same rows"):
        await ledger.write(job)
    await (await begun(ledger)).close()


async def test_marks_that_come_together_go_together(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen chunks are claimed, and recorded, in as many round trips as one; statements are prepared."""
    execute, statements = psycopg.Connection.execute, list[str]()

    def counted(connection: Any, query: Any, *words: Any, **options: Any) -> Any:
        statements.append(query)
        return execute(connection, query, *words, **options)

    async with await TidyLedger.open(url) as ledger:
        run = await loaded(ledger, orders(320))
        everything = await ids(run)
        parts = [everything[at : at + 20] for at in range(0, 320, 20)]
        monkeypatch.setattr(psycopg.Connection, "execute", counted)
        await asyncio.gather(*(run.claim(part) for part in parts))
        claiming = len(statements)
        created = [[OrderOutcome(each, OrderState.CREATED, f"task-{each}") for each in part] for part in parts]
        await asyncio.gather(*map(run.record, created))
        assert claiming <= 10
        assert len(statements) - claiming <= 10
        threshold = await ledger.write(lambda db: db.driver.prepare_threshold)
        assert threshold == 5


# --- copies -----------------------------------------------------------------------------------------------------------


async def put_back(postgres: Server, url: str) -> None:
    """Put an older copy in the place of a ledger: of three orders one is created there, and one waits."""
    name = url.rpartition("/")[2]
    async with await Ledger.open(url) as ledger:
        run = await loaded(ledger, [order(1)])
        await bring(run, OrderState.CREATED)
        await run.close()
        await (await loaded(ledger, [order(2)])).close()
    await until(lambda: ask(url, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()") == [(1,)])
    postgres.create(f"{name}_copy", f"TEMPLATE {name}")
    async with await TidyLedger.open(url) as ledger:
        run = await loaded(ledger, [order(2), order(3)])
        await bring(run, OrderState.CREATED)
    postgres.ask(f"DROP DATABASE {name} WITH (FORCE)")
    postgres.ask(f"ALTER DATABASE {name}_copy RENAME TO {name}")


async def test_an_older_copy_is_refused_and_gone_on_with(postgres: Server, url: str, tmp_path: Path) -> None:
    """The counter with the user's own data tells it; what may have been sent since is in doubt when it is accepted."""
    await put_back(postgres, url)
    with pytest.raises(LedgerOlder, match=r"its counter is 3, but .*\.counter records 5") as caught:
        await Ledger.open(url)
    assert str(tmp_path / "data") in str(caught.value)
    accepted = await accept_older(url)
    assert (accepted.in_doubt, accepted.counter) == (1, 6)
    async with await Ledger.open(url) as ledger:
        newest, oldest = [info.id for info in await ledger.runs()]
        assert (await ledger.counts(newest), await ledger.counts(oldest)) == (Counts(in_doubt=1), Counts(created=1))


async def test_a_ledger_that_is_gone_is_refused(postgres: Server, url: str) -> None:
    """An empty database where one was is told, until it is accepted that a new one begins."""
    async with await Ledger.open(url) as ledger:
        await (await loaded(ledger, orders(1))).close()
    name = url.rpartition("/")[2]
    postgres.ask(f"DROP DATABASE {name} WITH (FORCE)")
    postgres.create(name)
    with pytest.raises(LedgerOlder, match=r"is gone: .* shows that there was a ledger, with the counter 1"):
        await Ledger.open(url)
    await refuse_newest(url)
    assert ask(url, "SELECT FROM pg_tables WHERE schemaname = 'public'") == []
    assert (await accept_older(url)).in_doubt == 0
    async with await Ledger.open(url) as ledger:
        assert await ledger.runs() == []
        identity = await ledger.identity()
        assert identity is not None
        assert identity.counter > 1


# --- cancels of tasks that no order has -------------------------------------------------------------------------------


async def test_a_cancel_waits_for_the_answers_that_are_being_recorded(url: str) -> None:
    """No answer that was written before the note is overlooked, and nobody else waits meanwhile."""
    async with await TidyLedger.open(url) as ledger, await TidyLedger.open(url) as other:
        run = await loaded(ledger, orders(2))
        first, second = await run.claim(await ids(run))
        with psycopg.connect(url) as recording:
            recording.execute("UPDATE chunks SET updated_at = updated_at WHERE FALSE")  # it holds the lock of a writer
            until_ = ledger.now() + timedelta(minutes=10)
            cancel = asyncio.create_task(other.begin_cancel("simulator", ["task-1"], until=until_))
            noted = "SELECT task_id FROM unused_drafts"
            await until(lambda: ask(url, noted) == [("task-1",)])
            await run.record([OrderOutcome(first, OrderState.CREATED, "task-2")])
            with pytest.raises(TaskCancelling):
                await run.record([OrderOutcome(second, OrderState.CREATED, "task-1")])
            assert not cancel.done()
        assert await cancel == {}
