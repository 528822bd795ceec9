"""An open ledger file: the connections to it, the one writer, the locks beside it, and the clock."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

from sqlalchemy import URL, Connection, Engine

from .dialect import ledger_path, ledger_url, make_engine, make_file, translated, writer_connection
from .errors import LedgerClosed
from .holder import RunLocks
from .schema import MIGRATIONS, Migration, prepare
from .times import Clock, to_microseconds
from .writer import Job, Kind, Writer

A = TypeVar("A")
T = TypeVar("T")

READERS = 4
"""Threads that read, at most: as many reads go on at once."""


class Store:
    """What `Ledger` and its runs share."""

    def __init__(
        self, path: Path, real: Path, clock: Clock, engine: Engine, connection: Connection, thread: ThreadPoolExecutor
    ) -> None:
        self.path: str = str(path)
        self.locks: RunLocks = RunLocks(real)
        self.clock = clock
        self._engine = engine
        self._writer = Writer(connection, self.path, thread)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="gotsurge-ledger-reader")
        self._reads: set[asyncio.Future[Any]] = set()
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, where: str | Path, clock: Clock, migrations: Sequence[Migration] = MIGRATIONS) -> Self:
        """Open the file, make it if it is absent, and bring it to this program's schema."""
        url = ledger_url(where)
        path = ledger_path(url)
        thread = ThreadPoolExecutor(1, thread_name_prefix="gotsurge-ledger-writer")
        opening = thread.submit(_open, url, path, migrations)
        try:
            real, engine, connection = await asyncio.shield(asyncio.wrap_future(opening))
        except BaseException:
            opening.add_done_callback(_close_again)  # a thread cannot be cancelled: it may open all the same
            thread.shutdown(wait=False)
            raise
        return cls(path, real, clock, engine, connection, thread)

    def now(self) -> int:
        """The clock's time, as it is stored."""
        return to_microseconds(self.clock())

    async def write(self, job: Job[T], *, after: Callable[[], None] | None = None) -> T:
        """Run a job on the writer; see `Writer.run`."""
        return await self._writer.run(job, after=after)

    async def request(self, kind: Kind[A, T], request: A) -> T:
        """Have the writer do a request together with others of its kind; see `Writer.request`."""
        return await self._writer.request(kind, request)

    async def read(self, job: Callable[[Connection], T]) -> T:
        """Run a job that only reads, on a connection of its own: it sees all that was durable before."""
        if self._closing is not None:
            raise LedgerClosed("is closed", path=self.path)
        reading = asyncio.get_running_loop().run_in_executor(self._readers, self._read, job)
        self._reads.add(reading)
        reading.add_done_callback(self._forget)
        # It ends in its own time when the caller is cancelled, and `close` waits for that.
        return await asyncio.shield(reading)

    def _read(self, job: Callable[[Connection], T]) -> T:
        with translated(self.path), self._engine.connect() as connection:
            return job(connection)

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
            await self._writer.close()
            if self._reads:
                await asyncio.wait(self._reads)
        finally:
            self._readers.shutdown()
            with translated(self.path):
                self._engine.dispose()


def _open(url: URL, path: Path, migrations: Sequence[Migration]) -> tuple[Path, Engine, Connection]:
    real = make_file(path)
    with translated(path):
        engine = make_engine(url)
        try:
            connection = writer_connection(engine)
            try:
                with connection.begin():
                    prepare(connection, str(path), migrations)
            except BaseException:
                connection.close()
                raise
        except BaseException:
            engine.dispose()
            raise
    return real, engine, connection


def _close_again(opening: "Future[tuple[Path, Engine, Connection]]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        _, engine, connection = opening.result()
        connection.close()
        engine.dispose()
