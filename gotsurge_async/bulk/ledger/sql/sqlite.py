"""All that is particular to SQLite: how a file is opened to write, or only to read; what its errors mean."""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import quote

from gotsurge_async.bulk.ledger.errors import RESCUE, LedgerBusy, LedgerError, LedgerUnusable
from gotsurge_async.database import Sqlite, closed_on_error
from gotsurge_async.system import files

BUSY_SECONDS = 60.0
"""How long a write waits for another process. An admission of a million contested orders holds the file for 20 s."""

WRITER_CACHE_KIB = 16 * 1024
"""The writer's page cache. With SQLite's 2 MiB the index over a million keys is read back page by page."""

PAGE_BYTES = 8192
"""The pages of a new file. With SQLite's 4096, two orders fill a page, and loading takes a tenth more."""

JOURNAL_LIMIT = 64 * 1024 * 1024
"""Bytes that the write-ahead log keeps after an admission of millions made it grow."""

LOOK_ON = "`gotsurge runs`, `status`, `results` and `ledger check` look at it all the same"

_MOUNTS = Path("/proc/self/mountinfo")
_EFFECTIVE = os.access in os.supports_effective_ids
_OLDEST_SQLITE = (3, 35, 0)  # RETURNING

_ADVICE = {
    "SQLITE_FULL": (LedgerUnusable, "the disk is full; free some space, then try again"),
    "SQLITE_READONLY": (LedgerUnusable, "cannot be written to; check the permissions of the file and of its folder"),
    "SQLITE_PERM": (LedgerUnusable, "access denied; check the permissions of the file and of its folder"),
    "SQLITE_CANTOPEN": (LedgerUnusable, "cannot be opened; check that the folder exists and can be written to"),
    "SQLITE_CORRUPT": (LedgerUnusable, f"is damaged. {RESCUE}"),
    "SQLITE_NOTADB": (
        LedgerUnusable,
        f"is not a database: name the ledger. If this was it, its beginning is damaged. {RESCUE}",
    ),
    "SQLITE_MISMATCH": (LedgerUnusable, f"is damaged. {RESCUE}"),
    "SQLITE_IOERR": (LedgerUnusable, "the disk fails to read or write; check it, then try again"),
    "SQLITE_BUSY": (LedgerBusy, "another process kept it locked for too long; try again when that one has ended"),
    "SQLITE_LOCKED": (LedgerBusy, "another connection kept it locked; try again"),
}

_OF_DAMAGE = (
    "no such table",
    "no such column",
    "Could not decode to UTF-8",
    "JSON cannot hold BLOB values",
    "malformed",
)
"""How errors begin that have no name of their own, and that only a damaged row or schema can cause."""


BROKEN = (sqlite3.Error, UnicodeDecodeError)
"""What the driver raises; the second where a damaged name stands in the words of the first."""


def make_file(path: Path) -> None:
    """Create the file, for the owner alone (SQLite gives its -wal and -shm the same mode), and absent folders.

    Raises:
        LedgerUnusable: it, or its folder, may not be written, or it has another name.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise LedgerUnusable(f"needs SQLite 3.35 or newer, this Python has {sqlite3.sqlite_version}", path=str(path))
    with translated(path):
        if path.exists() and not is_writable(path):
            raise LedgerUnusable(
                f"cannot be written to; check the permissions of the file and of its folder. {LOOK_ON}", path=str(path)
            )
        for folder in reversed(path.parents):
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        refuse_second_name(path.resolve())


def refuse_second_name(real: Path) -> None:
    """Refuse a file that has another name of its own.

    SQLite keeps its write-ahead log by the name of the file. Under two names there are two of them, and neither shows
    what was written through the other: what one process has claimed, another one would send.

    Raises:
        LedgerUnusable: a hard link, or a file that is mounted by itself.
    """
    links = real.stat().st_nlink
    if links > 1 and real.is_file():
        raise LedgerUnusable(f"has {links} names (hard links), and must have one: remove the others", path=str(real))
    if _MOUNTS.is_file() and is_mount_point(real, _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")):
        raise LedgerUnusable(
            "is mounted as a file of its own, so that it has another name elsewhere: mount its folder instead",
            path=str(real),
        )


def is_mount_point(real: Path, mounts: str) -> bool:
    """Whether a path stands as a mount point in the text of Linux's mountinfo."""
    # The fifth field of a line; blanks in it are written in octal.
    point = str(real).replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011").replace("\n", "\\012")
    return any(line.split(" ")[4] == point for line in mounts.splitlines() if line.count(" ") > 4)


