"""An open ledger: the connections to its database, the one writer, the locks of its runs, and the clock."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from secrets import randbelow
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from attrs import frozen

from gotsurge_async.bulk.ledger.errors import LedgerClosed, LedgerError, LedgerUnusable
from gotsurge_async.bulk.ledger.locks import FileRunLocks, Leases, RunLocks
from gotsurge_async.bulk.ledger.sql import postgres, sqlite
from gotsurge_async.bulk.ledger.sql.runs import RecordedTasks
from gotsurge_async.bulk.ledger.sql.schema import ARCHIVE_OF, TEXT, is_older, prepare
from gotsurge_async.bulk.ledger.states import Clock
from gotsurge_async.bulk.ledger.upkeep.counter import Keeper, identified, identity_of
from gotsurge_async.bulk.ledger.upkeep.integrity import (
    CHECKED_AT,
    find_shared,
    is_large,
    look_over,
    settle_shared,
    to_blame,
)
from gotsurge_async.bulk.ledger.writer import Job, Writer
from gotsurge_async.bulk.ledger.writer import Kind as Requests
from gotsurge_async.clock import to_microseconds
from gotsurge_async.database import Database, Kind, Moved, Place, closed_on_error, place_of, statements
from gotsurge_async.errors import ConfigError

A = TypeVar("A")
P = ParamSpec("P")
T = TypeVar("T")

READERS = 4
"""Threads that read, at most: as many reads go on at once."""

SLOTS = 2**31
"""Each opening counts its admissions and claims in a row of its own, by a random number: nobody waits for another's,
and it is known what a copy of the ledger lacks."""


def place(where: str | Path | Place) -> Place:
    """Where a ledger is; LedgerError if it cannot be one."""
    try:
        return where if isinstance(where, Place) else place_of(where)
    except ConfigError as error:
        raise LedgerError(f"the ledger cannot be opened: {error}") from None


@frozen(eq=False)
class Backend:
    """A ledger's database: opens connections to it, and knows what its errors mean."""

    place: Place

    @property
    def shown(self) -> str:
        """For people."""
        return str(self.place)

    def is_there(self) -> bool:
        """Whether there is a ledger, or what should be one; of one in PostgreSQL the server is asked.

        Raises:
            LedgerUnusable: it cannot be told.
        """
        with self.translated():
            if self.place.kind is Kind.SQLITE:
                return self.place.path.exists() and self.place.path.stat().st_size > 0
            with closing(self.reading()) as db:
                return ("ledger_meta",) in db.rows("tables")

    def locks(self) -> RunLocks:
        """The locks of its runs."""
        return FileRunLocks(self.place.path) if self.place.kind is Kind.SQLITE else Leases()

    def writing(self) -> Database:
        """A connection that may write; of a file, made if it is absent."""
        if self.place.kind is Kind.SQLITE:
            sqlite.make_file(self.place.path)
            return sqlite.writing(self.place.path, statements(TEXT, Kind.SQLITE))
        db = postgres.connected(self.place, TEXT)
        with closed_on_error(db):
            postgres.refuse_forgetful(db, self.shown)
        return db

    def reading(self) -> Database:
        """A connection that only reads."""
        if self.place.kind is Kind.SQLITE:
            return sqlite.reading(self.place.path, statements(TEXT, Kind.SQLITE))
        return postgres.connected(self.place, TEXT)

    def translate(self, error: BaseException) -> LedgerError | None:
        """What an error means for the ledger; None if it is none of the database."""
        if isinstance(error, LedgerError):
            error.path = error.path or self.shown
            return error
        if isinstance(error, ConfigError):
            return LedgerError(f"cannot be opened: {error}", path=self.shown)
        if isinstance(error, (*sqlite.BROKEN, OSError)):
            return sqlite.translate(error, self.shown)
        return postgres.translate(error, self.shown) if self.place.kind is not Kind.SQLITE else None

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Let no error of the database leave but as a LedgerError."""
        try:
            yield
        except Exception as error:
            told = self.translate(error)
            if told is None or told is error:
                raise
            raise told from error


class Store:
    """What `Ledger` and its runs share."""

    def __init__(self, backend: Backend, locks: RunLocks, clock: Clock, writer: Writer | None, slot: int = 0) -> None:
        self.place: Place = backend.place
        self.path: str = backend.shown
        self.locks: RunLocks = locks
        self.clock = clock
        self.slot: int = slot
        self.tasks: RecordedTasks = RecordedTasks()
        self._backend = backend
        self._writer = writer
        if isinstance(locks, Leases):
            locks.writer = writer
        self._kept_by_id = False
        self._idle: list[Database] = []
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="gotsurge-ledger-reader")
        self._reads: set[asyncio.Future[Any]] = set()
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, where: str | Path | Place, clock: Clock, *, accept_older: bool = False) -> Self:
        """Open a ledger, make it if it is absent, and bring it to this program's schema.

        Args:
            accept_older: take it also when it is an older copy, or when there was one and there is none.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="gotsurge-ledger-writer")
        opening = thread.submit(_open, where, clock, accept_older)
        try:
            opened = await asyncio.shield(asyncio.wrap_future(opening))
        except BaseException:
            opening.add_done_callback(_close_again)  # a thread cannot be cancelled: it may open all the same
            thread.shutdown(wait=False)
            raise
        backend = opened.backend
        slot = randbelow(SLOTS - 1) + 1
        writer = Writer(opened.db, backend.translate, thread, path=backend.shown, keeper=opened.keeper, slot=slot)
        return cls(backend, opened.locks, clock, writer, slot)

    @classmethod
    async def look(cls, where: str | Path | Place, clock: Clock) -> Self:
        """Open a ledger that exists, to look at it: nothing is written, and it need not be possible.

        Only an older version is brought to this program's schema first.
        """
        backend = Backend(await asyncio.to_thread(place, where))
        locks = await asyncio.to_thread(_look, backend, clock)
        return cls(backend, locks, clock, None)

    def now(self) -> int:
        """The clock's time, as it is stored."""
        return to_microseconds(self.clock())

    async def write(self, job: Job[T], *, after: Callable[[], None] | None = None) -> T:
        """Run a job on the writer; see `Writer.run`."""
        if self._writer is None:
            if after is not None:
                after()
            raise LedgerUnusable("is only looked at; open it to write", path=self.path)
        return await self._writer.run(job, after=after)

    async def request(self, kind: Requests[A, T], request: A) -> T:
        """Have the writer do a request together with others of its kind; see `Writer.request`."""
        if self._writer is None:
            raise LedgerUnusable("is only looked at; open it to write", path=self.path)
        return await self._writer.request(kind, request)

    async def keep_count(self) -> None:
        """Keep on this machine how far all have come who share the ledger, as is done of what is counted here."""
        ((counter,),) = await self.read(lambda db: db.rows("counted"))  # what was committed
        writer = self._writer
        if writer is not None:
            await writer.run(lambda _: writer.keep(counter))

    async def keep_by_id(self) -> None:
        """Keep the count by the ledger's id, too, from now on: the register knows the ledger."""
        identity, writer = await self.read(identity_of), self._writer
        if writer is not None and identity is not None and not self._kept_by_id:
            await writer.run(lambda _: writer.keep_by_id(identity))
            self._kept_by_id = True

    async def read_tasks(self, environment: str) -> None:
        """Read which tasks are recorded, before anything is sent: not while an answer waits to be recorded."""
        await self.read(self.tasks.read, environment, self.now())

    async def read(self, ask: Callable[Concatenate[Database, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function that only reads, on a connection of its own: it sees one moment."""
        if self._closing is not None:
            raise LedgerClosed("is closed", path=self.path)
        reading = asyncio.get_running_loop().run_in_executor(
            self._readers, self._read, lambda db: ask(db, *args, **kwargs)
        )
        self._reads.add(reading)
        reading.add_done_callback(self._forget)
        # It ends in its own time when the caller is cancelled, and `close` waits for that.
        return await asyncio.shield(reading)

    def _read(self, ask: Callable[[Database], T]) -> T:
        only = self._writer is None
        db: Database | None = None
        try:
            # One that only looks opens anew each time, as things are then.
            db = self._idle.pop() if self._idle else None
            if db is None or not db.alive():
                db = self._backend.reading()
            db.begin(writing=False)
            found = ask(db)
            db.commit()
        except BaseException as error:
            told = self._backend.translate(error)
            if db is not None:
                with suppress(Exception):
                    told = to_blame(db, error, told, self.path)
                with suppress(Exception):
                    db.close()
            if told is None or told is error:
                raise
            raise told from error
        if only:
            db.close()
        else:
            self._idle.append(db)
        return found

    def _forget(self, reading: "asyncio.Future[Any]") -> None:
        self._reads.discard(reading)
        if not reading.cancelled():
            reading.exception()  # looked at, also when the caller has gone

    async def close(self) -> None:
        """Write what waits, end what is read, close every connection; a caller that is cancelled does not stop it."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="gotsurge-ledger-close")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        try:
            if self._reads:
                await asyncio.wait(self._reads)
            # The readers first: whoever closes a file last puts its log into it, and that should be the writer.
            while self._idle:
                self._idle.pop().close()
            if isinstance(self.locks, Leases):
                self.locks.end()
            if self._writer is not None:
                await self._writer.close()
        finally:
            self._readers.shutdown()


@frozen
class _Opened:
    backend: Backend
    db: Database
    locks: RunLocks
    keeper: Keeper

    def close(self) -> None:
        self.db.close()
        self.keeper.close()


class _IsArchive(LedgerError):
    """It has the runs of another ledger."""


def _open(where: str | Path | Place, clock: Clock, accept_older: bool) -> _Opened:
    backend = Backend(place(where))
    keeper, locks = Keeper(backend.place), backend.locks()
    is_file = backend.place.kind is Kind.SQLITE
    if is_file and not accept_older:
        keeper.refuse_loss(is_there=backend.is_there())
    with backend.translated():
        db = backend.writing()
        with closed_on_error(db):
            db.begin()
            db.script("creating")  # two that make the tables at once would both fail
            was_there = prepare(db, backend.shown)
            if ARCHIVE_OF in dict(db.rows("meta")):
                db.commit()  # of an older version it is brought up to date all the same, to be looked at
                raise _IsArchive(f"is an archive of runs: nothing is sent from it. {sqlite.LOOK_ON}")
            if not accept_older:
                if not is_file:
                    keeper.refuse_loss(is_there=was_there)
                kept = keeper.kept()
                keeper.refuse_older(kept, identity_of(db), db)
            kept = keeper.kept()
            identity = identified(db, None if kept is None else kept.id)
            db.commit()
            now = to_microseconds(clock())
            remembered = look_over(db, backend.shown, now)
            if (remembered or not is_large(db)) and find_shared(db):
                with suppress(Moved):  # another process is at work in it: it is seen at the next opening
                    db.begin()
                    settle_shared(db, locks, now)
                    db.commit()
                db.rollback()
            if remembered:
                db.begin()
                db.change("remember", name=CHECKED_AT, value=now)
                db.commit()
            keeper.keep_for(identity)
    return _Opened(backend, db, locks, keeper)


def _look(backend: Backend, clock: Clock) -> RunLocks:
    with backend.translated(), closing(backend.reading()) as db:
        older = is_older(db, backend.shown)
    if older:
        if backend.place.kind is Kind.SQLITE and not sqlite.is_writable(backend.place.path):
            raise LedgerUnusable(
                "is of an older version, and cannot be brought up to date where it is: look at a copy",
                path=backend.shown,
            )
        with suppress(_IsArchive):
            _open(backend.place, clock, True).close()
    return backend.locks()


def _close_again(opening: "Future[_Opened]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
