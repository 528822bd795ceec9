"""The one thread that writes to a database, with group commit.

Jobs queue up while a commit is on its way; then all that wait run in one transaction, with one commit for all.
A job that comes alone is committed immediately. Callers that were just answered get a few turns of the event loop to
ask again, or they would always be served by every other transaction. Requests of one kind share their statements.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from copy import copy
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar

from attrs import define
from msgspec import Struct, structs

from gotsurge_async.clock import Lasting
from gotsurge_async.database import Database, Moved, Place
from gotsurge_async.database.errors import Advice, Trouble, first_line, meaning_of, wrote_nothing
from gotsurge_async.errors import Coded

A = TypeVar("A")
P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E", bound=Exception)
Job = Callable[[Database], T]
"""A piece of work on the writer's connection. It may run again, after a rollback, so it keeps nothing of its own."""

Kind = Callable[[Database, Sequence[A]], Sequence[T]]
"""Does many requests of one kind together, and answers each in its place; it raises if it cannot do all of them."""

TOGETHER = 1024
"""Jobs of one transaction, at most."""
QUIET_TURNS = 6
"""Turns of the event loop without a new job after which a transaction begins: as many as it takes from the answer of
one job to the caller's next one, through the tasks between them."""
ENOUGH = 24
"""Waiting jobs that begin a transaction immediately: the event loop prepares the next ones during their commit."""
TRIES = 20
"""Attempts for a job whose transaction conflicts with another process's write."""


class Backend(ABC):
    """A database for one purpose: how its connections are opened, and what its errors mean there."""

    advice: ClassVar[Advice]
    unusable: ClassVar[type[Exception]]
    """The error after which nothing is written over the same connection."""

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
        """The error that callers get."""

    def translate(self, error: BaseException) -> Exception | None:
        """What callers get instead of an error; None if the database did not raise it."""
        meaning = meaning_of(error, self.advice)
        return None if meaning is None else self.failure(*meaning)

    def translate_read(self, db: Database, error: BaseException) -> Exception | None:
        """The same for an error of a read, over whose connection the cause may be looked up."""
        return self.translate(error)


class Watcher:
    """Takes part in every transaction of a writer, in the writer's thread."""

    def before_commit(self, db: Database) -> None:
        """Read what is needed, or raise to undo the transaction."""

    def after_commit(self) -> None:
        """Act on a transaction that is durable."""

    def close(self) -> None:
        """End with the writer."""


@define(eq=False)
class _Ticket(Generic[A, T]):
    kind: Kind[A, T]
    request: A
    future: "asyncio.Future[T]"
    after: Callable[[], None] | None


class _End(Struct, frozen=True, kw_only=True):
    """How a transaction ended.

    Attributes:
        answers: of each job, when it is durable.
        spoiled: whether one of several jobs failed, and all were undone.
        error: why all were refused.
        fatal: the error after which the connection cannot be used.
    """

    answers: Sequence[Any] = ()
    spoiled: bool = False
    error: Exception | None = None
    fatal: Exception | None = None


