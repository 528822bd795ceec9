"""How a ledger of version 1 or 2, with a row for each order, is brought over to chunks: whole, or not at all."""

import json
import logging
import multiprocessing
import os
import re
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.bulk.ledger import (
    LIVE,
    Ledger,
    LedgerError,
    LedgerOlder,
    LedgerUnusable,
    Mode,
    OrderState,
    RunHeld,
    RunState,
)
from gotsurge_async.bulk.ledger.locks import FileRunLocks
from gotsurge_async.bulk.ledger.sql import migrate, schema, sqlite, store
from gotsurge_async.bulk.ledger.sql.chunks import number_of, number_of_print
from gotsurge_async.bulk.ledger.upkeep import counter
from gotsurge_async.bulk.ledger.upkeep.counter import Identity
from gotsurge_async.bulk.ledger.upkeep.older_copy import accept_older
from gotsurge_async.database import Kind, Sqlite, statements
from gotsurge_async.simulator import Simulator
from tests.bulk.ledger.kit import NO_DATABASE, TurnedClock
from tests.support.commands import Desk, Runner
from tests.support.running import running_simulator

OLD = """
CREATE TABLE ledger_meta (name TEXT NOT NULL, value BIGINT NOT NULL, PRIMARY KEY (name));
CREATE TABLE runs (
  id TEXT NOT NULL, created_at BIGINT NOT NULL, state TEXT NOT NULL, environment TEXT NOT NULL, mode TEXT NOT NULL,
  source TEXT NOT NULL, source_sha256 TEXT, columns JSON, options JSON, holder_pid BIGINT, holder_host TEXT,
  holder_since BIGINT, finished_at BIGINT, epoch BIGINT DEFAULT '0' NOT NULL, PRIMARY KEY (id));
CREATE TABLE orders (
  id INTEGER NOT NULL, run_id TEXT NOT NULL, line BIGINT NOT NULL, environment TEXT NOT NULL, "key" TEXT NOT NULL,
  state TEXT NOT NULL, live SMALLINT NOT NULL, task_id TEXT, status TEXT, error TEXT, fingerprint BLOB,
  claimed_at BIGINT, updated_at BIGINT NOT NULL, epoch BIGINT DEFAULT '0' NOT NULL,
  lost_drafts SMALLINT DEFAULT '0' NOT NULL, PRIMARY KEY (id),
  CONSTRAINT live_follows_state CHECK (live = CASE WHEN state IN ('broadcasting', 'created', 'drafted', 'drafting',
    'in_doubt', 'pending', 'sending') THEN 1 ELSE 0 END),
  FOREIGN KEY(run_id) REFERENCES runs (id));
CREATE UNIQUE INDEX orders_live_key ON orders (environment, "key") WHERE live = 1;
CREATE INDEX orders_live_fingerprint ON orders (fingerprint) WHERE live = 1 AND fingerprint IS NOT NULL;
CREATE INDEX orders_of_run ON orders (run_id, line, id);
CREATE UNIQUE INDEX orders_live_task ON orders (environment, task_id) WHERE live = 1 AND task_id IS NOT NULL;
CREATE TABLE unused_drafts (
  task_id TEXT NOT NULL, run_id TEXT NOT NULL, "key" TEXT NOT NULL, noted_at BIGINT NOT NULL, cancelled_at BIGINT,
  PRIMARY KEY (task_id), FOREIGN KEY(run_id) REFERENCES runs (id));
CREATE INDEX unused_drafts_of_run ON unused_drafts (run_id);
CREATE TABLE payloads (
  order_id INTEGER NOT NULL, payload BLOB NOT NULL, source_row BLOB, PRIMARY KEY (order_id),
  FOREIGN KEY(order_id) REFERENCES orders (id) ON DELETE CASCADE);
CREATE TABLE decisions (
  id INTEGER NOT NULL, run_id TEXT NOT NULL, order_id INTEGER NOT NULL, "key" TEXT NOT NULL, created SMALLINT NOT NULL,
  task_id TEXT, decided_by TEXT NOT NULL, decided_at BIGINT NOT NULL, PRIMARY KEY (id),
  FOREIGN KEY(run_id) REFERENCES runs (id), FOREIGN KEY(order_id) REFERENCES orders (id));
CREATE INDEX decisions_of_run ON decisions (run_id, id);
INSERT INTO ledger_meta VALUES ('schema_version', 2), ('last_order_id', 99), ('counter', 7), ('ledger_id', 4711),
  ('checked_at', 1), ('accepted_older_at', 5);
"""
"""The tables of version 2, as its programs made them."""

