"""SQLite for a ledger: the time that a write waits for the file, its copies, and the advice in its errors."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from gotsurge_async.database.errors import Advice, Trouble, Unfit, meaning_of
from gotsurge_async.database.files import is_writable
from gotsurge_async.ledger.errors import RESCUE, LedgerBusy, LedgerClosed, LedgerError, LedgerUnsure, LedgerUnusable
from gotsurge_async.system import files

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
