"""Ledgers of version 1 and 2, with a row for each order, as their programs made them."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from gotsurge_async.bulk.ledger import (
    LIVE,
    Ledger,
)

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