FIRST = """
DROP INDEX orders_live_task;
ALTER TABLE runs DROP COLUMN epoch;
ALTER TABLE orders DROP COLUMN epoch;
ALTER TABLE orders DROP COLUMN lost_drafts;
DROP TABLE unused_drafts;
DELETE FROM ledger_meta WHERE name NOT IN ('last_order_id', 'schema_version');
UPDATE ledger_meta SET value = 1 WHERE name = 'schema_version';
"""
"""What makes version 1 of it."""

GOLDEN = Path(__file__).with_name("version_2")
"""A ledger that programs of version 2 made by pushes to a simulator, as SQL, and what they said of it."""


def old_ledger(path: Path) -> sqlite3.Connection:
    """A ledger of version 2 without runs."""
    old = sqlite3.connect(path, isolation_level=None)
    old.executescript(OLD)
    old.execute("PRAGMA journal_mode = WAL")
    return old


def put_run(old: sqlite3.Connection, run_id: str, **values: Any) -> None:
    """Put a run in."""
    row = {
        "id": run_id,
        "created_at": 1_000_000,
        "state": "done",
        "environment": "simulator",
        "mode": "direct",
        "source": "orders.csv",
    } | values
    names = ", ".join(row)
    old.execute(f"INSERT INTO runs ({names}) VALUES ({', '.join('?' * len(row))})", list(row.values()))  # noqa: S608


def put(old: sqlite3.Connection, number: int, run_id: str, state: str, **values: Any) -> None:
    """Put an order in, whose key and line are those of its number unless they are given."""
    live = int(state in {each.value for each in LIVE})
    row = {
        "id": number,
        "run_id": run_id,
        "line": number,
        "environment": "simulator",
        "key": f"K-{number}",
        "state": state,
        "live": live,
        "updated_at": 2_000_000 + number,
    } | values
    names = ", ".join(f'"{name}"' for name in row)
    old.execute(f"INSERT INTO orders ({names}) VALUES ({', '.join('?' * len(row))})", list(row.values()))  # noqa: S608
    source = None if number % 2 else b"row \xe9 %d" % number
    old.execute("INSERT INTO payloads VALUES (?, ?, ?)", (number, b'{"n":%d}\x00\xff' % number, source))


def copies(path: Path) -> list[Path]:
    """What was put beside a ledger when it was brought over."""
    return sorted(path.parent.glob(f"{path.name}.version-*"))


def text_of(path: Path) -> list[str]:
    """All that a database holds."""
    with closing(sqlite3.connect(path)) as database:
        return list(database.iterdump())


async def opened(path: Path) -> None:
    """Open a ledger for writing, and close it."""
    await (await Ledger.open(path)).close()


# --- what is brought over ---------------------------------------------------------------------------------------------


async def test_every_order_is_what_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """State, task, status, error, text, row and line of every order, in every state, are those of before."""
    monkeypatch.setattr(store, "look_over", lambda *_: False)  # no push would bring orders to these states together
    states = [state for state in OrderState if state is not OrderState.LOADING]
    with closing(old_ledger(path)) as old:
        put_run(old, "r1", mode="two-phase")
        for number in range(1, 61):
            state = states[number % len(states)].value
            values = {
                "task_id": None if number % 3 else f"task-{number}",
                "status": (None, "accepted", "broadcasting")[number % 5 % 3],
                "error": None if number % 4 else f"error {number}",
                "fingerprint": None if number % 2 else bytes([number]) * 16,
                "claimed_at": None if number % 7 else number,
                "lost_drafts": number % 6 // 5,
            }
            put(old, number, "r1", state, line=100 - number, **values)
        columns = "id, line, key, state, task_id, status, error, payload, source_row, lost_drafts, fingerprint"
        join = f"SELECT {columns} FROM orders JOIN payloads ON order_id = id ORDER BY line"  # noqa: S608
        before = [row[1:-2] for row in old.execute(join)]
        extra = {row[2]: row[-2:] for row in old.execute(join)}
    async with await Ledger.open(path) as ledger:
        rows = [row async for row in ledger.rows("r1")]
    after = [
        (each.line, each.key, each.state.value, each.task_id, each.status, each.error, each.payload, each.source_row)
        for each in rows
    ]
    assert after == before
    with closing(sqlite3.connect(path)) as new:
        bodies = dict(new.execute("SELECT chunk, meta FROM bodies"))
        notes = {
            number_of(chunk, place): lost
            for chunk, place, lost in new.execute("SELECT chunk, place, lost_drafts FROM notes")
        }
        for chunk, meta in bodies.items():
            for place, (_, key, _, _, fingerprint) in enumerate(json.loads(meta)):
                lost, known = extra[key]
                assert (notes.get(number_of(chunk, place), 0), fingerprint) == (lost, number_of_print(known))
        times = new.execute(
            "SELECT id, claimed_at, updated_at, epoch, length(states) FROM chunks ORDER BY id"
        ).fetchall()
    # By line, so the last numbers first; of a chunk the latest claim and the latest change.
    assert times == [(1, 56, 2_000_060, 0, 20), (2, 35, 2_000_040, 0, 20), (3, 14, 2_000_020, 0, 20)]


