"""The one database of the order book and the inbox, SQLite or PostgreSQL.

Each module has tables of its own there, and a file of statements. This module executes them: by one writer for all
callers, and never in the event loop's thread.
"""

import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from gotsurge_async.clock import uninterrupted
from gotsurge_async.database import (
    Database,
    Kind,
    Place,
    Row,
    closed_on_error,
    connect,
    driver_of,
    files,
    place_of,
    statements,
)
from gotsurge_async.database.errors import Advice, Trouble, Unfit
from gotsurge_async.database.writer import Backend, Job, Watcher, Writer
from gotsurge_async.database.writer import Kind as Requests
from gotsurge_async.errors import Coded, ConfigError, GotSurgeError, code_of

log: logging.Logger = logging.getLogger(__name__)

A = TypeVar("A")
T = TypeVar("T")

BUSY_SECONDS = 30.0
"""Seconds that a write waits for another process, in SQLite."""
PATIENCE = 10.0
"""Seconds that the sender of an event waits for the disk."""

ADVICE = Advice(
    busy="another process is writing to it, or was suspended while writing: wait for that process, or end it",
    damaged="is damaged: move the file away; a new order book is then built by reading the tasks",
    not_a_database="is not a database: name another file",
    lacks_tables="is damaged, or is not an order book",
)


class StoreError(GotSurgeError, code="E803"):
    """The database of the order book and the inbox cannot be used at this moment; nothing of the job was stored."""


class StoreLost(StoreError):
    """The connection to that database is lost; the next job opens a new one."""


def beside(ledger: Place) -> Place:
    """The default place of the order book and the inbox: a file next to the ledger's, or the ledger's own database.

    It is not the ledger's file, because a receiver that is frozen in the middle of a write must not lock the ledger.
    """
    if ledger.kind is not Kind.SQLITE:
        return ledger
    return Place(Kind.SQLITE, ledger.path.with_name(f"{ledger.path.stem}.book{ledger.path.suffix}"))


class Books(Backend, Watcher):
    """The database of one `Store`; it notices when the file is removed or replaced while it is open."""

    advice: ClassVar[Advice] = ADVICE
    unusable: ClassVar[type[Exception]] = StoreLost

    def __init__(self, place: Place, texts: Path, *, make: bool = True) -> None:
        super().__init__(place)
        self._texts = texts
        self._make = make
        self._file: tuple[int, int] | None = None
        self._numbers: dict[str, int] = {}

    def writing(self) -> Database:
        """Open a connection that reads and writes."""
        if self.place.kind is not Kind.SQLITE:
            return connect(self.place, self._texts)
        path = self.place.path
        if not self._make and not path.exists():
            raise self.absent()
        files.make(path)
        db = files.writing(path, statements(self._texts, Kind.SQLITE), patience=BUSY_SECONDS)
        with closed_on_error(db):
            if db.driver.execute("SELECT 1 FROM sqlite_master WHERE name = 'ledger_meta'").fetchone():
                why = f"{self.place} is a ledger: name another file for the order book and the inbox"
                raise ConfigError(why, "E803")
            if self._numbers:
                self._continue_numbers(db)
            self._file = files.numbers_of(path)
        return db

    def reading(self) -> Database:
        """Open a connection that reads and writes, too: reads share the writer's connection."""
        return self.writing()

    def failure(self, trouble: Trouble, text: str) -> StoreError:
        """The error that callers get."""
        return (StoreLost if trouble in (Trouble.UNUSABLE, Trouble.UNSURE) else StoreError)(
            f"{self.place}: {text}", code_of(text)
        )

    def translate(self, error: BaseException) -> Exception | None:
        """The error for callers in place of another one; None if the database did not raise it."""
        if isinstance(error, Unfit):
            error = ConfigError(f"{self.place} {error}", code_of(error))
        if isinstance(error, ConfigError):
            # After the opening it is a file that was put in its place: senders are answered as by any failure.
            return error if self._file is None else StoreError(str(error), error.explain_code)
        return error if isinstance(error, StoreError) else super().translate(error)

    def before_commit(self, db: Database) -> None:
        """Raise if the file of the database was removed or replaced."""
        if self.place.kind is not Kind.SQLITE or files.numbers_of(self.place.path) == self._file:
            return
        with suppress(Exception):
            db.rollback()
            self._numbers = dict(db.driver.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
        self._numbers = self._numbers or {"": 0}
        replaced = Coded("the file was removed or replaced while it was open", "E803")
        log.error("%s: %s; the file that is there now is used", self.place, replaced)
        raise self.failure(Trouble.UNUSABLE, replaced)

    def absent(self) -> ConfigError:
        """The error where there is no such database, and none may be made."""
        if self._texts.stem == "inbox":
            return ConfigError(f"there is no inbox at {self.place}", "E801")
        return ConfigError(f"there is no order book at {self.place}", "E801")

    def make_tables(self, db: Database) -> None:
        """Make the tables unless they are there.

        Existing tables are not locked: a lock would wait for a frozen writer, and others behind it.
        """
        if not db.rows("there"):
            db.script("tables")  # one process at a time, from here on

    def _continue_numbers(self, db: Database) -> None:
        """Make the tables in a file that replaced another, and continue its numbers, so that none is used twice."""
        db.begin()
        self.make_tables(db)
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


class Store:
    """An open database with the statements of one text, of one event loop. Every failure is a StoreError."""

    def __init__(self, place: Place, texts: Path, *, make: bool = True) -> None:
        self.place: Place = place
        thread = ThreadPoolExecutor(1, thread_name_prefix=f"gotsurge-{texts.stem}")
        self._books = Books(place, texts, make=make)
        self._writer = Writer(self._books, thread, name=texts.stem, watcher=self._books, patience=PATIENCE)
        self._closed = False

    @classmethod
    async def open(cls, where: str | Path | Place, texts: Path, *, make: bool = True) -> Self:
        """Open the database, and make it if there is none: a file for its owner alone (mode 0600).

        Without ``make``, none is a ConfigError, as is a ledger, or a place that is neither the path of a file nor a URL
        (``sqlite:///PATH``, ``postgresql://USER@HOST/NAME``). Raises StoreError if the database cannot be used.
        """
        try:
            place = where if isinstance(where, Place) else place_of(where)
        except ConfigError as error:
            raise ConfigError(f"the order book: {error}", error.explain_code or "E803") from None
        driver_of(place)
        store = cls(place, texts, make=make)
        try:
            if make:
                await store.write(store._books.make_tables)
            elif not await store.rows("there"):
                raise store._books.absent()
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Finish the waiting jobs, and close the connection. May be called again."""
        if not self._closed:
            self._closed = True
            await uninterrupted(self._writer.close())

    async def write(self, job: Job[T]) -> T:
        """Run a job in a transaction, which is durable on return; see `Writer.run`."""
        return await self._writer.run(job)

    def request(self, kind: Requests[A, T], request: A) -> Coroutine[Any, Any, T]:
        """Do a request together with others of its kind, for at most `PATIENCE`; see `Writer.request`."""
        return self._writer.request(kind, request)

    async def read(self, ask: Callable[[Database], T]) -> T:
        """Run a function that reads; all its statements see the same moment."""
        return await self._writer.read(ask)

    async def rows(self, name: str, /, **values: Any) -> list[Row]:
        """All rows that a statement returns."""
        return await self.read(lambda db: db.rows(name, **values))

    async def change(self, name: str, /, **values: Any) -> int:
        """Run a statement in a transaction of its own; returns the number of rows that it changed."""
        return await self.write(lambda db: db.change(name, **values))
