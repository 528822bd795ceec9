"""The one database of the order book and the inbox, SQLite or PostgreSQL, used in a thread of its own.

Each module has tables of its own there, and a text of statements; here is how they are executed: one after the other,
what was asked for meanwhile together in one transaction, and never in the event loop's thread.
"""

import asyncio
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeAlias, TypeVar

from gotsurge_async.database import Database, Kind, Moved, Place, connect, driver_of, place_of
from gotsurge_async.errors import ConfigError, GotSurgeError

log: logging.Logger = logging.getLogger(__name__)

T = TypeVar("T")

BUSY_SECONDS = 30.0
"""How long a write waits for another process, in SQLite."""
PAGE_BYTES = 8192
"""The pages of a new file: with SQLite's 4096, events and orders take a tenth longer."""
TOGETHER = 500
"""Jobs of one transaction, at most."""
_TRIES = 20
"""How often a job is done again that another process came in between of, in PostgreSQL."""

_ADVICE = {
    "SQLITE_FULL": "the disk is full: free some space",
    "SQLITE_READONLY": "it cannot be written to: check the permissions of the file and of its folder",
    "SQLITE_CANTOPEN": "it cannot be opened: check that its folder exists and can be written to",
    "SQLITE_CORRUPT": "it is damaged: put it away, and let it be made anew from reads",
    "SQLITE_NOTADB": "it is no database: name another file",
    "SQLITE_IOERR": "the disk fails to read or write: check it",
    "SQLITE_BUSY": "another process is writing, or was frozen while it wrote: wake or end it",
}


class StoreError(GotSurgeError):
    """The database of the order book and the inbox cannot be used at this moment; nothing of the job was kept."""


def beside(ledger: Place) -> Place:
    """Where the order book and the inbox are unless said otherwise: a file beside the ledger's, or its database.

    A file of its own, for a receiver that is frozen in the middle of a write must not lock the ledger.
    """
    if ledger.kind is not Kind.SQLITE:
        return ledger
    return Place(Kind.SQLITE, ledger.path.with_name(f"{ledger.path.stem}.book{ledger.path.suffix}"))


_File: TypeAlias = tuple[int, int]
"""A file by device and number."""


class _Job(NamedTuple):
    work: Callable[[Database], Any]
    told: "asyncio.Future[Any]"


