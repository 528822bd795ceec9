"""SQLite and PostgreSQL for a ledger: their settings, the advice in their errors, copies of a file, and the tables."""

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from gotsurge_async.database import Database, Kind, Place, closed_on_error, connect, statements
from gotsurge_async.database.errors import Advice, Trouble, Unfit, meaning_of
from gotsurge_async.database.files import is_writable
from gotsurge_async.ledger.errors import RESCUE, LedgerBusy, LedgerClosed, LedgerError, LedgerUnsure, LedgerUnusable
from gotsurge_async.system import files

log: logging.Logger = logging.getLogger(__name__)

BUSY_SECONDS = 60.0
"""Seconds that a write waits for another process: an admission of a million contested orders takes 20 s."""

WRITER_CACHE_KIB = 16 * 1024
"""The writer's page cache. With SQLite's 2 MiB the index over a million keys is read back page by page."""

LOOK_ON = "`gotsurge runs`, `status`, `results` and `ledger check` can still read it"

BROKEN = (sqlite3.Error, UnicodeDecodeError)
"""The exceptions of the driver; the second one is raised if a damaged name stands in the text of the first."""

ADVICE = Advice(
    busy="another process kept the ledger locked for too long; try again when that process has ended",
    damaged=f"is damaged. {RESCUE}",
    not_a_database=f"is not a database: give the path of a ledger. If this was one, its beginning is damaged. {RESCUE}",
    lacks_tables="is damaged, or not a ledger",
)

ERRORS: Mapping[Trouble, type[LedgerError]] = {
    Trouble.BUSY: LedgerBusy,
    Trouble.UNUSABLE: LedgerUnusable,
    Trouble.UNSURE: LedgerUnsure,
    Trouble.CLOSED: LedgerClosed,
    Trouble.UNEXPECTED: LedgerError,
}


def refuse_unwritable(path: Path) -> None:
    """Raise LedgerError for a file that exists and cannot be written."""
    if path.exists() and not is_writable(path):
        why = f"cannot be written to; check the permissions of the file and of its folder. {LOOK_ON}"
        raise LedgerUnusable(why, "E503", path=str(path))


