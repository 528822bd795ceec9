"""Bringing a ledger of version 1 or 2, which had a row for each order, over to the chunks of version 3.

All of it is one transaction, and before anything changes a copy of the ledger is put beside it. No other process writes
meanwhile, and one that reads sees the old ledger until all is done. A ledger that a living process pushes from is left
alone.
"""

import logging
import os
import sqlite3
from contextlib import closing
from itertools import count
from pathlib import Path

from gotsurge_async.bulk.ledger.errors import RunHeld, damaged
from gotsurge_async.bulk.ledger.locks import RunLocks
from gotsurge_async.bulk.ledger.sql import sqlite
from gotsurge_async.bulk.ledger.sql.chunks import number_of_print
from gotsurge_async.bulk.ledger.sql.schema import MIGRATIONS, VERSION, version_of
from gotsurge_async.bulk.ledger.states import Holder
from gotsurge_async.bulk.ledger.upkeep.counter import LEDGER_ID, Identity, Keeper
from gotsurge_async.clock import from_microseconds
from gotsurge_async.database import Database, Sqlite, statements
from gotsurge_async.system import files

log: logging.Logger = logging.getLogger(__name__)

NEW = 3
"""The first version that has chunks."""


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
                keeper.refuse_older(keeper.kept(), _identity(db))
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
    for run_id, pid, host, since in db.driver.execute("SELECT id, holder_pid, holder_host, holder_since FROM runs"):
        if locks.is_held(db, run_id):
            raise RunHeld(run_id, None if since is None else Holder(pid, host, from_microseconds(since)))


def _copy(path: Path, version: int) -> Path:
    """Copy the ledger as it is now into a file beside it, under a name that no other file has, durably."""
    unfinished = path.with_name(f"{path.name}.version-{version}.unfinished")
    try:
        with sqlite.translated(unfinished):
            unfinished.unlink(missing_ok=True)  # of a process that ended in the middle
            os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            # Another connection reads what was last committed, while ours keeps writers out.
            with closing(sqlite3.connect(path, timeout=sqlite.BUSY_SECONDS)) as source:
                sqlite.copy_to(unfinished, source)
            names = (path.with_name(f"{path.name}.version-{version}{f'.{n}' if n > 1 else ''}") for n in count(1))
            copy = next(name for name in names if not name.exists())
            files.replace(unfinished, copy)
            files.sync_folder(path.parent)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return copy


def _change(db: Database, version: int) -> None:
    if version == 1:
        db.scripts(MIGRATIONS / "002.sql")
    new = Sqlite(db.driver, statements(MIGRATIONS / "003.sql", db.kind))
    new.driver.create_function("number_of_print", 1, number_of_print, deterministic=True)
    new.script("set_aside")
    db.script("schema")
    db.script("view")
    new.script("bring_runs")
    for (order,) in new.rows("damaged"):
        raise damaged("orders", f"order {order!r:.40}", "a value of it is none that can be there")
    new.script("bring_orders")
    new.script("bring_keys")
    for table, old, brought in new.rows("counts"):
        if old != brought:
            raise damaged(table, "all rows", f"of {old} only {brought} belong to what else there is")
    new.script("forget")
    db.change("remember", name="schema_version", value=VERSION)
