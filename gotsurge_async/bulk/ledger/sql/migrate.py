"""Bringing a ledger of version 1 or 2, which had a row for each order, over to the chunks of version 3.

All of it is one transaction, and before anything changes a copy of the ledger is put beside it. No other process writes
meanwhile, and one that reads sees the old ledger until all is done. A ledger that a living process pushes from is left
alone.
"""

import logging
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from gotsurge_async.api.endpoints import CHUNK
from gotsurge_async.bulk.ledger.errors import RunHeld, damaged
from gotsurge_async.bulk.ledger.locks import RunLocks
from gotsurge_async.bulk.ledger.sql.chunks import body_row, number_of_print
from gotsurge_async.bulk.ledger.sql.schema import VERSION, version_of
from gotsurge_async.bulk.ledger.sql.sqlite import BUSY_SECONDS, translated
from gotsurge_async.bulk.ledger.states import (
    LETTERS,
    LIVE,
    OWNED_ELSEWHERE,
    NewOrder,
    OrderState,
    RunState,
)
from gotsurge_async.bulk.ledger.upkeep.counter import LEDGER_ID, Identity, Keeper
from gotsurge_async.clock import from_microseconds
from gotsurge_async.database import Database, Row

log: logging.Logger = logging.getLogger(__name__)

NEW = 3
"""The first version that has chunks."""

_CALLS = 20
"""Chunks that are brought over at a time."""

_FENCE = """
ALTER TABLE runs ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;
ALTER TABLE orders ADD COLUMN lost_drafts SMALLINT NOT NULL DEFAULT 0;
CREATE TABLE unused_drafts (task_id TEXT, run_id TEXT, key TEXT, noted_at BIGINT, cancelled_at BIGINT);
UPDATE orders SET task_id = NULL, state = 'in_doubt', error = 'its task is recorded for another order' WHERE id IN (
  SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY environment, task_id ORDER BY id) AS nth FROM orders
    WHERE live = 1 AND task_id IS NOT NULL) WHERE nth > 1)
"""
"""What version 2 brought. What version 1 recorded for two orders is the first one's, if it is anybody's."""

