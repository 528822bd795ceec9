"""A run that this process holds: its properties, and how its reads and writes reach the database."""

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import suppress
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar

from msgspec import structs

from gotsurge_async.database import Database
from gotsurge_async.ledger.errors import LedgerClosed, LedgerError
from gotsurge_async.ledger.locks import RunLock
from gotsurge_async.ledger.sql import pages, runs
from gotsurge_async.ledger.sql.store import Store
from gotsurge_async.ledger.states import Counts, OrderRow, OrderState, RunInfo, RunState

P = ParamSpec("P")
T = TypeVar("T")


class _Reader(Protocol):
    async def _read(self, question: Callable[[Database], T]) -> T: ...


R = TypeVar("R", bound=_Reader)
H = TypeVar("H", bound="HeldRun")


def reads(question: Callable[Concatenate[R, Database, P], T]) -> Callable[Concatenate[R, P], Coroutine[Any, Any, T]]:
    """Make a method from a function that reads the database: a reader's thread runs it."""

    @wraps(question)
    async def method(self: R, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._read(lambda db: question(self, db, *args, **kwargs))

    _hide(method, "db")
    return method


def writes(mark: Callable[Concatenate[H, Database, int, P], T]) -> Callable[Concatenate[H, P], Coroutine[Any, Any, T]]:
    """Make a method from a function that writes: the writer calls it with the time, fenced by the epoch."""

    @wraps(mark)
    async def method(self: H, /, *args: P.args, **kwargs: P.kwargs) -> T:
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


class HeldRun:
    """The base of `Run`, and of the classes with parts of its methods."""

    def __init__(self, store: Store, info: RunInfo, lock: RunLock) -> None:
        self.info: RunInfo = info
        """The run as it was when it was begun or resumed, but with its present option `UNDO`."""
        self._store = store
        self._lock = lock
        self._held = runs.held_as(info, store.tasks)
        lock.keep()
        self._loading = info.state is RunState.LOADING

    @property
    def id(self) -> str:
        """The run's id: the UTC time of its beginning and four characters, such as ``20261124T233800-k3f9``."""
        return self.info.id

    @property
    def epoch(self) -> int:
        """The epoch under which this process holds the run: another process that takes the run raises it."""
        return self._held.epoch

    @property
    def path(self) -> str:
        """The ledger's file."""
        return self._store.path

    def settle_after(self, seconds: float) -> None:
        """Set how long a request of this process that is not answered may act: `Limits.settle`."""
        self._held = structs.replace(self._held, settle=int(seconds * 1_000_000))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Write what waits to be written, and let other processes have the run."""
        if not self._lock.held:
            return
        # The names are for people; the lock is what counts, and it is free.
        with suppress(LedgerError):
            await self._store.write(self._leave, after=self._lock.release)

    def _leave(self, db: Database) -> object:
        return db.change("leave_run", id=self.id, epoch=self._held.epoch)

    async def counts(self) -> Counts:
        """The number of orders in each state."""
        run, loading = self._held, self._loading
        return await self._read(lambda db: runs.counts(db, run.number, loading=loading, first=run.first, last=run.last))

    def rows(self, states: Iterable[OrderState] | None = None, *, batch: int = 1000) -> AsyncIterator[OrderRow]:
        """The orders in some states (None: in all), in their order; about ``batch`` orders are read at a time."""
        self._check()
        held = self._held
        return pages.whole_rows(self._store, self.id, states, batch, first=held.first, last=held.last)

    async def _read(self, question: Callable[[Database], T]) -> T:
        self._check()
        return await self._store.read(question)

    async def _write(self, job: Callable[[Database], T], *, after: Callable[[], None] | None = None) -> T:
        """Run a job in the writer's transaction; refused when another process has taken the run over."""

        def fenced(db: Database) -> T:
            runs.fence(db, self._held)
            return job(db)

        self._check()
        return await self._store.write(fenced, after=after)

    def _check_loading(self) -> None:
        self._check()
        if not self._loading:
            why = f"run {self.id} has all its orders already: start another run for more"
            raise LedgerError(why, "E523", path=self._store.path)

    def _check_admitted(self) -> None:
        self._check()
        if self._loading:
            raise LedgerError(f"run {self.id} was not admitted yet", "E523", path=self._store.path)

    def _check(self) -> None:
        if not self._lock.held:
            raise LedgerClosed(f"run {self.id} was closed", path=self._store.path)