async def test_runs_and_what_the_ledger_says_of_itself_are_kept(path: Path) -> None:
    """Every column of a run, the order of the runs, id and counter; what nobody needs any more is gone."""
    with closing(old_ledger(path)) as old:
        put_run(
            old,
            "later-name",
            created_at=5,
            state="stopped",
            environment="production",
            mode="two-phase",
            source="a.csv",
            source_sha256="ab",
            columns='["a", "b"]',
            options='{"batch_size": 5, "out": "x"}',
            holder_pid=1,
            holder_host="h",
            holder_since=6,
            finished_at=7,
            epoch=9,
        )
        put_run(old, "early-name", created_at=8)
        columns = ", ".join(row[1] for row in old.execute("PRAGMA table_info(runs)"))
        ask = f"SELECT {columns} FROM runs ORDER BY rowid"  # noqa: S608
        before = old.execute(ask).fetchall()
        for number in range(1, 8):
            put(old, number, "later-name", "pending")
    async with await Ledger.open(path) as ledger:
        identity = await ledger.identity()
        assert [run.id for run in await ledger.runs()] == ["early-name", "later-name"]
    assert identity is not None
    assert (identity.id, identity.counter) == (4711, 7)
    with closing(sqlite3.connect(path)) as new:
        assert new.execute(ask.replace("rowid", "number")).fetchall() == before
        meta = dict(new.execute("SELECT name, value FROM ledger_meta"))
        # The chunks have the size of the run's calls.
        assert new.execute("SELECT states FROM chunks ORDER BY id").fetchall() == [("ppppp",), ("pp",)]
    assert meta.pop("checked_at", 2) != 1
    assert meta == {"schema_version": schema.VERSION, "ledger_id": 4711, "accepted_older_at": 5, "last_chunk": 2}


async def test_a_key_leads_to_the_order_that_has_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The live order of a key has it; else the latest one that had it, and not one that only counted on another."""
    monkeypatch.setattr(store, "look_over", lambda *_: False)  # no push would bring orders to these states together
    with closing(old_ledger(path)) as old:
        for run_id in ("r1", "r2", "r3"):
            put_run(old, run_id)
        put(old, 1, "r1", "created", key="LIVE")
        put(old, 11, "r2", "already_pushed", key="LIVE")
        put(old, 2, "r1", "rejected", key="FREE")
        put(old, 12, "r2", "cancelled", key="FREE")
        put(old, 3, "r1", "cancelled", key="COUNTED ON")
        put(old, 13, "r2", "changed", key="COUNTED ON")
        put(old, 14, "r2", "rejected", key="AGAIN")
        put(old, 21, "r3", "pending", key="AGAIN")
        put(old, 22, "r3", "already_pushed", key="ALONE")
        put_run(old, "r4", environment="production")
        put(old, 31, "r4", "created", key="LIVE", environment="production")
    await opened(path)
    with closing(sqlite3.connect(path)) as new:
        found = new.execute(
            "SELECT keys.environment, keys.key, json_extract(meta, '$[' || place || '][0]') FROM keys "
            "JOIN bodies ON bodies.chunk = keys.chunk ORDER BY 3"
        ).fetchall()
    assert [(key, line) for _, key, line in found] == [
        ("LIVE", 1),
        ("COUNTED ON", 3),
        ("FREE", 12),
        ("AGAIN", 21),
        ("ALONE", 22),
        ("LIVE", 31),
    ]


async def test_words_and_unused_drafts_are_kept(path: Path) -> None:
    """Operators' words, several about one order too, in their order; and unused drafts, cancelled or not."""
    with closing(old_ledger(path)) as old:
        put_run(old, "r1")
        for number in range(1, 31):
            put(old, number, "r1", "created")
        words = [(3, "r1", 25, "K-25", 0, None, "Mei", 10), (5, "r1", 25, "K-25", 1, "t", "Ann", 11)]
        words.append((9, "r1", 2, "K-2", 1, "u", "Mei", 12))
        old.executemany("INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", words)
        old.execute("INSERT INTO unused_drafts VALUES ('d1', 'r1', 'K-1', 3, NULL), ('d2', 'r1', 'K-2', 4, 5)")
    async with await Ledger.open(path) as ledger:
        said = [(word.key, word.created, word.task_id, word.by) for word in await ledger.decisions("r1")]
        unused = [(draft.key, draft.task_id, draft.cancelled) for draft in await ledger.unused_drafts("r1")]
    assert said == [("K-25", False, None, "Mei"), ("K-25", True, "t", "Ann"), ("K-2", True, "u", "Mei")]
    assert unused == [("K-1", "d1", False), ("K-2", "d2", True)]
    with closing(sqlite3.connect(path)) as new:
        places = new.execute("SELECT id, run, chunk, place FROM decisions ORDER BY id").fetchall()
    assert places == [(3, 1, 2, 4), (5, 1, 2, 4), (9, 1, 1, 1)]


