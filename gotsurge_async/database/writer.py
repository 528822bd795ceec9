"""The one thread that writes to a database, with group commit.

Jobs queue up while a commit is on its way; then all waiting jobs run in one transaction, with one commit for all.
A job that comes alone is committed immediately. Callers that were just answered get a few turns of the event loop to
ask again, or they would always be served by every other transaction. Requests of one kind share their statements.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from copy import copy
from itertools import chain
from typing import Any, ClassVar, Generic, TypeVar

from msgspec import Struct, structs

from gotsurge_async.clock import Lasting
from gotsurge_async.database import Database, Moved, Place
from gotsurge_async.database.errors import Advice, Trouble, first_line, meaning_of, wrote_nothing
from gotsurge_async.errors import Coded

A = TypeVar("A")
T = TypeVar("T")
E = TypeVar("E", bound=Exception)
Job = Callable[[Database], T]
"""Work on the writer's connection. It may run again after a rollback, so it must not keep state of its own."""

Kind = Callable[[Database, Sequence[A]], Sequence[T]]
"""Does many requests of one kind together, and answers each in its place; it raises if it cannot do all of them."""

TOGETHER = 1024
"""The most jobs of one transaction."""
QUIET_TURNS = 7
"""Turns of the event loop without a new job after which a transaction begins: as many as it takes from the answer of
one job to the caller's next one, through the tasks between them."""
ENOUGH = 24
"""Waiting jobs that begin a transaction immediately: the event loop prepares the next ones during their commit."""
TRIES = 20
"""Attempts for a job whose transaction conflicts with another process's write."""


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


class Watcher:
    """Takes part in every transaction of a writer, in the writer's thread."""

    def before_commit(self, db: Database) -> None:
        """Read the data that `after_commit` needs, or raise to undo the transaction."""

    def after_commit(self) -> None:
        """Act after the transaction has become durable."""

    def close(self) -> None:
        """Stop when the writer is closed."""


class _Ticket(Struct, Generic[A, T], eq=False):
    kind: Kind[A, T]
    request: A
    future: "asyncio.Future[T]"
    after: Callable[[], None] | None


class _End(Struct, frozen=True, kw_only=True):
    """The result of a transaction.

    Attributes:
        answers: the answer of each job, when it is durable.
        spoiled: whether one of several jobs failed, and all were undone.
        error: the reason why all were refused.
        fatal: the error after which the connection cannot be used.
        broken: an unexpected error, after which the writer ends.
    """

    answers: Sequence[Any] = ()
    spoiled: bool = False
    error: Exception | None = None
    fatal: Exception | None = None
    broken: BaseException | None = None


