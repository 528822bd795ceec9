"""The one task that writes.

Jobs queue up while a commit is on its way; then all that have come run in one transaction, with one commit for all.
No timer: a job that comes alone is committed at once, and many that come together share the wait for the disk. Those
who were just answered are given the few turns of the event loop in which they ask again, or they would for ever be
served by every other transaction. Jobs of one kind share their statements, too.

A whole transaction is one visit to the writer's thread, where a driver's every statement would be one otherwise.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from typing import Any, Generic, TypeVar

from attrs import define, frozen

from gotsurge_async.bulk.ledger.errors import LedgerBusy, LedgerClosed, LedgerError, LedgerUnusable
from gotsurge_async.bulk.ledger.upkeep.counter import Identity, Keeper
from gotsurge_async.database import Database, Moved

A = TypeVar("A")
T = TypeVar("T")
E = TypeVar("E", bound=Exception)
Job = Callable[[Database], T]
"""A piece of work on the writer's connection. It may be run again, after a rollback, so it keeps nothing of its own."""

Kind = Callable[[Database, Sequence[A]], Sequence[T]]
"""Does many requests of one kind at once, and answers each in its place; it raises if it cannot do all of them."""

QUEUE_LIMIT = 1024
"""Jobs that may wait; more make their callers wait."""

QUIET_TURNS = 6
"""Turns of the event loop without a new job after which a transaction begins.

An answer passes through three shields and tasks before its caller goes on, and the next job through as many.
"""

TRIES = 20
"""How often a job is tried that another process's write came in between of."""


@define(eq=False)
class _Ticket(Generic[A, T]):
    kind: Kind[A, T]
    request: A
    future: "asyncio.Future[T]"