class Writer:
    """Runs jobs in transactions, and answers each when its work is durable.

    Args:
        thread: the one thread in which it works, which it ends.
        name: of its task.
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
        self._last = 0  # jobs that there were when the last transaction ended
        self._wake = asyncio.Event()
        self._closing = False
        self._fatal: Exception | None = None
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._work(), name=f"gotsurge-{name}-writer")

    async def run(self, job: Job[T], *, after: Callable[[], None] | None = None) -> T:
        """Run a job in a transaction; see `request`."""
        return await self.begin(job, after=after)

    def begin(self, job: Job[T], *, after: Callable[[], None] | None = None) -> "asyncio.Future[T]":
        """Begin to `run` a job, and return a future for its answer."""
        return self._begin(_one_by_one, job, after)

    async def request(self, kind: Kind[A, T], request: A, *, after: Callable[[], None] | None = None) -> T:
        """Have a request done in a transaction, with others; returns its answer when that is durable.

        Requests of several callers at the same time happen in no particular order. A request that raises is undone,
        alone. Cancelling the caller does not call it back: it may still commit, whole or not at all. ``after`` is
        called when it is decided either way, even then.

        Raises:
            Exception: as `Backend.failure` makes it, where the database fails, is busy, or the writer is closing.
        """
        return await self._begin(kind, request, after)

    def lasting(self, kind: Kind[A, T], request: A) -> Lasting[T]:
        """As `request`, but a caller that is cancelled waits until it is decided."""
        future: Lasting[T] = Lasting(loop=self._loop)
        self._begin(kind, request, None, future)
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
        self._wake.set()
        return future

    async def read(self, ask: Callable[[Database], T]) -> T:
        """Ask something over the writer's connection, between two transactions; it sees one moment."""
        self._refuse_if_over()
        end = await self._in_thread(self._do, [_Ticket(_one_by_one, ask, self._loop.create_future(), None)], False)
        if end.error is not None:
            raise end.error
        answer: T = end.answers[0]
        return answer

    async def close(self) -> None:
        """Finish what waits, then stop, and close the connection."""
        self._closing = True
        self._wake.set()
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

    async def _work(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    if self._last != 1 or len(self._waiting) > 1:  # else whoever asks one by one would wait in vain
                        await self._all_came()
                    batch = self._waiting[: self._together]
                    del self._waiting[: self._together]
                    await self._answer(batch)
                if self._closing:
                    return
        finally:
            self._closing = True
            closed = self._backend.failure(Trouble.CLOSED, Coded("was closed before this was written", "E528"))
            self._refuse(self._waiting, closed)
            self._waiting.clear()

    async def _all_came(self) -> None:
        """Return when no new job came for a while, or when enough wait."""
        seen, quiet = len(self._waiting), 0
        while quiet < QUIET_TURNS and seen < self._enough:
            await asyncio.sleep(0)
            quiet = quiet + 1 if len(self._waiting) == seen else 0
            seen = len(self._waiting)

    async def _answer(self, batch: Sequence[_Ticket[Any, Any]]) -> None:
        """Run a batch, and answer every ticket of it, whatever happens."""
        try:
            if not await self._attempt(batch):
                together, parts = self._last, self._parts(batch)  # a single part is the batch, which just failed
                for part in parts:
                    if len(parts) == 1 or not await self._attempt(part):
                        for ticket in part:
                            await self._attempt([ticket])
                self._last = together  # not the number of those that were tried alone
        except BaseException:
            # The writer was cancelled, or is broken: its transaction was never committed, or nobody knows.
            why = Coded("the writer was stopped in the middle; open it again", "E528")
            self._refuse(batch, self._backend.failure(Trouble.UNSURE, why))
            raise

    def _parts(self, batch: Sequence[_Ticket[Any, Any]]) -> list[list[_Ticket[Any, Any]]]:
        """What is tried alone after a job spoiled a batch: each job; over a new connection all requests of a kind."""
        parts: dict[Any, list[_Ticket[Any, Any]]] = {}
        for ticket in batch:
            is_job = ticket.kind is _one_by_one or not self._replaces
            parts.setdefault(ticket if is_job else ticket.kind, []).append(ticket)
        return list(parts.values())

    async def _attempt(self, batch: Sequence[_Ticket[Any, Any]]) -> bool:
        """One transaction for a whole batch; False when a job spoiled it, and its parts are to be tried alone."""
        if self._fatal is not None:
            self._refuse(batch, self._fatal)
            return True
        doing: asyncio.Future[_End] = self._loop.create_future()
        self._in_thread(self._do_and_settle, batch, doing)
        if self._patience is not None:
            await self._in_time(doing, batch, self._patience)
        return not (await doing).spoiled

    def _do_and_settle(self, batch: Sequence[_Ticket[Any, Any]], doing: "asyncio.Future[_End]") -> None:
        end: _End | BaseException
        try:
            end = self._do(batch)
        except BaseException as error:
            end = error
        with suppress(RuntimeError):  # the loop was closed
            self._loop.call_soon_threadsafe(self._settle, batch, doing, end)

    def _settle(
        self, batch: Sequence[_Ticket[Any, Any]], doing: "asyncio.Future[_End]", end: _End | BaseException
    ) -> None:
        """Answer every ticket of a transaction that has ended, two turns before the writer's task could do it."""
        if doing.done():  # the writer was stopped
            return
        if isinstance(end, BaseException):
            doing.set_exception(end)
            return
        self._fatal = end.fatal
        self._last = len(batch) + len(self._waiting)
        if end.error is not None:
            self._refuse(batch, end.error)
        for ticket, answer in zip(batch, end.answers, strict=False):
            if ticket.after is not None:
                self._end(ticket)
            if not ticket.future.done():  # else its caller was cancelled
                ticket.future.set_result(answer)
        doing.set_result(end)

    async def _in_time(self, doing: "asyncio.Future[Any]", batch: Sequence[_Ticket[Any, Any]], patience: float) -> None:
        """Wait for a transaction. While the disk stands still, refuse the requests that wait, and those that come."""
        while not (await asyncio.wait([doing], timeout=patience))[0]:
            slow = self._backend.failure(Trouble.BUSY, Coded(f"the disk takes longer than {patience:g} s", "E803"))
            self._refuse((each for each in (*batch, *self._waiting) if each.kind is not _one_by_one), slow)
            self._waiting = [each for each in self._waiting if each.kind is _one_by_one]

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
            return structs.replace(end, fatal=None)
        return end

    def _transaction(self, batch: Sequence[_Ticket[Any, Any]], writing: bool) -> _End:
        """Begin, do, commit, or undo."""
        for tries in range(TRIES):
            try:
                db = self._connected()
                db.committed.clear()
                db.begin(writing=writing)
            except Exception as error:
                return self._give_up(error)
            try:
                answers = _do_all(db, batch)
                self._watcher.before_commit(db)
            except Exception as error:
                meant = self._backend.translate(error)
                is_lost = isinstance(meant, self._backend.unusable)
                if is_lost and not (self._replaces and len(self._parts(batch)) > 1):
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
            end = self._give_up(error, self._backend.failure(trouble, text))
            # What follows is not written.
            return structs.replace(end, fatal=self._backend.failure(Trouble.UNUSABLE, text))
        for call in db.committed:
            call()
        self._watcher.after_commit()
        return _End(answers=answers)

    def _give_up(self, error: Exception, meant: Exception | None = None) -> _End:
        """Undo the transaction, and refuse every job of it; after an unusable database every later one, too."""
        lost = self._undo()
        if isinstance(error, Moved):
            text = "other processes kept on changing the same rows; try again"
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
    """Do the requests of a batch, kind by kind; their answers in the order of the batch."""
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