class Writer:
    """Runs jobs in transactions, and answers each when its work is durable.

    Args:
        thread: the one thread in which it works, which it ends.
        db: its connection, which it closes: when that is lost, every later job is refused. Unless given, it opens
            connections, and replaces one that is lost.
        together: see `TOGETHER`.
        patience: the seconds after which a request is refused while the disk stands still. A job waits without limit.
    """

    def __init__(
        self,
        backend: Backend,
        thread: ThreadPoolExecutor,
        *,
        name: str,
        db: Database | None = None,
        watcher: Watcher | None = None,
        together: int = TOGETHER,
        patience: float | None = None,
    ) -> None:
        self._backend = backend
        self._thread = thread
        self._db = db
        self._replaces = db is None
        self._watcher = watcher or Watcher()
        self._together = together
        self._enough = min(ENOUGH, together)
        self._patience = patience
        self._waiting: list[_Ticket[Any, Any]] = []
        self._parts: deque[Sequence[_Ticket[Any, Any]]] = deque()  # of a batch that a job spoiled
        self._batch: Sequence[_Ticket[Any, Any]] | None = None  # in the thread
        self._is_idle = True
        self._last = 0  # jobs that there were when the last transaction ended
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False
        self._fatal: Exception | None = None
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._task = self._loop.create_task(self._live(), name=f"gotsurge-{name}-writer")

    async def run(self, job: Job[T], *, after: Callable[[], None] | None = None) -> T:
        """Run a job in a transaction; see `request`."""
        return await self.begin(job, after=after)

    def begin(self, job: Job[T], *, after: Callable[[], None] | None = None) -> "asyncio.Future[T]":
        """Begin to `run` a job, and return a future for its answer."""
        return self._begin(_one_by_one, job, after)

    async def request(self, kind: Kind[A, T], request: A, *, after: Callable[[], None] | None = None) -> T:
        """Run a request in a transaction, with others; returns its answer when that is durable.

        Requests of several callers at the same time happen in no particular order. A request that raises is undone,
        alone. Cancelling the caller does not withdraw it: it may still commit, whole or not at all. ``after`` is called
        when it is decided either way, even then. Raises what `Backend.failure` makes, where the database fails, is
        busy, or the writer is closing.
        """
        return await self._begin(kind, request, after)

    def lasting(self, kind: Kind[A, T], request: A, *, after: Callable[[], None] | None = None) -> Lasting[T]:
        """Run a request as `request` does, but a caller that is cancelled waits until the result is decided."""
        future: Lasting[T] = Lasting(loop=self._loop)
        self._begin(kind, request, after, future)
        return future

    def _begin(
        self,
        kind: Kind[A, T],
        request: A,
        after: Callable[[], None] | None,
        future: "asyncio.Future[T] | None" = None,
    ) -> "asyncio.Future[T]":
        if self._closing or self._fatal is not None:
            if after is not None:
                after()
            self._refuse_if_over()
        future = future or self._loop.create_future()
        self._waiting.append(_Ticket(kind, request, future, after))
        if self._is_idle:
            self._is_idle = False
            self._loop.call_soon(self._next)  # when all of this turn have come
        return future

    async def read(self, ask: Callable[[Database], T]) -> T:
        """Run a function that reads over the writer's connection, between two transactions; it sees one moment."""
        self._refuse_if_over()
        end = await self._in_thread(self._do, [_Ticket(_one_by_one, ask, self._loop.create_future(), None)], False)
        if end.error is not None:
            raise end.error
        answer: T = end.answers[0]
        return answer

    async def close(self) -> None:
        """Finish the waiting jobs, then stop, and close the connection."""
        self._closing = True
        if self._is_idle:
            self._next()
        try:
            await asyncio.shield(self._task)
        finally:
            await self._in_thread(self._close)
            self._thread.shutdown()

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
        self._watcher.close()

    def _in_thread(self, do: Callable[..., T], *arguments: Any) -> "asyncio.Future[T]":
        here = copy_context()  # it has the zone in which people are shown times
        return self._loop.run_in_executor(self._thread, lambda: here.run(do, *arguments))

    def _refuse_if_over(self) -> None:
        if self._fatal is not None:
            raise _twin(self._fatal)
        if self._closing:
            raise self._backend.failure(Trouble.CLOSED, "is closed")

    # --- in the event loop ------------------------------------------------------------------------------------------
    # Plain calls, as a task and its futures would cost a lone job as much as its transaction.
    async def _live(self) -> None:
        """Wait until the writer is closed. If that is cancelled, as when the event loop ends, refuse all waiters."""
        try:
            await self._ended
        finally:
            self._closing = True
            if self._timer is not None:
                self._timer.cancel()
            if self._batch is not None:  # it was never committed, or nobody knows
                why = Coded("was closed in the middle of a write; open it again", "E528")
                self._refuse(self._batch, self._backend.failure(Trouble.UNSURE, why))
            self._batch = None
            closed = Coded("was closed before the change was written", "E528")
            self._refuse_all(self._backend.failure(Trouble.CLOSED, closed))

    def _next(self) -> None:
        """Begin the next transaction, if there is work."""
        if self._fatal is not None:
            self._refuse_all(self._fatal)
        self._is_idle = False
        if self._parts:
            self._start(self._parts.popleft(), alone=True)
        elif len(self._waiting) == self._last == 1:  # whoever asks one by one would wait in vain
            self._start_all()
        elif self._waiting:
            self._gather(0, 0)
        else:
            self._is_idle = True
            if self._closing and not self._ended.done():
                self._ended.set_result(None)

    def _gather(self, seen: int, quiet: int) -> None:
        """Begin a transaction when no new job has come for a while, or when enough wait."""
        if self._closing and not self._waiting:  # the writer was stopped
            return
        number = len(self._waiting)
        quiet = quiet + 1 if number == seen else 0
        if quiet == QUIET_TURNS or number >= self._enough:
            self._start_all()
        else:
            self._loop.call_soon(self._gather, number, quiet)

    def _start_all(self) -> None:
        batch = self._waiting[: self._together]
        del self._waiting[: self._together]
        self._start(batch)

    def _start(self, batch: Sequence[_Ticket[Any, Any]], *, alone: bool = False) -> None:
        """Begin one transaction for a whole batch; ``alone``: it was part of a batch that a job spoiled."""
        self._batch = batch
        if self._patience is not None:
            self._timer = self._loop.call_later(self._patience, self._refuse_slow, batch, self._patience)
        try:
            self._thread.submit(copy_context().run, self._do_and_settle, batch, alone)
        except RuntimeError as error:  # it cannot be started, or Python is exiting: nothing was begun
            unusable = self._backend.failure(Trouble.UNUSABLE, str(error))
            self._batch = refused = [*batch]  # the thread may start later: what is queued for it is not this one
            self._loop.call_soon(self._settle, refused, _End(error=unusable, fatal=unusable), alone)

    def _do_and_settle(self, batch: Sequence[_Ticket[Any, Any]], alone: bool) -> None:
        if batch is not self._batch:  # it was refused before the thread began it
            return
        try:
            end = self._do(batch)
        except BaseException as error:
            end = _End(broken=error)
        with suppress(RuntimeError):  # the loop was closed
            self._loop.call_soon_threadsafe(self._settle, batch, end, alone)

    def _settle(self, batch: Sequence[_Ticket[Any, Any]], end: _End, alone: bool) -> None:
        """Answer every ticket of a transaction that has ended, and begin the next one."""
        if batch is not self._batch:  # the writer was stopped
            return
        if end.broken is not None:
            self._ended.set_exception(end.broken)
            return
        self._batch, self._fatal = None, None if self._replaces else end.fatal
        if self._timer is not None:
            self._timer.cancel()
        if not alone:
            self._last = len(batch) + len(self._waiting)
        if end.error is not None:
            self._refuse(batch, end.error)
        if end.spoiled:
            parts = self._divided(batch)  # a single part is the batch, which just failed
            self._parts.extendleft(reversed(parts if len(parts) > 1 else [[ticket] for ticket in batch]))
        for ticket, answer in zip(batch, end.answers, strict=False):
            if ticket.after is not None:
                self._end(ticket)
            if not ticket.future.done():  # else its caller was cancelled
                ticket.future.set_result(answer)
        self._next()

    def _divided(self, batch: Sequence[_Ticket[Any, Any]]) -> list[list[_Ticket[Any, Any]]]:
        """The batches to try after a job spoiled one: each job alone; over a new connection all requests of a kind."""
        parts: dict[Any, list[_Ticket[Any, Any]]] = {}
        for ticket in batch:
            is_job = ticket.kind is _one_by_one or not self._replaces
            parts.setdefault(ticket if is_job else ticket.kind, []).append(ticket)
        return list(parts.values())

    def _refuse_slow(self, batch: Sequence[_Ticket[Any, Any]], patience: float) -> None:
        """While the disk does not answer, refuse waiting and new requests."""
        why = f"the disk did not finish a write within {patience:g} s; try again later"
        slow = self._backend.failure(Trouble.BUSY, Coded(why, "E803"))
        self._refuse((each for each in (*batch, *self._waiting) if each.kind is not _one_by_one), slow)
        self._waiting = [each for each in self._waiting if each.kind is _one_by_one]
        self._timer = self._loop.call_later(patience, self._refuse_slow, batch, patience)

    def _refuse_all(self, error: Exception) -> None:
        """Refuse all waiting jobs."""
        self._refuse([*chain.from_iterable(self._parts), *self._waiting], error)
        self._parts.clear()
        self._waiting.clear()

    def _refuse(self, tickets: Iterable[_Ticket[Any, Any]], error: Exception) -> None:
        for ticket in tickets:
            self._end(ticket)
            if not ticket.future.done():
                # Each caller gets an error of its own: a shared one would gather the tracebacks of all.
                ticket.future.set_exception(_twin(error))

    def _end(self, ticket: _Ticket[Any, Any]) -> None:
        after, ticket.after = ticket.after, None
        if after is not None:
            self._loop.call_soon(after)

    # --- in the thread ----------------------------------------------------------------------------------------------

    def _do(self, batch: Sequence[_Ticket[Any, Any]], writing: bool = True) -> _End:
        end = self._transaction(batch, writing)
        if end.fatal is not None and self._replaces:
            self._disconnect()
        return end

    def _transaction(self, batch: Sequence[_Ticket[Any, Any]], writing: bool) -> _End:
        """Begin a transaction, run its jobs, and commit it, or undo it."""
        for tries in range(TRIES):
            try:
                db = self._connected()
                db.committed.clear()
                db.counted = None
                db.begin(writing=writing)
            except Exception as error:
                return self._give_up(error)
            try:
                answers = _do_all(db, batch)
                self._watcher.before_commit(db)
            except Exception as error:
                meant = self._backend.translate(error)
                is_lost = isinstance(meant, self._backend.unusable)
                if is_lost and not (self._replaces and len(self._divided(batch)) > 1):
                    return self._give_up(error)
                if len(batch) > 1:
                    # One job spoiled it. The others are innocent, and were undone with it: all again, each alone.
                    undone = self._undo()
                    return _End(fatal=meant if is_lost else undone, spoiled=True)
                if not isinstance(error, Moved) or tries == TRIES - 1:
                    return self._give_up(error)
                if (lost := self._undo()) is not None:
                    return _End(error=lost, fatal=lost)
            else:
                return self._commit(db, answers)
        raise AssertionError("the last try returns")

    def _commit(self, db: Database, answers: Sequence[Any]) -> _End:
        try:
            db.commit()
        except Exception as error:
            meaning = meaning_of(error, self._backend.advice)
            text = first_line(error) if meaning is None else meaning.text
            trouble = Trouble.UNUSABLE if wrote_nothing(error) else Trouble.UNSURE
            end = self._give_up(error, self._backend.failure(trouble, text))  # and what follows is not written
            return structs.replace(end, fatal=self._backend.failure(Trouble.UNUSABLE, text))
        for call in db.committed:
            call()
        self._watcher.after_commit()
        return _End(answers=answers)

    def _give_up(self, error: Exception, meant: Exception | None = None) -> _End:
        """Undo the transaction, and refuse all its jobs; after an unusable database all later ones, too."""
        lost = self._undo()
        if isinstance(error, Moved):
            text = "other processes keep changing the same rows; try again"
            meant = self._backend.failure(Trouble.BUSY, Coded(text, "E508"))
        meant = meant or self._backend.translate(error) or error
        if meant is not error:
            meant.__cause__ = error
        return _End(error=meant, fatal=meant if isinstance(meant, self._backend.unusable) else lost)

    def _undo(self) -> Exception | None:
        try:
            if self._db is not None:
                self._db.rollback()
        except Exception as error:
            # The connection itself is lost. Callers get the error that led here; this one bars what follows.
            return self._backend.failure(Trouble.UNUSABLE, Coded(f"lost its connection ({error})", "E509"))
        return None

    def _connected(self) -> Database:
        if self._replaces and self._db is not None and not self._db.alive():
            self._disconnect()
        if self._db is None:
            self._db = self._backend.writing()
            self._db.give_up_when(self._loop.is_closed)
        return self._db

    def _disconnect(self) -> None:
        db, self._db = self._db, None
        with suppress(Exception):  # it is lost
            if db is not None:
                db.close()


def _one_by_one(db: Database, jobs: Sequence[Job[Any]]) -> list[Any]:
    return [job(db) for job in jobs]


def _do_all(db: Database, batch: Sequence[_Ticket[Any, Any]]) -> list[Any]:
    """Run the requests of a batch, kind by kind; returns their answers in the order of the batch."""
    requests = [ticket.request for ticket in batch if ticket.kind is batch[0].kind]
    if len(requests) == len(batch):
        return list(batch[0].kind(db, requests))
    kinds: dict[Kind[Any, Any], list[int]] = {}
    for number, ticket in enumerate(batch):
        kinds.setdefault(ticket.kind, []).append(number)
    answers: list[Any] = [None] * len(batch)
    for kind, numbers in kinds.items():
        done = kind(db, [batch[number].request for number in numbers])
        for number, answer in zip(numbers, done, strict=True):
            answers[number] = answer
    return answers


def _twin(error: E) -> E:
    twin = copy(error)
    twin.__cause__ = error.__cause__
    return twin