class Writer:
    """Runs jobs in transactions, and answers each when its work is durable.

    Args:
        db: the writer's own connection, which it closes.
        translate: what an error means for the ledger; None if it is none of the database.
        thread: the one thread in which it works, which it ends.
        keeper: told of the counter after each commit.
        slot: the row of the counter that is raised through it.
        path: for errors.
        limit: see `QUEUE_LIMIT`.
    """

    def __init__(
        self,
        db: Database,
        translate: Callable[[BaseException], LedgerError | None],
        thread: ThreadPoolExecutor,
        *,
        path: str,
        keeper: Keeper | None = None,
        slot: int = 0,
        limit: int = QUEUE_LIMIT,
    ) -> None:
        self._db = db
        self._translate = translate
        self._thread = thread
        self._path = path
        self._keeper = keeper
        self._slot = slot
        self._own = 0
        self._slots = asyncio.Semaphore(limit)
        self._waiting: deque[_Ticket[Any, Any]] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._fatal: LedgerError | None = None
        self._task = asyncio.create_task(self._work(), name="gotsurge-ledger-writer")

    async def run(self, job: Job[T], *, after: Callable[[], None] | None = None) -> T:
        """Run a job in a transaction; see `request`."""
        return await self.request(_one_by_one, job, after=after)

    async def request(self, kind: Kind[A, T], request: A, *, after: Callable[[], None] | None = None) -> T:
        """Have a request done in a transaction, with others; returns its answer when that is durable.

        What several callers ask for at the same time happens in no order that they could rely on. A request that
        raises is undone, alone. Cancelling the caller does not call it back: it may still commit, whole or not at
        all. ``after`` is called when it is decided either way, even then.

        Raises:
            LedgerClosed: the writer is closing.
            LedgerUnusable: the database failed, now or before.
            LedgerBusy: another process kept it locked.
        """
        # The place in the queue is given back when the job is taken up, so a full queue holds callers here.
        try:
            await self._slots.acquire()
            try:
                self._refuse_if_over()
            except BaseException:
                self._slots.release()
                raise
        except BaseException:
            if after is not None:
                after()
            raise
        ticket = _Ticket(kind, request, asyncio.get_running_loop().create_future())
        if after is not None:
            call = after
            ticket.future.add_done_callback(lambda _: call())
        ticket.future.add_done_callback(_heard)
        self._waiting.append(ticket)
        self._wake.set()
        return await asyncio.shield(ticket.future)

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
        self._db.close()
        if self._keeper is not None:
            self._keeper.close()

    async def _in_thread(self, do: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, do, *arguments)

    def _refuse_if_over(self) -> None:
        if self._fatal is not None:
            raise _again(self._fatal)
        if self._closing:
            raise LedgerClosed("is closed", path=self._path)

    async def _work(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    await self._all_came()
                    batch = list(self._waiting)
                    self._waiting.clear()
                    for _ in batch:
                        self._slots.release()
                    await self._answer(batch)
                if self._closing:
                    return
        finally:
            self._closing = True
            for _ in self._waiting:
                self._slots.release()
            _refuse(self._waiting, LedgerClosed("was closed before this was written", path=self._path))
            self._waiting.clear()

    async def _all_came(self) -> None:
        """Return when no new job came for a while."""
        seen = quiet = 0
        while quiet < QUIET_TURNS:
            await asyncio.sleep(0)
            quiet = quiet + 1 if len(self._waiting) == seen else 0
            seen = len(self._waiting)

    async def _answer(self, batch: Sequence[_Ticket[Any, Any]]) -> None:
        """Run a batch, and answer every ticket of it, whatever happens."""
        try:
            if not await self._attempt(batch):
                for ticket in batch:
                    await self._attempt([ticket])
        finally:
            # Only a cancelled writer leaves any: its transaction was never committed, or nobody knows.
            _refuse(
                batch, LedgerUnusable("the writer was stopped in the middle; open the ledger again", path=self._path)
            )

    async def _attempt(self, batch: Sequence[_Ticket[Any, Any]]) -> bool:
        """One transaction for a whole batch; False when a job spoiled it, and each is to be tried alone."""
        if self._fatal is not None:
            _refuse(batch, self._fatal)
            return True
        end = await self._in_thread(self._transaction, batch)
        self._fatal = end.fatal
        if end.spoiled:
            return False
        if end.error is not None:
            _refuse(batch, end.error)
        for ticket, answer in zip(batch, end.answers, strict=False):
            ticket.future.set_result(answer)
        return True

    def _transaction(self, batch: Sequence[_Ticket[Any, Any]]) -> "_End":
        """Begin, do, commit, or undo; in the writer's thread."""
        for tries in range(TRIES):
            self._db.committed.clear()
            try:
                self._db.begin()
            except Exception as error:
                return self._give_up(error)
            try:
                answers = _do_all(self._db, batch)
                counted = self._counted()
            except Exception as error:
                again = isinstance(error, Moved)
                told = self._translate(error)
                if isinstance(told, LedgerUnusable):
                    return self._give_up(error, fatal=True)
                if len(batch) > 1:
                    # One job spoiled it. The others are innocent, and were undone with it: all again, each for itself.
                    return _End(fatal=self._undo(), spoiled=True)
                if not again or tries == TRIES - 1:
                    return self._give_up(error)
                if (lost := self._undo()) is not None:
                    return _End(error=lost, fatal=lost)
            else:
                return self._commit(answers, counted)
        raise AssertionError("the last try returns")

    def _counted(self) -> tuple[int, int] | None:
        """What the ledger counts, and how much of that by us, if we did: to add it all up takes longer."""
        if self._keeper is None:
            return None
        own = next((n for (n,) in self._db.rows("counted_by", slot=self._slot)), 0)
        return (int(self._db.rows("counted")[0][0]), own) if own != self._own else None

    def keep(self, counter: int) -> None:
        """Have it kept what the ledger counts, others' counts included; a job."""
        if self._keeper is not None:
            self._keeper.keep(counter)

    def keep_by_id(self, identity: Identity) -> None:
        """Have the count kept by the ledger's id from now on; a job."""
        if self._keeper is not None:
            self._keeper.keep_by_id(identity)

    def _commit(self, answers: Sequence[Any], counted: tuple[int, int] | None) -> "_End":
        try:
            self._db.commit()
        except Exception as error:
            return self._give_up(error, fatal=True)
        for call in self._db.committed:
            call()
        if self._keeper is not None and counted is not None:
            counter, self._own = counted
            self._keeper.keep(counter, (self._slot, self._own))
        return _End(answers=answers)

    def _give_up(self, error: Exception, *, fatal: bool = False) -> "_End":
        """Undo the transaction; every caller is told of the error, and after a fatal one every later caller too."""
        lost = self._undo()
        told: Exception = self._translate(error) or error
        if isinstance(error, Moved):
            told = LedgerBusy("other processes kept on changing the same rows; try again")
        if isinstance(told, LedgerError) and not told.path:
            told.path = self._path
        if told is not error:
            told.__cause__ = error
        if fatal or isinstance(told, LedgerUnusable):
            lost = told if isinstance(told, LedgerUnusable) else LedgerUnusable(str(told), path=self._path)
        return _End(error=told, fatal=lost)

    def _undo(self) -> LedgerError | None:
        try:
            self._db.rollback()
        except Exception as error:
            # The connection itself is lost. The error that led here is the one to tell; this one bars what follows.
            return LedgerUnusable(f"lost its connection ({error})", path=self._path)
        return None


@frozen(kw_only=True)
class _End:
    """How a transaction ended.

    Attributes:
        answers: of each job, when it is durable.
        spoiled: whether one of several jobs failed, and all were undone.
        error: why all were refused.
        fatal: what every later caller is told.
    """

    answers: Sequence[Any] = ()
    spoiled: bool = False
    error: Exception | None = None
    fatal: LedgerError | None = None


def _heard(future: "asyncio.Future[Any]") -> None:
    """Hear an error, also when the caller has gone."""
    if not future.cancelled():
        future.exception()


def _one_by_one(db: Database, jobs: Sequence[Job[Any]]) -> list[Any]:
    return [job(db) for job in jobs]


def _do_all(db: Database, batch: Sequence[_Ticket[Any, Any]]) -> list[Any]:
    """Do the requests of a batch, kind by kind; their answers in the order of the batch."""
    kinds: dict[Kind[Any, Any], list[int]] = {}
    for number, ticket in enumerate(batch):
        kinds.setdefault(ticket.kind, []).append(number)
    answers: list[Any] = [None] * len(batch)
    for kind, numbers in kinds.items():
        found = kind(db, [batch[number].request for number in numbers])
        for number, answer in zip(numbers, found, strict=True):
            answers[number] = answer
    return answers


def _refuse(tickets: Iterable[_Ticket[Any, Any]], error: Exception) -> None:
    for ticket in tickets:
        if not ticket.future.done():
            # Each caller gets an error of its own: a shared one would gather the tracebacks of all.
            ticket.future.set_exception(_again(error))


def _again(error: E) -> E:
    twin = copy(error)
    twin.__cause__ = error.__cause__
    return twin
