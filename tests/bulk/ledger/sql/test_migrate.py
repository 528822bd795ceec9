"""How a ledger of version 1 or 2, with a row for each order, is brought over to chunks: whole, or not at all."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gotsurge_async.bulk.ledger import (
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
from gotsurge_async.bulk.ledger.sql import schema, sqlite, store
from gotsurge_async.bulk.ledger.sql.chunks import number_of, number_of_print
from gotsurge_async.bulk.ledger.upkeep import counter
from gotsurge_async.bulk.ledger.upkeep.counter import Identity
from gotsurge_async.bulk.ledger.upkeep.older_copy import accept_older
from tests.bulk.ledger.kit import NO_DATABASE, TurnedClock
from tests.bulk.ledger.sql.old_ledgers import FIRST, copies, old_ledger, opened, put, put_run, text_of

# --- what is brought over ---------------------------------------------------------------------------------------------


async def test_every_order_is_what_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """State, task, status, error, text, row and line of every order, in every state, are those of before."""
    monkeypatch.setattr(store, "look_over", lambda *_: False)  # no push would bring orders to these states together
    newer = (OrderState.LOADING, OrderState.CANCELLING)  # no ledger of that version has these
    states = [state for state in OrderState if state not in newer]
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
