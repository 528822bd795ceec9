"""An open ledger file: the connections to it, the one writer, the locks beside it, and the clock."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from .dialect import ledger_path, ledger_url, make_engine, make_file, translated, writer_connection
from .errors import LedgerClosed
from .holder import RunLocks
from .schema import MIGRATIONS, Migration, prepare
from .times import Clock, to_microseconds
from .writer import Job, Kind, Writer

A = TypeVar("A")
T = TypeVar("T")


class Store:
    """What `Ledger` and its runs share."""

    def __init__(self, path: Path, clock: Clock, engine: AsyncEngine, connection: AsyncConnection) -> None:
        self.path: str = str(path)
        self.locks: RunLocks = RunLocks(path)
        self.clock = clock
        self._engine = engine
        self._connection = connection
        self._writer = Writer(connection, self.path)
        self._reads: set[asyncio.Task[Any]] = set()
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, where: str | Path, clock: Clock, migrations: Sequence[Migration] = MIGRATIONS) -> Self:
        """Open the file, make it if it is absent, and bring it to this program's schema."""
        url = ledger_url(where)
        path = ledger_path(url)
        make_file(path)
        with translated(path):
            engine = make_engine(url)
            try:
                connection = await writer_connection(engine)
                try:
                    async with connection.begin():
                        await connection.run_sync(prepare, str(path), migrations)
                except BaseException:
                    await connection.close()
                    raise
            except BaseException:
                await engine.dispose()
                raise
            return cls(path, clock, engine, connection)

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
        # A task of its own, which ends in its own time when the caller is cancelled: cut off in the middle,
        # a connection is lost, and with it a thread.
        reading = asyncio.create_task(self._read(job), name="gotsurge-ledger-read")
        self._reads.add(reading)
        reading.add_done_callback(self._forget)
        return await asyncio.shield(reading)

    async def _read(self, job: Callable[[Connection], T]) -> T:
        with translated(self.path):
            async with self._engine.connect() as connection:
                return await connection.run_sync(job)

    def _forget(self, reading: "asyncio.Task[Any]") -> None:
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
            with translated(self.path):
                try:
                    await self._connection.close()
                finally:
                    await self._engine.dispose()
