"""A database for one purpose, and the threads that read from it."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar

from gotsurge_async.database import Database, Place
from gotsurge_async.database.errors import Advice, Trouble, meaning_of

P = ParamSpec("P")
T = TypeVar("T")

READERS = 4
"""The most threads that read at the same time."""


class Backend(ABC):
    """A database for one purpose: opens its connections, and translates its errors."""

    advice: ClassVar[Advice]
    unusable: ClassVar[type[Exception]]
    """The error after which nothing can be written over the same connection."""

    def __init__(self, place: Place) -> None:
        self.place = place

    @abstractmethod
    def writing(self) -> Database:
        """Open a connection that writes."""

    @abstractmethod
    def reading(self) -> Database:
        """Open a connection that only reads."""

    @abstractmethod
    def failure(self, trouble: Trouble, text: str) -> Exception:
        """Make the error that callers get."""

    def translate(self, error: BaseException) -> Exception | None:
        """The error that callers get in place of another one; None if the database did not raise it."""
        meaning = meaning_of(error, self.advice)
        return None if meaning is None else self.failure(*meaning)

    def translate_read(self, db: Database, error: BaseException) -> Exception | None:
        """The error for callers of a read, for whose cause the connection may be searched."""
        return self.translate(error)


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