class Store:
    """An open database with the statements of one text. It belongs to one event loop.

    Raises, from every method, a StoreError where the database fails.
    """

    def __init__(self, place: Place, texts: Path) -> None:
        self.place: Place = place
        self._texts = texts
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"gotsurge-{texts.stem}")
        self._database: Database | None = None
        self._file: _File | None = None
        self._numbers: dict[str, int] = {}
        self._lock = threading.Lock()
        self._waiting: list[_Job] = []
        self._at_work = False
        self._closed = False

    @classmethod
    async def open(cls, where: str | Path | Place, texts: Path) -> Self:
        """Open the database, and make it if there is none: a file for its owner alone (mode 0600).

        Args:
            where: the path of a file, or a URL: ``sqlite:///PATH``, ``postgresql://USER@HOST/NAME``.
            texts: the file of its statements; ``tables`` makes the tables that are not there.

        Raises:
            ConfigError: it is no place, or the file is a ledger.
            StoreError: it cannot be used.
        """
        try:
            place = where if isinstance(where, Place) else place_of(where)
        except ConfigError as error:
            raise ConfigError(f"the order book: {error}") from None
        driver_of(place)
        store = cls(place, texts)
        try:
            await store.write(lambda db: db.script("tables"))
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Do what waits, and close the connection. May be called again."""
        if not self._closed:
            self._closed = True
            await asyncio.shield(self._loop.run_in_executor(self._thread, self._disconnect))
            self._thread.shutdown()

    async def write(self, work: Callable[[Database], T]) -> T:
        """Do a job in a transaction, which is durable on return; with others that wait, all or each by itself.

        The job may be executed more than once, and is committed once. It is done also when the caller is cancelled.
        """
        if self._closed:
            raise StoreError(f"{self.place} is closed")
        job = _Job(work, self._loop.create_future())
        with self._lock:
            self._waiting.append(job)
            begin, self._at_work = not self._at_work, True
        if begin:
            self._thread.submit(self._work_off)
        told: asyncio.Future[T] = job.told
        return await told

    async def read(self, ask: Callable[[Database], T]) -> T:
        """Ask something; it sees one moment."""
        if self._closed:
            raise StoreError(f"{self.place} is closed")
        return await self._loop.run_in_executor(self._thread, lambda: self._tried(ask, writing=False))

    # --- in the thread ----------------------------------------------------------------------------------------------

    def _work_off(self) -> None:
        while True:
            with self._lock:
                jobs, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
                if not jobs:
                    self._at_work = False
                    return
            self._loop.call_soon_threadsafe(_tell, self._done(jobs))

    def _done(self, jobs: Sequence[_Job]) -> list[tuple["asyncio.Future[Any]", Any, Exception | None]]:
        try:
            found = self._tried(lambda db: [job.work(db) for job in jobs], writing=True)
            return [(job.told, value, None) for job, value in zip(jobs, found, strict=True)]
        except Exception as error:
            if len(jobs) == 1:
                return [(jobs[0].told, None, error)]
            return [told for job in jobs for told in self._done([job])]  # one of them is at fault, and fails alone

    def _tried(self, work: Callable[[Database], T], *, writing: bool) -> T:
        for tries in range(_TRIES):
            try:
                return self._transaction(work, writing=writing)
            except Moved:
                if tries + 1 == _TRIES:
                    raise StoreError(f"{self.place}: others write the same rows without end") from None
        raise AssertionError

    def _transaction(self, work: Callable[[Database], T], *, writing: bool) -> T:
        try:
            db = self._connected()
            db.begin(writing=writing)
            found = work(db)
            self._check_file(db)
            db.commit()
        except (driver_of(self.place).Error, OSError) as error:
            # Whatever it was, the next one gets a new connection: this one's server may be gone.
            self._disconnect()
            raise StoreError(f"{self.place}: {_why(error)}") from None
        except BaseException:
            if self._database is not None:
                self._database.rollback()
            raise
        return found

    def _connected(self) -> Database:
        if self._database is not None and not self._database.alive():
            self._disconnect()
        if self._database is None:
            if self.place.kind is Kind.SQLITE:
                _make_file(self.place.path)
            database = connect(self.place, self._texts, patience=BUSY_SECONDS)
            try:
                if isinstance(database.driver, sqlite3.Connection):
                    _prepare(database.driver, self.place)
                    if self._numbers:
                        self._go_on(database)
                    self._file = _file(self.place.path)
            except BaseException:
                database.close()
                raise
            self._database = database
        return self._database

    def _check_file(self, db: Database) -> None:
        """See to it that what is committed is in the file that is there, and not in one that was removed."""
        if self.place.kind is not Kind.SQLITE or _file(self.place.path) == self._file:
            return
        db.rollback()
        with suppress(sqlite3.Error):
            self._numbers = dict(db.driver.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
        self._numbers = self._numbers or {"": 0}
        self._disconnect()
        why = "the file was removed, or another one put in its place, while it was open"
        log.error("%s: %s; what is there now is used", self.place, why)
        raise StoreError(f"{self.place}: {why}")

    def _go_on(self, db: Database) -> None:
        """Make the tables in a file that was put in the old one's place; no number means two things in one process."""
        db.begin(writing=True)
        db.script("tables")
        for name, number in self._numbers.items():
            values = {"name": name, "number": number}
            if (
                name
                and not db.driver.execute(
                    "UPDATE sqlite_sequence SET seq = max(seq, :number) WHERE name = :name", values
                ).rowcount
            ):
                db.driver.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :number)", values)
        db.commit()
        self._numbers = {}

    def _disconnect(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            with suppress(Exception):
                database.close()


class Board:
    """Leases as rows, where a store has the statements for them; the sign of life is a count."""

    def __init__(self, store: Store, lost: asyncio.Event) -> None:
        self._store = store
        self._lost = lost

    async def sign(self, name: str) -> str | None:
        """The holder and its count."""
        rows = await self._store.read(lambda db: db.rows("sign", name=name))
        return f"{rows[0][0]}/{rows[0][1]}" if rows else None

    async def take(self, name: str, me: str, over: str | None) -> bool:
        """Put our row there, or in place of the one whose sign is ``over``."""
        holder, _, beat = (over or "/-1").partition("/")
        return bool(await self._change("take", name=name, me=me, holder=holder, beat=int(beat)))

    async def beat(self, name: str, me: str) -> bool:
        """Count on."""
        if await self._change("beat", name=name, me=me):
            return True
        self._lost.set()
        return False

    async def give_back(self, name: str, me: str) -> None:
        """Remove our row."""
        await self._change("give_back", name=name, me=me)

    async def _change(self, statement: str, **values: Any) -> int:
        return await self._store.write(lambda db: db.change(statement, **values))


def _tell(outcomes: Sequence[tuple["asyncio.Future[Any]", Any, Exception | None]]) -> None:
    for told, value, error in outcomes:
        if not told.done():  # the caller may have gone
            if error is None:
                told.set_result(value)
            else:
                told.set_exception(error)


def _file(path: Path) -> _File | None:
    """What file stands under a name, if one does."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _make_file(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    if path.is_file() and path.stat().st_nlink > 1:  # SQLite would keep two logs of it
        raise ConfigError(f"{path} has more than one name (hard links), and must have one: remove the others")


def _prepare(driver: sqlite3.Connection, place: Place) -> None:
    if driver.execute("SELECT 1 FROM sqlite_master WHERE name = 'ledger_meta'").fetchone():
        raise ConfigError(f"{place} is a ledger: the order book and the inbox need a file of their own")
    driver.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # of a new file
    driver.execute("PRAGMA journal_mode = WAL")
    driver.execute("PRAGMA synchronous = FULL")
    driver.execute("PRAGMA fullfsync = ON")  # macOS would leave it in the memory of the disk


def _why(error: Exception) -> str:
    name = str(getattr(error, "sqlite_errorname", ""))
    advice = next((text for start, text in _ADVICE.items() if name.startswith(start)), None)
    # Of PostgreSQL's words only the first line: what follows may quote a row.
    told = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return f"{advice} ({told})" if advice else told