def copy_to(path: Path, source: sqlite3.Connection) -> None:
    """Copy a database as it is at one moment into an empty file, durably; writers need not wait."""
    with closing(sqlite3.connect(path)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")  # one file, to be looked at where none can be written
    with path.open("rb+") as file:
        files.sync(file.fileno())


@contextmanager
def translated(path: Path | str) -> Iterator[None]:
    """Raise errors of SQLite and of the file system, and files that cannot be used, as LedgerErrors."""
    try:
        yield
    except (*BROKEN, Unfit, OSError) as error:
        raise translate(error, str(path)) or error from error


def translate(error: BaseException, path: str) -> LedgerError | None:
    """The ledger's error for one of a database or the file system; None for any other."""
    meaning = meaning_of(error, ADVICE)
    return None if meaning is None else ERRORS[meaning.trouble](meaning.text, path=path)


# --- PostgreSQL ----------------------------------------------------------------------------------------------------

IDLE_SECONDS = 10
"""Seconds that a transaction may stand still: its process is frozen then, and others need what it has locked."""
WHOLE_SECONDS = 600
"""Seconds that a transaction may take, if the server can limit that."""
LOCK_SECONDS = 60

_FORGETFUL = ("synchronous_commit", "fsync", "full_page_writes")
"""Settings that a server needs so that it does not lose what it has confirmed."""

_LIMITING = 170_000
"""The first version of PostgreSQL that limits whole transactions."""

_PREPARE_AFTER = 5
"""The number of times that a statement is sent before it is prepared: a claim costs a third less then."""


def connected(place: Place, texts: Path) -> Database:
    """Open a connection whose transactions end when they stand still."""
    db = connect(place, texts)
    with closed_on_error(db):
        limiting = db.driver.info.server_version >= _LIMITING
        for statement in (
            f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'",
            f"SET lock_timeout = '{LOCK_SECONDS}s'",
            *([f"SET transaction_timeout = '{WHOLE_SECONDS}s'"] if limiting else []),
        ):
            db.driver.execute(statement.encode())
        if _ask(db, "SELECT pg_backend_pid()") == db.driver.info.backend_pid:
            # Behind a pooler, which has a number of its own, the next statement may meet another session.
            db.driver.prepare_threshold = _PREPARE_AFTER
    return db


def refuse_forgetful(db: Database, shown: str) -> None:
    """Refuse a server that may lose what it has confirmed, or that is a copy of another one.

    Raises LedgerUnusable, whose message names the setting.
    """
    for setting in _FORGETFUL:
        if _ask(db, f"SHOW {setting}") == "off":
            raise LedgerUnusable(
                f"is on a server with {setting} = off, which can lose confirmed writes: change that setting, "
                "or use a file instead",
                "E510",
                path=shown,
            )
    encoding = _ask(db, "SHOW server_encoding")
    if encoding != "UTF8":
        why = f"has the encoding {encoding}, but needs UTF8: create a database with UTF8"
        raise LedgerUnusable(why, "E510", path=shown)
    if _ask(db, "SELECT pg_is_in_recovery()"):
        why = "is on a standby server: give the address of the primary server"
        raise LedgerUnusable(why, "E510", path=shown)
    if db.driver.info.server_version < _LIMITING:
        log.warning(
            "PostgreSQL before 17 cannot limit the time of a transaction: a frozen process may block others for long"
        )


def _ask(db: Database, statement: str) -> Any:
    return db.driver.execute(statement.encode()).fetchone()[0]


# --- the tables -------------------------------------------------------------------------------------------------------

# They make an empty database a ledger, and bring a ledger of an older version to the current one.
#
# ``migrations/002.sql`` turns version 1 into version 2, and so on: named statements as in ledger.sql (see
# gotsurge_async/database), executed in order. To add a migration, raise `VERSION` and change ledger.sql to match.

TEXT = Path(__file__).with_name("ledger.sql")
"""The file of the tables and statements."""

MIGRATIONS = Path(__file__).with_name("migrations")
"""The folder of the migrations. There is none yet: version 1 is the first."""

VERSION = 1
"""The version of the tables."""

ARCHIVE_OF = "archive_of"
"""In the ``ledger_meta`` of an archive: the id of the ledger that its runs are from."""

TABLES = frozenset(
    part.split(maxsplit=1)[0] for part in statements(TEXT, Kind.SQLITE)["schema"].split("CREATE TABLE ")[1:]
)


def prepare(db: Database, shown: str) -> bool:
    """Make a database a ledger of this program's version; returns whether it was a ledger before.

    This is part of the caller's transaction, which excludes other processes that do the same.
    """
    tables = {name for (name,) in db.rows("tables")}
    others = tables - TABLES if db.kind is not Kind.SQLITE else frozenset()
    if tables == others and (db.kind is not Kind.SQLITE or db.rows("page_count")[0][0] <= 1):
        # A file of one page is new: SQLite writes the first one when it begins the write-ahead log. In PostgreSQL there
        # may be tables of others: the tokens, the queue, whatever else is kept there.
        db.script("schema")
        db.script("view")
        db.change("remember", name="schema_version", value=VERSION)
        return False
    before = version_of(db, shown)
    for version in range(before + 1, VERSION + 1):
        db.scripts(MIGRATIONS / f"{version:03}.sql")
    if before < VERSION:
        db.script("view")
    # Written in any case: a ledger that cannot be written to must fail now, not when orders are on their way.
    db.change("remember", name="schema_version", value=VERSION)
    return True


def is_older(db: Database, shown: str) -> bool:
    """Whether a ledger is of an older version than this program's; errors as in `version_of`."""
    return version_of(db, shown) < VERSION


def version_of(db: Database, shown: str) -> int:
    """The version of a ledger's tables.

    Raises LedgerError if there is none, or a newer one; LedgerUnusable if the database is damaged.
    """
    tables = {name for (name,) in db.rows("tables")}
    if "ledger_meta" not in tables:
        why = f"is a database, but not a ledger: give the path of a ledger. If this was one, it is damaged. {RESCUE}"
        raise LedgerError(why, "E501", path=shown)
    meta: dict[str, object] = dict(db.rows("meta"))
    version = meta.get("schema_version")
    if not isinstance(version, int) or version < 1:
        raise LedgerUnusable(f"is damaged (table ledger_meta: the schema version is {version}). {RESCUE}", path=shown)
    if version > VERSION:
        raise LedgerError(
            f"was made by a newer version (schema {version}; this program knows {VERSION}): update gotsurge-async. "
            "Do not start another ledger: it would send everything again",
            "E506",
            path=shown,
        )
    missing = TABLES - tables
    if missing and version == VERSION:
        raise LedgerUnusable(f"is damaged (it has no table {min(missing)}). {RESCUE}", path=shown)
    return version