_OLD_TABLES = ("payloads", "decisions", "unused_drafts", "orders", "runs", "ledger_meta")
_SET_ASIDE = f"""
DROP INDEX IF EXISTS unused_drafts_of_run;
DROP INDEX IF EXISTS decisions_of_run;
{"".join(f"ALTER TABLE {table} RENAME TO old_{table};" for table in _OLD_TABLES)}
CREATE INDEX old_decisions_of_order ON old_decisions (order_id);
CREATE TABLE moved (run INTEGER, environment TEXT, key TEXT, rank INTEGER, id INTEGER, chunk INTEGER, place INTEGER,
  fingerprint INTEGER)
"""
_BEFORE_ORDERS = """
INSERT INTO ledger_meta (name, value) SELECT name, value FROM old_ledger_meta
WHERE name NOT IN ('schema_version', 'last_order_id', 'counter', 'checked_at');
INSERT INTO counters (slot, n) SELECT 0, value FROM old_ledger_meta WHERE name = 'counter';
INSERT INTO runs (id, created_at, state, environment, mode, source, source_sha256, columns, options, holder_pid,
  holder_host, holder_since, finished_at, epoch)
SELECT id, created_at, state, environment, mode, source, source_sha256, columns, options, holder_pid,
  holder_host, holder_since, finished_at, epoch FROM old_runs ORDER BY rowid;
INSERT INTO unused_drafts (task_id, run, key, noted_at, cancelled_at)
SELECT task_id, number, key, noted_at, cancelled_at FROM old_unused_drafts JOIN runs ON runs.id = run_id
"""
_RUNS = "SELECT number, id, environment, state, json_extract(options, '$.batch_size') FROM runs ORDER BY number"
_ORDERS = """
SELECT id, line, key, state, task_id, status, error, fingerprint, claimed_at, updated_at, lost_drafts, payload,
  source_row, EXISTS (SELECT 1 FROM old_decisions WHERE order_id = old_orders.id)
FROM old_orders CROSS JOIN old_payloads ON old_payloads.order_id = old_orders.id WHERE run_id = ? ORDER BY line, id
"""
_CHUNKS = "INSERT INTO chunks (id, run, epoch, claimed_at, updated_at, states) VALUES (?, ?, 0, ?, ?, ?)"
_MOVED = "INSERT INTO moved VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_DECISIONS = """
INSERT INTO decisions (id, run, chunk, place, key, created, task_id, decided_by, decided_at)
SELECT id, ?, ?, ?, key, created, task_id, decided_by, decided_at FROM old_decisions WHERE order_id = ?
"""
# Sorted, so that the table of keys grows at its end. Of several orders of a key the first one here has it.
_AFTER_ORDERS = """
INSERT INTO keys (environment, key, chunk, place, fingerprint)
SELECT environment, key, chunk, place, fingerprint FROM moved WHERE true ORDER BY environment, key, rank, id DESC
ON CONFLICT (environment, key) DO NOTHING;
INSERT INTO contested (run, chunk, place, key)
SELECT moved.run, moved.chunk, moved.place, moved.key FROM moved JOIN runs ON runs.number = moved.run
JOIN keys ON keys.environment = moved.environment AND keys.key = moved.key
WHERE runs.state = 'loading' AND NOT (keys.chunk = moved.chunk AND keys.place = moved.place);
INSERT INTO ledger_meta (name, value) SELECT 'last_chunk', coalesce(max(id), 0) FROM chunks
"""
_COUNTS = """
SELECT 'runs', (SELECT count(*) FROM old_runs), (SELECT count(*) FROM runs) UNION ALL
SELECT 'orders', (SELECT count(*) FROM old_orders), (SELECT count(*) FROM moved) UNION ALL
SELECT 'decisions', (SELECT count(*) FROM old_decisions), (SELECT count(*) FROM decisions) UNION ALL
SELECT 'unused_drafts', (SELECT count(*) FROM old_unused_drafts), (SELECT count(*) FROM unused_drafts)
"""
_GONE = ";".join(f"DROP TABLE old_{table}" for table in _OLD_TABLES) + "; DROP TABLE moved"


class _Order(NamedTuple):
    """An order as the old tables have it."""

    id: int
    line: int
    key: str
    state: str
    task_id: str | None
    status: str | None
    error: str | None
    fingerprint: bytes | None
    claimed_at: int | None
    updated_at: int
    lost_drafts: int
    payload: bytes
    source_row: bytes | None
    decided: int


_KINDS: tuple[Any, ...] = tuple(_Order.__annotations__.values())
_OLD_LETTERS = {state.value: letter for state, letter in LETTERS.items()}
_IN_LOADING = {OrderState.LOADING.value: LETTERS[OrderState.PENDING]}
_RANKS = {state.value: 0 if state in LIVE else 2 if state in OWNED_ELSEWHERE else 1 for state in LETTERS}
_RANKS[OrderState.LOADING.value] = 3
"""Of several orders of a key, the one of the lowest rank has it: see `_AFTER_ORDERS`."""


def bring_over(db: Database, path: Path, locks: RunLocks, keeper: Keeper | None) -> None:
    """Bring a ledger over if it is of version 1 or 2; it is whole afterwards, or as it was.

    Args:
        db: the writer's connection, outside of any transaction.
        keeper: what it must not be an older copy of, if that is to be refused.

    Raises:
        RunHeld: a living process has a run of it.
        LedgerOlder: it is an older copy.
        LedgerUnusable: it is damaged.
    """
    if not _old_version(db, path):
        return
    db.begin()  # from here on no other process writes
    copy: Path | None = None
    try:
        version = _old_version(db, path)
        if version:
            if keeper is not None:
                keeper.refuse_older(_identity(db))
            _refuse_held(db, locks)
            copy = _copy(path.resolve(), version)
            _change(db, version)
    except BaseException:
        db.rollback()
        if copy is not None:
            copy.unlink(missing_ok=True)  # of a ledger that is as it was
        raise
    db.commit()
    if copy is not None:
        log.warning(
            "ledger %s was of version %d, and was brought over to version %d. As it was it is kept in %s, which may be "
            "deleted when all is well; older programs cannot use the ledger any more",
            path,
            version,
            VERSION,
            copy,
        )


def _old_version(db: Database, path: Path) -> int:
    """1 or 2, or 0 if it is of a later version, or no ledger yet."""
    tables = {name for (name,) in db.rows("tables")}
    version = version_of(db, str(path)) if "ledger_meta" in tables else NEW
    return version if version < NEW else 0


def _identity(db: Database) -> Identity | None:
    meta: dict[str, int] = dict(db.rows("meta"))
    return Identity(meta[LEDGER_ID], meta.get("counter", 0)) if LEDGER_ID in meta else None


def _refuse_held(db: Database, locks: RunLocks) -> None:
    for run_id, pid, host, since in _ask(db, "SELECT id, holder_pid, holder_host, holder_since FROM runs"):
        if locks.is_held(db, run_id):
            raise RunHeld(run_id, pid=pid, host=host, since=None if since is None else from_microseconds(since))


def _copy(path: Path, version: int) -> Path:
    """Copy the ledger as it is now into a file beside it, under a name that no other file has, durably."""
    unfinished = path.with_name(f"{path.name}.version-{version}.unfinished")
    try:
        with translated(unfinished):
            unfinished.unlink(missing_ok=True)  # of a process that ended in the middle
            os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            # Another connection reads what was last committed, while ours keeps writers out.
            with (
                closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as source,
                closing(sqlite3.connect(unfinished)) as target,
            ):
                source.backup(target)
                target.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
            with unfinished.open("rb+") as file:
                os.fsync(file.fileno())
            names = (path.with_name(f"{path.name}.version-{version}{f'.{n}' if n > 1 else ''}") for n in count(1))
            copy = next(name for name in names if not name.exists())
            unfinished.rename(copy)
            with suppress(OSError):  # a system that does not open folders
                folder = os.open(path.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return copy


def _change(db: Database, version: int) -> None:
    if version == 1:
        _do(db, _FENCE)
    _do(db, _SET_ASIDE)
    db.script("schema")
    db.script("view")
    _do(db, _BEFORE_ORDERS)
    db.change("remember", name="schema_version", value=VERSION)
    last = 0
    for number, run_id, environment, state, size in _ask(db, _RUNS):
        size = min(max(1, size), CHUNK) if isinstance(size, int) else CHUNK
        last = _move_run(db, number, run_id, environment, last, size, loading=state == RunState.LOADING)
    _do(db, _AFTER_ORDERS)
    for table, old, new in _ask(db, _COUNTS):
        if old != new:
            raise damaged(table, "all rows", f"of {old} only {new} belong to what else there is")
    _do(db, _GONE)


def _move_run(db: Database, run: int, run_id: str, environment: str, last: int, size: int, *, loading: bool) -> int:
    """Bring the orders of a run over; ``last`` is the number of the last chunk before, and what is returned after."""
    orders = db.driver.execute(_ORDERS, (run_id,))
    while rows := [_Order(*row) for row in orders.fetchmany(_CALLS * size)]:
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        numbered = list(enumerate(parts, last + 1))
        last += len(parts)
        chunks = [_chunk_row(number, run, part, loading=loading) for number, part in numbered]
        db.driver.executemany(_CHUNKS, chunks)
        db.insert("add_bodies", [body_row(number, _new(part), compact=False) for number, part in numbered])
        for number, part in numbered:
            _move_said(db, number, part)
        placed = [(number, place, row) for number, part in numbered for place, row in enumerate(part)]
        moved = [
            (run, environment, row.key, _RANKS[row.state], row.id, number, place, number_of_print(row.fingerprint))
            for number, place, row in placed
        ]
        db.driver.executemany(_MOVED, moved)
        for number, place, row in placed:
            if row.decided:
                db.driver.execute(_DECISIONS, (run, number, place, row.id))
    return last


def _chunk_row(number: int, run: int, rows: Sequence[_Order], *, loading: bool) -> Row:
    letters = _IN_LOADING if loading else _OLD_LETTERS
    for row in rows:
        if row.state not in letters or not all(map(isinstance, row, _KINDS)):
            raise damaged("orders", f"order {row.id!r:.40}", "a value of it is none that can be there")
    claims = [row.claimed_at for row in rows if row.claimed_at is not None]
    states = "".join([letters[row.state] for row in rows])
    return number, run, max(claims, default=None), max(row.updated_at for row in rows), states


def _new(rows: Sequence[_Order]) -> list[NewOrder]:
    return [NewOrder(row.line, row.key, row.payload, row.source_row, row.fingerprint) for row in rows]


def _move_said(db: Database, number: int, rows: Sequence[_Order]) -> None:
    """Bring over the tasks of a chunk, with their first one's status, and what is said of single orders beside that."""
    ids = [row.task_id for row in rows]
    status = next((row.status for row in rows if row.task_id is not None), None)
    if any(ids):
        db.insert("add_results", [(number, 0, status, msgspec.json.encode(ids).decode())])
    for place, row in enumerate(rows):
        other = None if row.status == (None if row.task_id is None else status) else row.status or ""
        if (other, row.error, row.lost_drafts) != (None, None, 0):
            db.insert("note", [(number, place, other, row.error, row.lost_drafts)])


def _ask(db: Database, text: str) -> list[Row]:
    rows: list[Row] = db.driver.execute(text).fetchall()
    return rows


def _do(db: Database, texts: str) -> None:
    for text in texts.split(";"):
        db.driver.execute(text)