def writing(path: Path, texts: Mapping[str, str]) -> Sqlite:
    """A connection that writes: durable, and patient with other processes."""
    db = _opened(path, "mode=rwc", texts)
    with closed_on_error(db):
        db.driver.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        _write_ahead(db.driver)
        for pragma in (
            "synchronous = FULL",
            "fullfsync = ON",  # macOS would leave it in the memory of the disk
            f"cache_size = -{WRITER_CACHE_KIB}",
            f"journal_size_limit = {JOURNAL_LIMIT}",
        ):
            db.driver.execute(f"PRAGMA {pragma}")
    return db


def _opened(path: Path, how: str, texts: Mapping[str, str]) -> Sqlite:
    # Not bound to the thread that made it: who opens a connection, uses it and closes it are different threads, one
    # after the other. Transactions are ours: Python's driver would begin them by itself, late and never IMMEDIATE.
    where = f"file:{quote(str(path))}?{how}"
    return Sqlite(
        sqlite3.connect(where, uri=True, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None), texts
    )


def _write_ahead(driver: sqlite3.Connection) -> None:
    # The file remembers it. Two processes that open a new file at once collide here, and SQLite does not
    # wait for this lock as it does for others.
    give_up = monotonic() + BUSY_SECONDS
    while True:
        try:
            driver.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not str(error.sqlite_errorname).startswith("SQLITE_BUSY") or monotonic() > give_up:
                raise
            sleep(0.02)
        else:
            return


def copy_to(path: Path, source: sqlite3.Connection) -> None:
    """Copy a database as it is at one moment into an empty file, durably; nobody who writes has to wait."""
    with closing(sqlite3.connect(path)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")  # one file, to be looked at where none can be written
    with path.open("rb+") as file:
        files.sync(file.fileno())


# --- only to read -----------------------------------------------------------------------------------------------------
#
# SQLite reads a file with a write-ahead log through a third file, the index of that log, which it makes where there is
# none. Where the ledger cannot be written, that index is another's, or is not made:
#
# - a log with its index: somebody is writing, or ended without a word. Both are read as they are.
# - no log, or an empty one: all is in the file itself, which is read as if it never changed.
# - a log without an index: what it holds could not be seen, so nothing is shown.


def is_writable(path: Path) -> bool:
    """Whether this process may write the file, and the files that SQLite puts beside it."""
    return all(os.access(each, os.W_OK, effective_ids=_EFFECTIVE) for each in (path, path.resolve().parent))


def reading(path: Path, texts: Mapping[str, str]) -> Sqlite:
    """A connection that only reads.

    Raises:
        LedgerError: there is no such file.
        LedgerUnusable: what another wrote last cannot be seen from here.
        sqlite3.Error: it cannot be opened.
    """
    if not path.exists():
        raise LedgerError("does not exist", path=str(path))
    # Whoever sees a short log become a long one, and has read the file alone, has read something old: so it is
    # decided for each connection, and each is short.
    real = path.resolve()
    db = _opened(real, _how(real), texts)
    db.driver.execute("PRAGMA query_only = ON")
    return db


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


# --- errors ---------------------------------------------------------------------------------------------------------


@contextmanager
def translated(path: Path | str) -> Iterator[None]:
    """Let no error of the database, its driver or the file system leave but as a LedgerError."""
    try:
        yield
    except (*BROKEN, OSError) as error:
        raise translate(error, str(path)) from error


def translate(error: BaseException, path: str) -> LedgerError:
    """What an error of the database, its driver or the file system means for the ledger."""
    if isinstance(error, OSError):
        return LedgerUnusable(f"{error.strerror or error}; check the path and its permissions", path=path)
    if isinstance(error, UnicodeDecodeError):
        return LedgerUnusable(f"is damaged. {RESCUE} ({error})", path=path)
    name = str(getattr(error, "sqlite_errorname", ""))
    told = str(error).partition(" with text ")[0]  # what follows is quoted from a row, and may be private
    for start, (kind, advice) in _ADVICE.items():
        if name.startswith(start):
            return kind(f"{advice} ({told})", path=path)
    if isinstance(error, sqlite3.Error) and told.startswith(_OF_DAMAGE):
        return LedgerUnusable(f"is damaged. {RESCUE} ({told})", path=path)
    return LedgerError(f"unexpected error of the database: {told}", path=path)
