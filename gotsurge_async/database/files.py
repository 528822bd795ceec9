"""Files of SQLite: making one, opening it to write durably, and reading one that cannot be written."""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import quote

from gotsurge_async.database import Sqlite, closed_on_error
from gotsurge_async.database.errors import Unfit
from gotsurge_async.errors import Coded

PAGE_BYTES = 8192
"""The pages of a new file. With SQLite's 4096, two orders fill a page, and writing takes a tenth longer."""
SQLITE_CACHE_KIB = 2000
"""SQLite's own page cache for each connection."""
JOURNAL_LIMIT = 64 * 1024 * 1024
"""The most bytes of the write-ahead log that stay after a write of millions of rows."""

_MOUNTS = Path("/proc/self/mountinfo")
_EFFECTIVE = os.access in os.supports_effective_ids
_OLDEST_SQLITE = (3, 35, 0)  # RETURNING


def make(path: Path) -> None:
    """Create the file for its owner alone, with absent folders. SQLite gives its -wal and -shm the same mode.

    Raises Unfit if SQLite is too old, or the file has a second name; OSError if the folder cannot be written.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise Unfit(Coded(f"needs SQLite 3.35 or newer, but this Python has {sqlite3.sqlite_version}", "E506"))
    for folder in reversed(path.parents):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    _refuse_second_name(path.resolve())


def numbers_of(path: Path) -> tuple[int, int] | None:
    """The numbers that identify a file to the system; None if there is no file at the path."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _refuse_second_name(real: Path) -> None:
    # SQLite keeps its write-ahead log by the name of the file. Under two names there are two of them, and neither shows
    # what was written through the other: what one process has claimed, another one would send.
    links = real.stat().st_nlink
    if links > 1 and real.is_file():
        raise Unfit(
            Coded(
                f"has {links} names (hard links), but must have exactly one: keep one of them",
                "E507",
            )
        )
    if _MOUNTS.is_file() and is_mount_point(real, _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")):
        why = "is mounted as a single file, so it may also have another name: mount its folder instead"
        raise Unfit(Coded(why, "E507"))


def is_mount_point(real: Path, mounts: str) -> bool:
    """Whether a path is a mount point in the text of Linux's mountinfo."""
    # The fifth field of a line; blanks in it are written in octal.
    point = str(real).replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011").replace("\n", "\\012")
    return any(line.split(" ")[4] == point for line in mounts.splitlines() if line.count(" ") > 4)


def writing(path: Path, texts: Mapping[str, str], *, patience: float, cache_kib: int = SQLITE_CACHE_KIB) -> Sqlite:
    """A connection that writes: durable, and patient with other processes for ``patience`` seconds."""
    db = _opened(path, "mode=rwc", texts, patience)
    with closed_on_error(db):
        db.driver.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        _write_ahead(db.driver, patience)
        for pragma in (
            "synchronous = FULL",
            "fullfsync = ON",  # macOS would leave it in the memory of the disk
            f"cache_size = -{cache_kib}",
            f"journal_size_limit = {JOURNAL_LIMIT}",
        ):
            db.driver.execute(f"PRAGMA {pragma}")
    return db


def _opened(path: Path, mode: str, texts: Mapping[str, str], patience: float) -> Sqlite:
    # Not bound to the thread that made it: different threads open a connection, use it and close it, one after the
    # other. Transactions are ours: Python's driver would begin them automatically, late and never IMMEDIATE.
    url = f"file:{quote(str(path))}?{mode}"
    return Sqlite(
        sqlite3.connect(url, uri=True, timeout=patience, check_same_thread=False, isolation_level=None), texts
    )


def _write_ahead(driver: sqlite3.Connection, patience: float) -> None:
    # The file remembers it. Two processes that open a new file at once collide here, and SQLite does not
    # wait for this lock as it does for others.
    give_up = monotonic() + patience
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
# none. Where the file cannot be written, that index is another process's, or is not made:
#
# - a log with its index: another process is writing, or was killed. Both are read as they are.
# - no log, or an empty one: all is in the file itself, which is read as if it never changed.
# - a log without an index: what it holds could not be seen, so nothing is shown.


def is_writable(path: Path) -> bool:
    """Whether this process may write the file, and the files that SQLite puts next to it."""
    return all(os.access(each, os.W_OK, effective_ids=_EFFECTIVE) for each in (path, path.resolve().parent))


def reading(path: Path, texts: Mapping[str, str], *, patience: float) -> Sqlite:
    """A connection that only reads a file; Unfit if the last writes of another process cannot be read from here."""
    # Whoever sees a short log become a long one, and has read the file alone, has read something old: so the way is
    # chosen for each connection, and each is short.
    real = path.resolve()
    db = _opened(real, _mode(real), texts, patience)
    db.driver.execute("PRAGMA query_only = ON")
    return db


def _mode(path: Path) -> str:
    if is_writable(path):
        return "mode=rw"  # it puts the log's index there, and takes it away again
    log, index = (path.with_name(path.name + end) for end in ("-wal", "-shm"))
    has_log = log.exists() and log.stat().st_size > 0
    if index.exists() and log.exists():
        return "mode=ro"
    if has_log:
        why = (
            f"needs its file {index.name}, which does not exist, and cannot be created in {path.parent}: copy "
            f"{path.name} and {log.name} into a folder of your own, and open {path.name} there"
        )
        raise Unfit(Coded(why, "E503"))
    return "mode=ro&immutable=1"
