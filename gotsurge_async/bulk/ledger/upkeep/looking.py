"""A ledger that is only looked at: nothing of it is written, and it need not be possible.

SQLite reads a file with a write-ahead log through a third file, the index of that log, which it makes where there is
none. Where the ledger cannot be written, that index is another's, or is not made:

- a log with its index: somebody is writing, or ended without a word. Both are read as they are.
- no log, or an empty one: all is in the file itself, which is read as if it never changed.
- a log without an index: what it holds could not be seen, so nothing is shown.
"""

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Engine, NullPool, create_engine, event

from gotsurge_async.bulk.ledger.errors import LedgerUnusable
from gotsurge_async.bulk.ledger.sql.dialect import BUSY_SECONDS

LOOK_ON = "`gotsurge runs`, `status`, `results` and `ledger check` look at it all the same"

_EFFECTIVE = os.access in os.supports_effective_ids


def is_writable(path: Path) -> bool:
    """Whether this process may write the file, and the files that SQLite puts beside it."""
    return all(os.access(each, os.W_OK, effective_ids=_EFFECTIVE) for each in (path, path.resolve().parent))


def refuse_unwritable(path: Path) -> None:
    """Say in time that a ledger which exists cannot be written.

    Raises:
        LedgerUnusable: it, or its folder, may not be written.
    """
    if path.exists() and not is_writable(path):
        raise LedgerUnusable(
            f"cannot be written to; check the permissions of the file and of its folder. {LOOK_ON}", path=str(path)
        )


def look(path: Path) -> sqlite3.Connection:
    """A connection that only reads.

    Raises:
        LedgerUnusable: what another wrote last cannot be seen from here.
        sqlite3.Error: it cannot be opened.
    """
    # Whoever sees a short log become a long one, and has read the file alone, has read something old: so it is
    # decided for each connection, and each is short.
    real = path.resolve()
    connection = sqlite3.connect(
        f"file:{quote(str(real))}?{_how(real)}", uri=True, timeout=BUSY_SECONDS, check_same_thread=False
    )
    connection.isolation_level = None
    connection.execute("PRAGMA query_only = ON")
    return connection


def _how(path: Path) -> str:
    if is_writable(path):
        return "mode=rw"  # it puts the log's index there, and takes it away again
    log, index = (path.with_name(path.name + end) for end in ("-wal", "-shm"))
    has_log = log.exists() and log.stat().st_size > 0
    if index.exists() and log.exists():
        return "mode=ro"
    if has_log:
        raise LedgerUnusable(
            f"has a write-ahead log without an index, and none can be made in {path.parent}: copy {path.name} and "
            f"{log.name} into a folder of your own, and look there",
            path=str(path),
        )
    return "mode=ro&immutable=1"


def looking_engine(path: Path) -> Engine:
    """An engine whose connections only read; each is opened anew, as things are then."""
    engine = create_engine("sqlite+pysqlite://", creator=lambda: look(path), poolclass=NullPool, hide_parameters=True)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def is_locked(ledger: Path, run_id: str) -> bool:
    """Whether a living process has a run of a ledger beside which no lock can be taken."""
    real = ledger.resolve()
    path = real.with_name(f"{real.name}.{run_id}.lock")
    try:
        import fcntl
    except ImportError:  # where there is no flock, a lock that is there is one that somebody has
        return path.exists()
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:  # it is there, and not for us to look into
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