async def test_a_run_that_was_being_loaded_is_that_still(path: Path, clock: TurnedClock) -> None:
    """It is removed by the next run like any other whose process is gone; keys that others have stay theirs."""
    with closing(old_ledger(path)) as old:
        put_run(old, "r1")
        put(old, 1, "r1", "created", key="A")
        put_run(old, "r2", state="loading")
        put(old, 2, "r2", "loading", key="A")
        put(old, 3, "r2", "loading", key="B")
        put(old, 4, "r2", "loading", key="B")
    async with await Ledger.open(path) as ledger:
        assert (await ledger.run("r2")).state is RunState.LOADING
        assert (await ledger.counts("r2")).loading == 3
        run = await ledger.begin(environment="simulator", mode=Mode.DIRECT, source="next.csv")
        await run.close()
        assert [each.id for each in await ledger.runs()] == [run.id, "r1"]
    with closing(sqlite3.connect(path)) as new:
        assert new.execute("SELECT key FROM keys").fetchall() == [("A",)]
        assert new.execute("SELECT * FROM contested").fetchall() == []


async def test_what_was_being_loaded_is_in_doubt_where_a_copy_is_gone_on_with(path: Path) -> None:
    """An older copy of an old ledger is brought over only when it is accepted, with what it was loading."""
    with closing(old_ledger(path)) as old:
        put_run(old, "r1", state="loading")
        put(old, 1, "r1", "loading")
    path.with_name(f"{path.name}.counter").write_bytes(counter._format(Identity(4711, 8)))
    with pytest.raises(LedgerOlder):
        await opened(path)
    assert not copies(path)
    assert (await accept_older(path)).in_doubt == 1


async def test_version_1_gets_first_what_version_2_brought(path: Path) -> None:
    """Epochs, no lost drafts, an id; of two live orders with one task the later one is in doubt, and loses it."""
    with closing(old_ledger(path)) as old:
        put_run(old, "r1")
        for number, (state, task) in enumerate(
            [("rejected", "t"), ("created", "t"), ("created", "other"), ("created", None)], 1
        ):
            put(old, number, "r1", state, task_id=task)
        old.executescript(FIRST)
        put_first = "INSERT INTO orders (id, run_id, line, environment, key, state, live, task_id, updated_at) VALUES "
        old.execute(f"{put_first} (9, 'r1', 9, 'simulator', 'K-9', 'created', 1, 't', 1)")
        old.execute("INSERT INTO payloads VALUES (9, x'7b7d', NULL)")
    async with await Ledger.open(path) as ledger:
        rows = [(row.key, row.state.word, row.task_id, row.error) async for row in ledger.rows("r1")]
        assert await ledger.identity() is not None
        held = await ledger.hold("r1")
        await held.close()
    assert rows == [
        ("K-1", "refused", "t", None),
        ("K-2", "created", "t", None),
        ("K-3", "created", "other", None),
        ("K-4", "created", None, None),
        ("K-9", "in_doubt", None, "its task is recorded for another order"),
    ]
    assert [copy.name for copy in copies(path)] == [f"{path.name}.version-1"]


