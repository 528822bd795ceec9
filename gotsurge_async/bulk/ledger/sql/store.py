"""An open ledger file: the connections to it, the one writer, the locks beside it, and the clock."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from attrs import frozen
from sqlalchemy import URL, Connection, Engine

from gotsurge_async.bulk.ledger.errors import LedgerClosed, LedgerUnusable
from gotsurge_async.bulk.ledger.locks import RunLocks
from gotsurge_async.bulk.ledger.sql.schema import MIGRATIONS, Migration, prepare, version_of
from gotsurge_async.bulk.ledger.sql.sqlite import (
    is_writable,
    ledger_path,
    ledger_url,
    make_engine,
    make_file,
    read_only_engine,
    refuse_unwritable,
    translated,
    writer_connection,
)
from gotsurge_async.bulk.ledger.sql.writer import Job, Kind, Writer
from gotsurge_async.bulk.ledger.states import Clock, to_microseconds
from gotsurge_async.bulk.ledger.upkeep.counter import Keeper, identified, identity_of, remember
from gotsurge_async.bulk.ledger.upkeep.integrity import CHECKED_AT, look_over, naming_rows

A = TypeVar("A")
P = ParamSpec("P")
T = TypeVar("T")

READERS = 4
"""Threads that read, at most: as many reads go on at once."""


class Store:
    """What `Ledger` and its runs share."""

    def __init__(self, path: Path, real: Path, clock: Clock, engine: Engine, writer: Writer | None) -> None:
        self.path: str = str(path)
        self.locks: RunLocks = RunLocks(real)
        self.clock = clock
        self._engine = engine
        self._writer = writer
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="gotsurge-ledger-reader")
        self._reads: set[asyncio.Future[Any]] = set()
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        where: str | Path,
        clock: Clock,
        migrations: Sequence[Migration] = MIGRATIONS,
        *,
        accept_older: bool = False,
    ) -> Self:
        """Open the file, make it if it is absent, and bring it to this program's schema.

        Args:
            accept_older: take it also when it is an older copy, or when there was one and there is none.
        """
        url = ledger_url(where)
        path = ledger_path(url)
        thread = ThreadPoolExecutor(1, thread_name_prefix="gotsurge-ledger-writer")
        opening = thread.submit(_open, url, path, migrations, clock, accept_older)
        try:
            opened = await asyncio.shield(asyncio.wrap_future(opening))
        except BaseException:
            opening.add_done_callback(_close_again)  # a thread cannot be cancelled: it may open all the same
            thread.shutdown(wait=False)
            raise
        writer = Writer(opened.connection, str(path), thread, keeper=opened.keeper)
        return cls(path, opened.real, clock, opened.engine, writer)

    @classmethod
    async def look(cls, where: str | Path, clock: Clock) -> Self:
        """Open a ledger that exists, to look at it: nothing is written, and it need not be possible.

        Only an older version is brought to this program's schema first.
        """
        path = ledger_path(ledger_url(where))
        engine = await asyncio.to_thread(_look, path, clock)
        return cls(path, path.resolve(), clock, engine, None)

    def now(self) -> int:
        """The clock's time, as it is stored."""
        return to_microseconds(self.clock())

    async def write(self, job: Job[T], *, after: Callable[[], None] | None = None) -> T:
        """Run a job on the writer; see `Writer.run`."""
        return await self._writing(after).run(job, after=after)

    async def request(self, kind: Kind[A, T], request: A) -> T:
        """Have the writer do a request together with others of its kind; see `Writer.request`."""
        return await self._writing().request(kind, request)

    def _writing(self, after: Callable[[], None] | None = None) -> Writer:
        if self._writer is None:
            if after is not None:
                after()
            raise LedgerUnusable("is only looked at; open it to write", path=self.path)
        return self._writer

    async def read(self, ask: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function that only reads, on a connection of its own: it sees all that was durable before."""
        if self._closing is not None:
            raise LedgerClosed("is closed", path=self.path)
        reading = asyncio.get_running_loop().run_in_executor(
            self._readers, self._read, lambda connection: ask(connection, *args, **kwargs)
        )
        self._reads.add(reading)
        reading.add_done_callback(self._forget)
        # It ends in its own time when the caller is cancelled, and `close` waits for that.
        return await asyncio.shield(reading)

    def _read(self, ask: Callable[[Connection], T]) -> T:
        with translated(self.path), self._engine.connect() as connection, naming_rows(connection, self.path):
            return ask(connection)

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
            if self._writer is not None:
                await self._writer.close()
            if self._reads:
                await asyncio.wait(self._reads)
        finally:
            self._readers.shutdown()
            with translated(self.path):
                self._engine.dispose()


@frozen
class _Opened:
    real: Path
    engine: Engine
    connection: Connection
    keeper: Keeper

    def close(self) -> None:
        self.connection.close()
        self.engine.dispose()
        self.keeper.close()


def _open(url: URL, path: Path, migrations: Sequence[Migration], clock: Clock, accept_older: bool) -> _Opened:
    refuse_unwritable(path)
    keeper = Keeper(path)
    if not accept_older:
        keeper.refuse_loss()
    real = make_file(path)
    with translated(path), ExitStack() as undo:
        engine = make_engine(url)
        undo.callback(engine.dispose)
        connection = writer_connection(engine)
        undo.callback(connection.close)
        with connection.begin():
            prepare(connection, str(path), migrations)
            if not accept_older:
                keeper.refuse_older(identity_of(connection))
            kept = keeper.kept()
            identity = identified(connection, None if kept is None else kept.id)
        driver: Any = connection.connection.driver_connection
        now = to_microseconds(clock())
        if look_over(driver, str(path), now):
            with connection.begin():
                remember(connection, CHECKED_AT, now)
        keeper.keep_for(identity)
        undo.pop_all()
    return _Opened(real, engine, connection, keeper)


def _look(path: Path, clock: Clock) -> Engine:
    with translated(path):
        if not path.exists():
            raise LedgerUnusable("does not exist", path=str(path))
        engine = read_only_engine(path)
        try:
            with engine.connect() as connection:
                older = version_of(connection, str(path), 1 + len(MIGRATIONS)) <= len(MIGRATIONS)
            if older and not is_writable(path):
                raise LedgerUnusable(
                    "is of an older version, and cannot be brought up to date where it is: look at a copy",
                    path=str(path),
                )
            if older:
                _open(ledger_url(path), path, MIGRATIONS, clock, True).close()
        except BaseException:
            engine.dispose()
            raise
    return engine


def _close_again(opening: "Future[_Opened]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
