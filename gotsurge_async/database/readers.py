"""The threads that read from a database."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Concatenate, ParamSpec, TypeVar

from gotsurge_async.database import Database
from gotsurge_async.database.errors import Trouble
from gotsurge_async.database.writer import Backend

P = ParamSpec("P")
T = TypeVar("T")

READERS = 4
"""The most threads that read at the same time."""


class Readers:
    """Reads at the same time, over connections; ``keep``: for further reads too, else each opens the file anew."""

    def __init__(self, backend: Backend, *, name: str, keep: bool) -> None:
        self._backend = backend
        self._keep = keep
        self._idle: list[Database] = []
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix=f"gotsurge-{name}-reader")
        self._reads: set[asyncio.Future[Any]] = set()
        self._closing = False

    async def read(self, ask: Callable[Concatenate[Database, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function that only reads; all its statements see the same moment."""
        if self._closing:
            raise self._backend.failure(Trouble.CLOSED, "is closed")
        loop, here = asyncio.get_running_loop(), copy_context()
        reading = loop.run_in_executor(self._threads, lambda: here.run(self._read, lambda db: ask(db, *args, **kwargs)))
        self._reads.add(reading)
        reading.add_done_callback(self._forget)
        # It ends in its own time when the caller is cancelled, and `close` waits for that.
        return await asyncio.shield(reading)

    def _read(self, ask: Callable[[Database], T]) -> T:
        db: Database | None = None
        try:
            db = self._idle.pop() if self._idle else None
            if db is None or not db.alive():
                db = self._backend.reading()
            db.begin(writing=False)
            answer = ask(db)
            db.commit()
        except BaseException as error:
            meant = self._backend.translate(error)
            if db is not None:
                with suppress(Exception):
                    meant = self._backend.translate_read(db, error)
                with suppress(Exception):
                    db.close()
            if meant is None or meant is error:
                raise
            raise meant from error
        if self._keep:
            self._idle.append(db)
        else:
            db.close()
        return answer

    def _forget(self, reading: "asyncio.Future[Any]") -> None:
        self._reads.discard(reading)
        if not reading.cancelled():
            reading.exception()  # retrieved, also when the caller has gone

    async def close(self) -> None:
        """Wait for the reads under way, and close every connection."""
        self._closing = True
        try:
            if self._reads:
                await asyncio.wait(self._reads)
            while self._idle:
                self._idle.pop().close()
        finally:
            self._threads.shutdown()