async def test_the_tables_are_those_of_a_new_ledger(path: Path, tmp_path: Path) -> None:
    """Nothing of the old tables is left, and nothing is missing."""
    with closing(old_ledger(path)) as old:
        put_run(old, "r1")
        put(old, 1, "r1", "pending")
    new = tmp_path / "new.db"
    await opened(path)
    await opened(new)
    schemas = []
    for each in (path, new):
        with closing(sqlite3.connect(each)) as database:
            schemas.append(sorted(database.execute("SELECT type, name, sql FROM sqlite_master")))
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert schemas[0] == schemas[1]
    with closing(sqlite3.connect(path)) as database:
        # Of a program of version 2 that has it open still, and has lost its lock.
        for write in ("INSERT INTO orders (id) VALUES (1)", "UPDATE orders SET state = 'sending' WHERE id = 1"):
            with pytest.raises(sqlite3.OperationalError, match=r"no column|no such column"):
                database.execute(write)
    # What programs of version 2 ask before they say that a ledger is of a newer version.
    tables = {name for kind, name, _ in schemas[0] if kind == "table"}
    assert {"ledger_meta", "runs", "orders", "payloads", "decisions"} <= tables


# --- the copy ---------------------------------------------------------------------------------------------------------


async def test_the_old_ledger_is_kept_beside_it(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """For its owner alone, as it was; told once; no file that is there is replaced, and no second copy made."""
    with closing(old_ledger(path)) as old:
        put_run(old, "r1")
        put(old, 1, "r1", "created")
    before = text_of(path)
    other = path.with_name(f"{path.name}.version-2")
    other.write_text("mine")
    with caplog.at_level(logging.WARNING, "gotsurge_async"):
        await opened(path)
        await opened(path)
    kept = path.with_name(f"{path.name}.version-2.2")
    assert copies(path) == [other, kept]
    assert other.read_text() == "mine"
    assert text_of(kept) == before
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    (told,) = caplog.messages
    assert "was of version 2" in told
    assert str(kept) in told


async def test_the_copy_is_durable_before_anything_changes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is forced to the disk, under its name, in its folder, and only then the first table is touched."""
    old_ledger(path).close()
    seen: list[str] = []
    real_sync, real_script, real_rename = os.fsync, Sqlite.script, Path.replace

    def sync(file: int) -> None:
        seen.append("folder" if stat.S_ISDIR(os.fstat(file).st_mode) else "copy")
        real_sync(file)

    def script(db: Sqlite, name: str) -> None:
        seen.append("change")
        real_script(db, name)

    def rename(self: Path, target: Path) -> Path:
        seen.append("name")
        return real_rename(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", rename)
    monkeypatch.setattr(Sqlite, "script", script)
    await opened(path)
    assert seen[:4] == ["copy", "name", "folder", "change"]


# --- who is left alone ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("look", [False, True])
async def test_a_ledger_in_use_is_left_alone(path: Path, look: bool) -> None:
    """While a living process has a run of it, it is refused by that one's name, and nothing is changed."""
    with closing(old_ledger(path)) as old:
        put_run(old, "r1", state="sending", holder_pid=17, holder_host="quay", holder_since=1_000_000)
        put(old, 1, "r1", "sending")
    before = text_of(path)
    lock = FileRunLocks(path.resolve()).take(NO_DATABASE, "r1")
    assert lock is not None
    try:
        with pytest.raises(RunHeld, match=r"run r1 is held by process 17 on quay since 1970-01-01 00:00:01 UTC"):
            await (Ledger.look(path) if look else Ledger.open(path))
        assert text_of(path) == before
        assert not copies(path)
    finally:
        lock.release()
    await (await (Ledger.look(path) if look else Ledger.open(path))).close()
    assert text_of(path) != before


async def test_a_ledger_that_is_looked_at_is_brought_over(path: Path) -> None:
    """One that is only looked at is brought over too, once."""
    with closing(old_ledger(path)) as old:
        put_run(old, "r1")
        put(old, 1, "r1", "created")
    for _ in range(2):
        async with await Ledger.look(path) as ledger:
            assert (await ledger.counts("r1")).created == 1
    assert len(copies(path)) == 1


async def test_one_that_cannot_be_written_is_not_looked_at(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older ledger that is not ours to write is refused, with what to do."""
    old_ledger(path).close()
    monkeypatch.setattr(sqlite, "is_writable", lambda _: False)
    with pytest.raises(LedgerUnusable, match="is of an older version, and cannot be brought up to date"):
        await Ledger.look(path)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE orders SET line = 'x' WHERE id = 2", r"table orders, order 2"),
        ("UPDATE orders SET key = x'00ff' WHERE id = 2", r"table orders, order 2"),
        ("PRAGMA ignore_check_constraints = 1; UPDATE orders SET state = 'gone', live = 0 WHERE id = 2", "order 2"),
        ("UPDATE orders SET state = 'loading', live = 0 WHERE id = 2", "order 2"),
        ("DELETE FROM payloads WHERE order_id = 2", "table orders, all rows: of 3 only 2 belong"),
        ("UPDATE orders SET run_id = 'no' WHERE id = 2", "table orders, all rows: of 3 only 2 belong"),
        ("UPDATE decisions SET order_id = 77", "table decisions, all rows: of 1 only 0 belong"),
        ("UPDATE unused_drafts SET run_id = 'no'", "table unused_drafts, all rows: of 1 only 0 belong"),
        ("UPDATE runs SET options = '{'", "malformed JSON"),
        ("DROP TABLE payloads", "no such table"),
    ],
)
async def test_a_damaged_ledger_is_not_brought_over(path: Path, damage: str, told: str) -> None:
    """What cannot be brought over as it is is told, and the old ledger stays as it was."""
    with closing(old_ledger(path)) as old:
        put_run(old, "r1")
        for number in (1, 2, 3):
            put(old, number, "r1", "created")
        old.execute("INSERT INTO decisions VALUES (1, 'r1', 1, 'K-1', 1, NULL, 'Mei', 10)")
        old.execute("INSERT INTO unused_drafts VALUES ('d1', 'r1', 'K-1', 3, NULL)")
        old.executescript(damage)
    before = text_of(path)
    with pytest.raises(LedgerUnusable, match=told) as caught:
        await opened(path)
    assert "is damaged" in str(caught.value)
    assert text_of(path) == before
    assert not copies(path)


# --- every point at which it may end ----------------------------------------------------------------------------------


def small(path: Path) -> None:
    """An old ledger that has something of everything."""
    with closing(old_ledger(path)) as old:
        put_run(old, "r1")
        put_run(old, "r2", state="loading")
        for number in range(1, 26):
            put(old, number, "r1", "created", task_id=f"t{number}", status="accepted" if number % 20 else None)
        put(old, 50, "r2", "loading")
        old.execute("INSERT INTO decisions VALUES (1, 'r1', 1, 'K-1', 1, NULL, 'Mei', 10)")
        old.execute("INSERT INTO unused_drafts VALUES ('d1', 'r1', 'K-1', 3, NULL)")


def connection(path: Path, before_each: Callable[[str], None]) -> Sqlite:
    """The writer's connection, which calls somebody before each statement."""
    db = sqlite.writing(path, statements(schema.TEXT, Kind.SQLITE))

    class Driver:
        """The driver."""

        def execute(self, text: str, *values: Any) -> Any:
            before_each(text)
            return self.real.execute(text, *values)

        def executemany(self, text: str, rows: Any) -> Any:
            before_each(text)
            return self.real.executemany(text, rows)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

        real = db.driver

    db.driver = Driver()
    return db


def at(step: int, do: Callable[[], None]) -> Callable[[str], None]:
    """What does something before a statement of some number."""
    left = [step]

    def before(_: str) -> None:
        left[0] -= 1
        if left[0] == -1:
            do()

    return before


def steps_of(path: Path) -> int:
    """How many statements it takes to bring a ledger over."""
    seen: list[str] = []
    with closing(connection(path, seen.append)) as db:
        migrate.bring_over(db, path, FileRunLocks(path), None)
    return len(seen)


def fail() -> None:
    """Fail as a full disk does."""
    error = sqlite3.OperationalError("database or disk is full")
    raise error


def end() -> None:
    """End without a word."""
    os._exit(9)


def die_at(path: Path, step: int) -> None:
    """Bring a ledger over in a process that ends before some statement."""
    migrate.bring_over(connection(path, at(step, end)), path, FileRunLocks(path), None)
    end()


async def test_an_error_at_any_statement_leaves_the_old_ledger(path: Path, tmp_path: Path) -> None:
    """Whatever fails, the ledger is as it was, no copy of it is left over, and it is brought over the next time."""
    small(path)
    before = text_of(path)
    scratch = tmp_path / "scratch.db"
    shutil.copy(path, scratch)
    steps = steps_of(scratch)
    for step in range(steps):
        db = connection(path, at(step, fail))
        with closing(db.driver.real), pytest.raises(sqlite3.OperationalError):
            migrate.bring_over(db, path, FileRunLocks(path), None)
        assert text_of(path) == before
        # The commit is the one write of which nobody knows whether it came to pass.
        assert len(copies(path)) == (step == steps - 1)
    await opened(path)
    assert text_of(path) != before


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
async def test_a_crash_at_any_statement_leaves_the_old_ledger_or_the_new_one(tmp_path: Path, part: int) -> None:
    """A process that ends without a word before any statement leaves one of both, whole, and it goes on from there."""
    source, scratch = tmp_path / "source.db", tmp_path / "scratch.db"
    small(source)
    before = text_of(source)
    shutil.copy(source, scratch)
    steps = steps_of(scratch)
    after = text_of(scratch)
    fork = multiprocessing.get_context("fork")
    for step in range(part, steps + 1, 4):
        path = tmp_path / f"{step}.db"
        shutil.copy(source, path)
        process = fork.Process(target=die_at, args=(path, step))
        process.start()
        process.join()
        assert process.exitcode == 9
        assert text_of(path) == (before if step < steps else after)
        for copy in copies(path):
            assert text_of(copy) == before
        await opened(path)
        async with await Ledger.look(path) as ledger:
            assert (await ledger.counts("r1")).created == 25
        assert all(text_of(copy) == before for copy in copies(path))


@pytest.mark.parametrize("where", ["os.fsync", "pathlib.Path.replace", "os.open"])
async def test_a_crash_while_the_copy_is_made_leaves_the_old_ledger(path: Path, where: str) -> None:
    """What a process that ended there left of its copy is removed by the next one, which makes its own."""
    small(path)
    before = text_of(path)
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=die_in, args=(path, where))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert text_of(path) == before
    await opened(path)
    (copy,) = copies(path)
    assert text_of(copy) == before


def die_in(path: Path, where: str) -> None:
    """Bring a ledger over in a process that ends in the making of the copy."""
    db = sqlite.writing(path, statements(schema.TEXT, Kind.SQLITE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, lambda *_: end())
        migrate.bring_over(db, path, FileRunLocks(path), None)


@pytest.mark.parametrize("pages", [0, 1, 3, 10, 15])
async def test_a_full_disk_leaves_the_old_ledger(path: Path, pages: int) -> None:
    """Where the new tables find no room, it is told, and the old ledger is as it was."""
    small(path)
    before = text_of(path)
    db = sqlite.writing(path, statements(schema.TEXT, Kind.SQLITE))
    with closing(db):
        ((used,),) = db.driver.execute("PRAGMA page_count").fetchall()
        db.driver.execute(f"PRAGMA max_page_count = {used + pages}")
        with pytest.raises(sqlite3.OperationalError, match="full"):
            migrate.bring_over(db, path, FileRunLocks(path), None)
    assert text_of(path) == before
    assert not copies(path)
    await opened(path)


async def test_a_copy_that_cannot_be_written_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its copy a ledger is not touched; what was begun of the copy is removed."""
    small(path)
    before = text_of(path)

    def sync(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(LedgerUnusable, match="No space left"):
        await opened(path)
    assert text_of(path) == before
    assert not copies(path)


# --- later versions ---------------------------------------------------------------------------------------------------


async def test_numbered_files_make_newer_versions(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From version 3 on a file for each version is executed, in order, once."""
    await opened(path)
    newest = schema.VERSION + 2
    for number, name in ((newest - 1, "first"), (newest, "second")):
        text = f"-- name: table\nCREATE TABLE {name} (n {{big}});\nINSERT INTO {name} VALUES (1);\n"
        (tmp_path / f"{number:03}.sql").write_text(f"{text}-- name: more@postgresql\nSELECT nothing;\n")
    monkeypatch.setattr(schema, "MIGRATIONS", tmp_path)
    monkeypatch.setattr(schema, "VERSION", newest)
    await opened(path)
    await opened(path)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT * FROM first, second").fetchall() == [(1, 1)]
        assert ("schema_version", newest) in database.execute("SELECT name, value FROM ledger_meta").fetchall()


async def test_a_numbered_file_that_fails_changes_nothing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All versions that are missing are made in one transaction; when one fails, the ledger is as it was."""
    await opened(path)
    before = text_of(path)
    newest = schema.VERSION + 2
    (tmp_path / f"{newest - 1:03}.sql").write_text("-- name: table\nCREATE TABLE first (n INTEGER);\n")
    (tmp_path / f"{newest:03}.sql").write_text("-- name: fails\nSELECT nothing FROM nowhere;\n")
    monkeypatch.setattr(schema, "MIGRATIONS", tmp_path)
    monkeypatch.setattr(schema, "VERSION", newest)
    with pytest.raises(LedgerError):
        await opened(path)
    assert text_of(path) == before


# --- a ledger of real pushes ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served() -> Iterator[Simulator]:
    """A simulator for all of this module."""
    with running_simulator() as simulator:
        yield simulator


@pytest.fixture
def desk(tmp_path: Path, served: Simulator, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk with the ledger that was made by version 2, and a simulator that knows nothing of it."""
    served.reset()
    monkeypatch.setattr("random.Random.random", lambda _: 0.0)
    monkeypatch.setattr("gotsurge_async.bulk.send.two_phase.backoff", lambda *_: 0.0)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as old:
        text = (GOLDEN / "ledger.sql").read_text(encoding="utf-8")
        old.executescript(text.replace("/home/mei", str(tmp_path)).replace("http://simulator", base(served)))
        old.execute("PRAGMA journal_mode = WAL")
    return Desk(Runner(tmp_path), served, tmp_path)


def base(simulator: Simulator) -> str:
    """A simulator's address."""
    return simulator.api_base.partition("/api")[0]


SAID: dict[str, Any] = json.loads((GOLDEN / "said.json").read_text(encoding="utf-8"))


def plain(desk: Desk, said: Any) -> Any:
    """What was said, with the places of the golden one."""
    text = json.dumps(said, ensure_ascii=False)
    return json.loads(text.replace(str(desk.folder), "/home/mei").replace(base(desk.simulator), "http://simulator"))


def test_what_is_said_of_a_real_ledger_is_the_same(desk: Desk) -> None:
    """Runs, standing, summaries and result files are, word for word, those of the program that made it."""
    runs = desk.document(desk.on_ledger("runs", "--json"))
    assert [run["run"] for run in runs] == [run["run"] for run in SAID["said"]["runs"]]
    for run, then in zip(plain(desk, runs), SAID["said"]["runs"], strict=True):
        assert as_then(run, then) == as_then(then, then)
        known = SAID["said"][run["run"]]
        status = desk.document(desk.on_ledger("status", run["run"], "--json"))
        assert as_then(plain(desk, status), known["status"]) == as_then(known["status"], known["status"])
        out = desk.folder / "files" / run["run"]
        done = desk.on_ledger("results", run["run"], "--out", out, "--json")
        if run["state"] == "loading":  # of which nothing is known, and unprocessed was said
            assert done.exit_code == 2
            continue
        assert as_then(plain(desk, desk.document(done)), known["results"]) == as_then(
            known["results"], known["results"]
        )
        files = {each.name: each.read_text() for each in sorted(out.glob("*.csv"))}
        assert plain(desk, files) == known["files"]


def as_then(said: dict[str, Any], then: dict[str, Any]) -> dict[str, Any]:
    """What was said, without fields that came later, and what to do next: that depends on which files there are."""
    return {name: value for name, value in said.items() if name in then and name != "next"}


VOLATILE = re.compile(r"20\d{6}T\d{6}-\w{4}|[0-9a-f]{8}-0000-4000-8000-[0-9a-f]{12}|20\d\d-\d\d-\d\dT[\d:.]+Z")
"""What differs from one push to the next: names of runs, ids of tasks, times."""


def lasting(desk: Desk, said: Any) -> Any:
    """What was said, without what differs from one push to the next."""
    return json.loads(VOLATILE.sub("*", json.dumps(plain(desk, said), ensure_ascii=False)))


@pytest.mark.parametrize("what", list(SAID["follow"]))
def test_a_real_ledger_is_gone_on_with_as_before(desk: Desk, what: str) -> None:
    """To resume each run, and to push all files again, ends as with the program that made it, task by task."""
    known = SAID["follow"][what]
    if what.startswith("resume"):
        run_id = SAID["said"]["runs"][int(what.split()[1])]["run"]
        done = desk.call("resume", run_id, "--out", desk.folder / "out", "--json", "--quiet")
    elif what == "push again":
        done, _ = desk.push(*"ABCDEFGHJKO")
    else:
        done, _ = Desk(desk.run, desk.simulator, desk.folder, "platform").push(*"ALMNPQRSTUVWX")
    audit = desk.simulator.audit()
    assert (done.exit_code, audit["by_tracking_id"], audit["doubled"]) == (known["exit"], known["tasks"], {})
    if known["exit"] != 2:
        document, then = (lasting(desk, each) for each in (desk.document(done), known["document"]))
        for name in ("seconds", "orders_per_second", "files", "ledger_counter"):
            then.pop(name, None)
        assert as_then(document, then) == as_then(then, then)
