"""An open ledger: the connections to its database, the one writer, the locks of its runs, and the clock."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import wraps
from pathlib import Path
from secrets import randbelow
from time import monotonic
from typing import Any, ClassVar, Concatenate, ParamSpec, Protocol, Self, TypeVar

from msgspec import Struct

from gotsurge_async.clock import Lasting, to_microseconds
from gotsurge_async.database import Database, Kind, Moved, Place, closed_on_error, files, place_of, statements
from gotsurge_async.database.errors import Advice, Trouble
from gotsurge_async.database.readers import Readers
from gotsurge_async.database.writer import Backend as DatabaseBackend
from gotsurge_async.database.writer import Job, Watcher, Writer
from gotsurge_async.database.writer import Kind as Requests
from gotsurge_async.errors import ConfigError
from gotsurge_async.ledger.errors import LedgerError, LedgerMoved, LedgerUnusable, nothing_sent
from gotsurge_async.ledger.locks import FileRunLocks, Leases, RunLocks
from gotsurge_async.ledger.sql import databases
from gotsurge_async.ledger.sql.databases import ARCHIVE_OF, TEXT, is_older, prepare
from gotsurge_async.ledger.sql.recorded import RecordedTasks
from gotsurge_async.ledger.states import Clock, utc_now
from gotsurge_async.ledger.upkeep.counter import Keeper, identified, identity_of
from gotsurge_async.ledger.upkeep.integrity import (
    CHECKED_AT,
    find_shared,
    is_large,
    look_over,
    settle_shared,
    to_blame,
)

A = TypeVar("A")
P = ParamSpec("P")
T = TypeVar("T")

_PROBE_SECONDS = 0.05

SLOTS = 2**31
"""Each opening counts its admissions and claims in its own row, by a random number: so none waits for another, and
it is known what a copy of the ledger lacks."""


def place(where: str | Path | Place) -> Place:
    """The place of a ledger; raises LedgerError if it cannot be one."""
    try:
        return where if isinstance(where, Place) else place_of(where)
    except ConfigError as error:
        raise LedgerError(f"the ledger cannot be opened: {error}", error.explain_code or "E511") from None


class Backend(DatabaseBackend):
    """A ledger's database: opens connections to it, and translates its errors."""

    advice: ClassVar[Advice] = databases.ADVICE
    unusable: ClassVar[type[Exception]] = LedgerUnusable

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._file: tuple[int, int] | None = None
        """The file that was opened to write, as the system numbers it."""

    @property
    def shown(self) -> str:
        """The ledger's place, for people."""
        return str(self.place)

    def is_there(self) -> bool:
        """Whether there is a ledger: a file that is not empty, or its tables. LedgerUnusable if that cannot be read."""
        with nothing_sent(), self.translated():
            if self.place.kind is Kind.SQLITE:
                return self.place.path.exists() and self.place.path.stat().st_size > 0
            with closing(self.reading()) as db:
                return ("ledger_meta",) in db.rows("tables")

    def refuse_moved(self, *, mounted_again: bool = False) -> None:
        """Raise LedgerMoved if the path leads to another file than the one that was opened to write, or to none.

        With ``mounted_again``, another number of the file's volume is accepted.
        """
        now = None if self._file is None else files.numbers_of(self.place.path)
        if self._file != now and not (mounted_again and now and self._file and now[1] == self._file[1]):
            raise LedgerMoved(
                "was moved, removed or replaced while it was open. Nothing more is sent; put the original "
                "file back, or start again with the newest copy",
                path=self.shown,
            )

    def locks(self) -> RunLocks:
        """Make the locks of the ledger's runs."""
        return FileRunLocks(self.place.path) if self.place.kind is Kind.SQLITE else Leases()

    def writing(self) -> Database:
        """Open a connection that may write; an absent file is made."""
        path = self.place.path
        if self.place.kind is Kind.SQLITE:
            databases.refuse_unwritable(path)
            files.make(path)
            self._file = files.numbers_of(path)
            texts = statements(TEXT, Kind.SQLITE)
            return files.writing(path, texts, patience=databases.BUSY_SECONDS, cache_kib=databases.WRITER_CACHE_KIB)
        db = databases.connected(self.place, TEXT)
        with closed_on_error(db):
            databases.refuse_forgetful(db, self.shown)
        return db

    def reading(self) -> Database:
        """Open a connection that only reads."""
        path = self.place.path
        if self.place.kind is not Kind.SQLITE:
            return databases.connected(self.place, TEXT)
        self.refuse_moved()
        if not path.exists():
            raise LedgerError("does not exist", "E501", path=self.shown)
        return files.reading(path, statements(TEXT, Kind.SQLITE), patience=databases.BUSY_SECONDS)

    def failure(self, trouble: Trouble, text: str) -> LedgerError:
        """The error that callers get."""
        return databases.ERRORS[trouble](text, path=self.shown)

    def translate(self, error: BaseException) -> Exception | None:
        """The ledger's error for one of the database; None if the database did not raise it."""
        if isinstance(error, LedgerError):
            error.path = error.path or self.shown
            return error
        if isinstance(error, ConfigError):
            return LedgerError(f"cannot be opened: {error}", error.explain_code or "E511", path=self.shown)
        return super().translate(error)

    def translate_read(self, db: Database, error: BaseException) -> Exception | None:
        """The ledger's error for one of a read, which names the damaged row."""
        meant = self.translate(error)
        return to_blame(db, error, meant if isinstance(meant, LedgerError) else None, self.shown)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise errors of the database as LedgerErrors."""
        try:
            yield
        except Exception as error:
            meant = self.translate(error)
            if meant is None or meant is error:
                raise
            raise meant from error


class Counting(Watcher):
    """Stores the ledger's count in a file of this machine after each commit that increased the row ``slot``.

    ``refuse_moved`` raises if the ledger is not in its place: then nothing is counted, and so nothing is claimed.
    """

    def __init__(self, keeper: Keeper, slot: int, refuse_moved: Callable[[], None]) -> None:
        self.keeper = keeper
        self.slot = slot
        self._refuse_moved = refuse_moved
        self._counted: tuple[int, int] | None = None

    def before_commit(self, db: Database) -> None:
        """Keep the counter if this process increased it."""
        self._counted = db.counted
        if db.counted is not None:
            self._refuse_moved()

    def after_commit(self) -> None:
        """Store the counter in the file."""
        if self._counted is not None:
            own, counter = self._counted
            self.keeper.keep(counter, (self.slot, own))

    def close(self) -> None:
        """Close the file."""
        self.keeper.close()


class Store:
    """The part of a `Ledger` that its runs use, too; without ``counting`` it only reads."""

    def __init__(
        self, backend: Backend, locks: RunLocks, clock: Clock, writer: Writer | None, counting: Counting | None = None
    ) -> None:
        self.place: Place = backend.place
        """The file or the server."""
        self.path: str = backend.shown
        """The file, absolute; of one in PostgreSQL its URL, without a password."""
        self.locks: RunLocks = locks
        self.clock = clock
        self.slot: int = 0 if counting is None else counting.slot
        self.tasks: RecordedTasks = RecordedTasks()
        self._backend = backend
        self._writer = writer
        self._counting = counting
        self._readers = Readers(backend, name="ledger", keep=writer is not None)
        if isinstance(locks, Leases):
            locks.writer = writer
        self._kept_by_id = False
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, where: str | Path | Place, *, clock: Clock = utc_now) -> Self:
        """Open a ledger, and make it if there is none: the file for its owner alone (mode 0600), absent folders 0700.

        Args:
            where: the path of a file, or a URL: ``sqlite:///PATH``, ``postgresql://USER@HOST/NAME``.
            clock: returns the present time, aware of its zone.

        Raises:
            LedgerError: the file is not a ledger, or one of a newer version.
            LedgerOlder: it is an older copy, or is gone: what was sent since would be sent again.
            LedgerUnusable: it cannot be read or written, or is damaged.
        """
        return await cls._opened(where, clock, accept_older=False)

    @classmethod
    async def _opened(cls, where: str | Path | Place, clock: Clock, *, accept_older: bool) -> Self:
        """Open a ledger, with ``accept_older`` also if it is an older copy, or if there was one and is none."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="gotsurge-ledger-writer")
        opening = thread.submit(_open, where, clock, accept_older, asyncio.get_running_loop().is_closed)
        try:
            with nothing_sent():
                opened = await asyncio.shield(asyncio.wrap_future(opening))
        except BaseException:
            opening.add_done_callback(_close_again)  # a thread cannot be cancelled: it may open all the same
            thread.shutdown(wait=False)
            raise
        counting = Counting(opened.keeper, randbelow(SLOTS - 1) + 1, opened.backend.refuse_moved)
        writer = Writer(opened.backend, thread, name="ledger", db=opened.db, watcher=counting)
        return cls(opened.backend, opened.locks, clock, writer, counting)

    @classmethod
    async def look(cls, where: str | Path | Place, *, clock: Clock = utc_now) -> Self:
        """Open a ledger that exists only for reading, also if it is older, damaged in part, or read-only.

        Only an older version is brought to this program's schema first.

        Raises:
            LedgerError: there is none, or it is of a newer version.
            LedgerUnusable: it cannot be read; or, later, from the methods that write.
        """
        backend = Backend(await asyncio.to_thread(place, where))
        locks = await asyncio.to_thread(_look, backend, clock)
        return cls(backend, locks, clock, None)

    def stamp(self) -> int:
        """The clock's time in microseconds since 1970, as it is stored."""
        return to_microseconds(self.clock())

    async def write(self, job: Job[T], *, after: Callable[[], None] | None = None) -> T:
        """Run a job on the writer; see `Writer.run`."""
        return await self._writing(after).run(job, after=after)

    def request(self, kind: Requests[A, T], request: A, *, after: Callable[[], None] | None = None) -> Lasting[T]:
        """Have the writer do a request together with others of its kind; see `Writer.lasting`."""
        return self._writing(after).lasting(kind, request, after=after)

    def _writing(self, after: Callable[[], None] | None) -> Writer:
        if self._writer is None:
            if after is not None:
                after()
            raise LedgerUnusable("is open for reading only: open it for writing", "E503", path=self.path)
        return self._writer

    async def keep_count(self) -> None:
        """Store the ledger's count, other machines' included, on this machine: then an older copy is refused."""
        ((counter,),) = await self.read(lambda db: db.rows("counted"))  # what was committed
        if self._writer is not None and self._counting is not None:
            keeper = self._counting.keeper
            await self._writer.run(lambda _: keeper.keep(counter))

    async def keep_count_by_id(self) -> None:
        """Store the count by the ledger's id, too: the register knows the ledger, and a copy elsewhere is noticed."""
        identity = await self.read(identity_of)
        if self._writer is not None and self._counting is not None and identity is not None and not self._kept_by_id:
            keeper = self._counting.keeper
            await self._writer.run(lambda _: keeper.keep_by_id(identity))
            self._kept_by_id = True

    async def read_tasks(self, environment: str) -> None:
        """Read the recorded tasks of an environment before anything is sent, so that no answer has to wait for that."""
        await self.read(self.tasks.read, environment, self.stamp())

    async def read(self, ask: Callable[Concatenate[Database, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function that only reads, on a connection of its own: all its statements see the same moment."""
        return await self._readers.read(ask, *args, **kwargs)

    async def until_recorded(self, recording: Callable[[Database], set[str]]) -> None:
        """Wait until those transactions have ended that are ``recording`` at this moment, without a lock."""
        left = await self.read(recording)
        ends = monotonic() + databases.BUSY_SECONDS
        while left:
            if monotonic() > ends:
                raise self._backend.failure(Trouble.BUSY, databases.ADVICE.busy)
            await asyncio.sleep(_PROBE_SECONDS)
            left &= await self.read(recording)

    async def is_writable(self) -> bool:
        """Whether the ledger can still be written, and its file has not been moved; one failed read does not matter."""

        def ask(db: Database) -> None:
            self._backend.refuse_moved()
            db.rows("meta")

        if self._writer is None:
            return False
        try:
            await self._writer.read(ask)
        except LedgerError:
            return False
        return True

    async def refuse_replaced(self) -> None:
        """Raise LedgerMoved if another file has its path: a copy may share its write-ahead log, and lose claims."""
        await asyncio.to_thread(self._backend.refuse_moved, mounted_again=True)

    async def close(self) -> None:
        """Write what waits, then close the ledger, even if the caller is cancelled. May be called again."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="gotsurge-ledger-close")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        # The readers first: whoever closes a file last puts its log into it, and that should be the writer.
        try:
            await self._readers.close()
        finally:
            if isinstance(self.locks, Leases):
                self.locks.end()
            if self._writer is not None:
                await self._writer.close()


class _Opened(Struct, frozen=True):
    backend: Backend
    db: Database
    locks: RunLocks
    keeper: Keeper

    def close(self) -> None:
        self.db.close()
        self.keeper.close()


class _IsArchive(LedgerError, code="E512"):
    """The file is an archive, which has the runs of another ledger."""


def _open(where: str | Path | Place, clock: Clock, accept_older: bool, over: Callable[[], bool]) -> _Opened:
    backend = Backend(place(where))
    keeper, locks = Keeper(backend.place), backend.locks()
    is_file = backend.place.kind is Kind.SQLITE
    if is_file and not accept_older:
        keeper.refuse_loss(is_there=backend.is_there())
    with backend.translated():
        db = backend.writing()
        with closed_on_error(db):
            db.give_up_when(over)
            db.begin()
            db.script("creating")  # two that make the tables at once would both fail
            was_there = prepare(db, backend.shown)
            if ARCHIVE_OF in dict(db.rows("meta")):
                db.commit()  # of an older version it is brought up to date all the same, to be looked at
                raise _IsArchive(f"is an archive of runs: nothing is sent from it. {databases.LOOK_ON}")
            if not accept_older:
                if not is_file:
                    keeper.refuse_loss(is_there=was_there)
                kept = keeper.kept()
                keeper.refuse_older(kept, identity_of(db), db)
            kept = keeper.kept()
            identity = identified(db, None if kept is None else kept.id)
            db.commit()
            now = to_microseconds(clock())
            if not was_there:  # nothing of it can be damaged
                keeper.keep_for(identity)
                return _Opened(backend, db, locks, keeper)
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
        if backend.place.kind is Kind.SQLITE and not files.is_writable(backend.place.path):
            why = "was made by an older version, and cannot be upgraded in place: open a copy"
            raise LedgerUnusable(why, "E506", path=backend.shown)
        with suppress(_IsArchive):
            _open(backend.place, clock, True, lambda: False).close()
    return backend.locks()


def _close_again(opening: "Future[_Opened]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


# --- methods that read or write ---------------------------------------------------------------------------------------


class _Reader(Protocol):
    async def _read(self, question: Callable[[Database], T]) -> T: ...


class _Holder(Protocol):
    @property
    def _store(self) -> Store: ...

    async def _write(self, job: Job[T]) -> T: ...


R = TypeVar("R", bound=_Reader)
W = TypeVar("W", bound=_Holder)


def reads(question: Callable[Concatenate[R, Database, P], T]) -> Callable[Concatenate[R, P], Coroutine[Any, Any, T]]:
    """Make a method from a function that reads the database: a reader's thread runs it."""

    @wraps(question)
    async def method(self: R, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._read(lambda db: question(self, db, *args, **kwargs))

    _hide(method, "db")
    return method


def writes(mark: Callable[Concatenate[W, Database, int, P], T]) -> Callable[Concatenate[W, P], Coroutine[Any, Any, T]]:
    """Make a method from a function that writes: the writer calls it with the time, fenced by the epoch."""

    @wraps(mark)
    async def method(self: W, /, *args: P.args, **kwargs: P.kwargs) -> T:
        now = self._store.stamp()
        return await self._write(lambda db: mark(self, db, now, *args, **kwargs))

    _hide(method, "db", "now")
    return method


def _hide(method: Any, *names: str) -> None:
    """Hide arguments that callers do not pass from a method's signature, so that `help` and the reference omit them."""
    signature = inspect.signature(method)
    kept = [parameter for name, parameter in signature.parameters.items() if name not in names]
    method.__signature__ = signature.replace(parameters=kept)
    method.__annotations__ = {name: hint for name, hint in method.__annotations__.items() if name not in names}
