"""What is particular to a ledger's file: how long it is waited for, how it is copied, and what its errors advise."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from gotsurge_async.database.errors import Advice, Trouble, Unfit, meaning_of
from gotsurge_async.database.files import is_writable
from gotsurge_async.ledger.errors import RESCUE, LedgerBusy, LedgerClosed, LedgerError, LedgerUnsure, LedgerUnusable
from gotsurge_async.system import files

BUSY_SECONDS = 60.0
"""How long a write waits for another process. An admission of a million contested orders holds the file for 20 s."""

WRITER_CACHE_KIB = 16 * 1024
"""The writer's page cache. With SQLite's 2 MiB the index over a million keys is read back page by page."""

LOOK_ON = "`gotsurge runs`, `status`, `results` and `ledger check` can still read it"

BROKEN = (sqlite3.Error, UnicodeDecodeError)
"""What the driver raises; the second where a damaged name stands in the text of the first."""

ADVICE = Advice(
    busy="another process kept it locked for too long; try again when that one has ended",
    damaged=f"is damaged. {RESCUE}",
    not_a_database=f"is not a database: name the ledger. If this was it, its beginning is damaged. {RESCUE}",
    lacks_tables="is damaged, or no ledger",
)

ERRORS: Mapping[Trouble, type[LedgerError]] = {
    Trouble.BUSY: LedgerBusy,
    Trouble.UNUSABLE: LedgerUnusable,
    Trouble.UNSURE: LedgerUnsure,
    Trouble.CLOSED: LedgerClosed,
    Trouble.UNEXPECTED: LedgerError,
}


def refuse_unwritable(path: Path) -> None:
    """Refuse a file that exists and may not be written."""
    if path.exists() and not is_writable(path):
        why = f"cannot be written to; check the permissions of the file and of its folder. {LOOK_ON}"
        raise LedgerUnusable(why, "E503", path=str(path))


def copy_to(path: Path, source: sqlite3.Connection) -> None:
    """Copy a database as it is at one moment into an empty file, durably; writers do not have to wait."""
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
    """What an error of a database or the file system means for the ledger; None if it is another one."""
    meaning = meaning_of(error, ADVICE)
    return None if meaning is None else ERRORS[meaning.trouble](meaning.text, path=path)
