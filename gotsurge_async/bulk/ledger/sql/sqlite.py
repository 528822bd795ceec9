"""All that is particular to SQLite: how a file is opened to write or only to read, how it locks, what its errors mean.

More of it is only in `fast_path` and in upkeep/; everything else is SQL that PostgreSQL understands as well.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from gotsurge_async.bulk.ledger.errors import RESCUE, LedgerBusy, LedgerError, LedgerUnusable, TaskTaken

BUSY_SECONDS = 60.0
"""How long a write waits for another process. An admission of a million orders holds the file for some 10 s."""

WRITER_CACHE_KIB = 16 * 1024
"""The writer's page cache. With SQLite's 2 MiB the index over a million keys is read back page by page."""

PAGE_BYTES = 8192
"""The pages of a new file. With SQLite's 4096, two orders fill a page, and loading takes a tenth more."""

JOURNAL_LIMIT = 64 * 1024 * 1024
"""Bytes that the write-ahead log keeps after an admission of millions made it grow."""

LOOK_ON = "`gotsurge runs`, `status`, `results` and `ledger check` look at it all the same"

_WRITER = "ledger_writer"
_MOUNTS = Path("/proc/self/mountinfo")
_EFFECTIVE = os.access in os.supports_effective_ids
_OLDEST_SQLITE = (3, 35, 0)  # RETURNING; UPDATE … FROM came with 3.33

_ADVICE = {
    "SQLITE_FULL": (LedgerUnusable, "the disk is full; free some space, then resume"),
    "SQLITE_READONLY": (LedgerUnusable, "cannot be written to; check the permissions of the file and of its folder"),
    "SQLITE_PERM": (LedgerUnusable, "access denied; check the permissions of the file and of its folder"),
    "SQLITE_CANTOPEN": (LedgerUnusable, "cannot be opened; check that the folder exists and can be written to"),
    "SQLITE_CORRUPT": (LedgerUnusable, f"is damaged. {RESCUE}"),
    "SQLITE_NOTADB": (
        LedgerUnusable,
        f"is not a database: name the ledger. If this was it, its beginning is damaged. {RESCUE}",
    ),
    "SQLITE_MISMATCH": (LedgerUnusable, f"is damaged. {RESCUE}"),
    "SQLITE_IOERR": (LedgerUnusable, "the disk fails to read or write; check it, then resume"),
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


def ledger_url(where: str | Path) -> URL:
    """The database URL of a path or of a URL as a user writes it."""
    if isinstance(where, Path) or "://" not in where:
        return URL.create("sqlite+pysqlite", database=str(where))
    try:
        url = make_url(where)
    except ArgumentError as error:
        raise LedgerError("the ledger's URL cannot be read; give a path, or sqlite:///PATH") from error
    if url.get_backend_name() != "sqlite":
        raise LedgerError(f"a ledger in {url.get_backend_name()} is not supported; give the path of a file")
    if url.database in (None, "", ":memory:"):
        raise LedgerError("a ledger must outlive the process; give the path of a file")
    return url.set(drivername="sqlite+pysqlite")


def ledger_path(url: URL) -> Path:
    """The file behind a SQLite URL."""
    database = url.database or ""
    return Path(database.removeprefix("file:")).absolute()


def make_file(path: Path) -> Path:
    """Create the file, for the owner alone (SQLite gives its -wal and -shm the same mode), and absent folders.

    Returns its one true path, without symbolic links.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise LedgerUnusable(f"needs SQLite 3.35 or newer, this Python has {sqlite3.sqlite_version}", path=str(path))
    with translated(path):
        for folder in reversed(path.parents):
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        real = path.resolve()
        refuse_second_name(real)
        # A file that cannot be opened is found out here, by the error of the system itself.
        sqlite3.connect(path).close()
    return real


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


def make_engine(url: URL) -> Engine:
    """An engine whose connections are durable, patient, and leave transactions to us."""
    # Not bound to the thread that made it: who opens a connection, uses it and closes it are different threads, one
    # after the other. hide_parameters: an error of the database must not print an order.
    arguments = {"timeout": BUSY_SECONDS, "check_same_thread": False}
    engine = create_engine(url, hide_parameters=True, connect_args=arguments)
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def _set_up(connection: Any, _record: object) -> None:
    # Python's driver would begin transactions by itself, late and never IMMEDIATE.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("synchronous = FULL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    # A writer that begins by reading could find, at its first write, that another process wrote in between:
    # SQLite then fails it at once, whatever the time-out. IMMEDIATE waits at the beginning instead.
    writer = connection.get_execution_options().get(_WRITER, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")


def writer_connection(engine: Engine) -> Connection:
    """The one connection that writes: its transactions exclude every other writer, of any process."""
    connection = engine.connect()
    try:
        driver: Any = connection.connection.driver_connection
        driver.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        _write_ahead(driver)
        driver.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
        driver.execute(f"PRAGMA journal_size_limit = {JOURNAL_LIMIT}")
        return connection.execution_options(**{_WRITER: True})
    except BaseException:
        connection.close()
        raise


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


def refuse_unwritable(path: Path) -> None:
    """Say in time that a ledger which exists cannot be written.

    Raises:
        LedgerUnusable: it, or its folder, may not be written.
    """
    if path.exists() and not is_writable(path):
        raise LedgerUnusable(
            f"cannot be written to; check the permissions of the file and of its folder. {LOOK_ON}", path=str(path)
        )


def read_only(path: Path) -> sqlite3.Connection:
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


def read_only_engine(path: Path) -> Engine:
    """An engine whose connections only read; each is opened anew, as things are then."""
    engine = create_engine(
        "sqlite+pysqlite://", creator=lambda: read_only(path), poolclass=NullPool, hide_parameters=True
    )
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


# --- errors ---------------------------------------------------------------------------------------------------------


@contextmanager
def translated(path: Path | str) -> Iterator[None]:
    """Let no error of the database, its driver or the file system leave but as a LedgerError."""
    try:
        yield
    except (SQLAlchemyError, *BROKEN, OSError) as error:
        raise translate(error, str(path)) from error


def translate(error: BaseException, path: str) -> LedgerError:
    """What an error of the database, its driver or the file system means for the ledger."""
    cause: BaseException = error
    if isinstance(error, DBAPIError) and error.orig is not None:
        cause = error.orig
    if isinstance(cause, OSError):
        return LedgerUnusable(f"{cause.strerror or cause}; check the path and its permissions", path=path)
    if isinstance(cause, UnicodeDecodeError):
        return LedgerUnusable(f"is damaged. {RESCUE} ({cause})", path=path)
    name = str(getattr(cause, "sqlite_errorname", ""))
    if name == "SQLITE_CONSTRAINT_UNIQUE" and "task_id" in str(cause):
        return TaskTaken("a task is recorded for another order already", path=path)
    for start, (kind, advice) in _ADVICE.items():
        if name.startswith(start):
            return kind(f"{advice} ({cause})", path=path)
    if isinstance(cause, sqlite3.Error) and str(cause).startswith(_OF_DAMAGE):
        return LedgerUnusable(f"is damaged. {RESCUE} ({cause})", path=path)
    return LedgerError(f"unexpected error of the database: {cause}", path=path)
