"""Follows orders after they were pushed: reads the tasks of events, sweeps, settles doubts, and hands changes on.

One process at a time follows the accounts of an inbox, however many receive: another one waits until it has ended.

A change is acknowledged when its handler has returned. A handler that raises, or does not return in time, gets the same
change again, later and later; changes of other tasks do not wait for it. The process that follows a killed one hands
the change on again: a handler may see a change twice, and never misses one. One that fails for too long is parked.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from types import TracebackType
from typing import Self

from gotsurge_async.calls.tries import backoff
from gotsurge_async.client import GotSurge
from gotsurge_async.clock import Clock, SystemClock, sleep_or, uninterrupted
from gotsurge_async.config import RetryPolicy
from gotsurge_async.errors import UsageError
from gotsurge_async.ledger import Ledger, LedgerError, RunInfo
from gotsurge_async.models.answers import Task
from gotsurge_async.webhooks.book import AGES, Book, Change, Double, Only
from gotsurge_async.webhooks.book.book import OTHER
from gotsurge_async.webhooks.book.doubles import LIVING
from gotsurge_async.webhooks.book.records import account_of
from gotsurge_async.webhooks.forward import NotDelivered
from gotsurge_async.webhooks.inbox import Inbox
from gotsurge_async.webhooks.reads import READ_RATE, Reads
from gotsurge_async.webhooks.receive import Seldom
from gotsurge_async.webhooks.settle import LedgerNames, Settler
from gotsurge_async.webhooks.store import StoreError

log: logging.Logger = logging.getLogger(__name__)

OnStatus = Callable[[Change], Awaitable[object]]

PARK_AFTER = timedelta(days=3)
"""The time for which a change is tried until it is parked: a long weekend."""
HANDLER_SECONDS = 60.0
"""Seconds that a handler may take."""
AT_ONCE = 20
"""The most handlers that run at the same time, each for another task."""
GRACE_SECONDS = 10.0
"""Seconds that a handler may still take when the process ends; then the next process hands its change on again."""
CANCEL_SECONDS = 2.0
"""Seconds that a handler that was cancelled then may take; afterwards it is left alone, for it may never end."""
LEASE = timedelta(seconds=15)
"""The time for which a change is reserved for a process that may have been killed."""
POLL = 1.0
"""Seconds between two checks for changes that are due again, or that another process noted."""
_AGAIN = RetryPolicy(base=1.0, cap=600.0)
PAUSES = timedelta(hours=3)
"""Far more than the longest pause between two tries: the clocks of two processes may differ."""

KEEP = timedelta(days=90)
"""The time for which the book keeps an order that has ended."""
FORGET_EVERY = 3600.0
"""Seconds between two removals of old orders."""
_RESTART = 1.0
"""Seconds after which a part that failed starts again."""
LOOK_FOR_DOUBLES = 10.0
"""Seconds between two searches for doubles among the orders that are new in the book."""
_LOOK_AT_ALL = 60
"""One in this number of searches covers all orders."""


class Follower:
    """Follows orders, while it is open::

        async with (
            GotSurge(...) as gs,
            Inbox.open("inbox.db") as inbox,
            Book.open("inbox.db") as book,
            Follower(inbox, book, gs, on_status=on_status),
        ):
            ...  # serve the receiver

    The truth is the task: an event makes us read it, and each new entry of its ``statuses[]`` is handed to
    ``on_status``, in order for each task, until it returns without an error. Live tasks with the same name are logged
    once as an error, as a double.

    Args:
        accounts: the client; or a client for each account, by the name that its `Receiver` has. With one client all
            runs of the ledger are its own.
        on_status: handles a change; without it changes wait for `gotsurge_async.webhooks.changes`.
        ledger: its pushed orders are followed from the beginning, even if no event ever comes; and its orders in doubt
            are settled by the tasks that are read.
        read_rate: reads a second, retries included.
        sweep_after: after how many seconds without news a task is read again; unless given, by its status.
        handler_seconds: how long ``on_status`` may take, in seconds.
        keep: how long the book keeps an order, with its history, that is at its end and was not read since, whatever
            its account; None keeps it until the book is deleted.
        park_after: how long a change is tried until it is parked. Only the pauses between its tries count, and no
            time in which the process was down. The later changes of its task wait behind it, and the book keeps its
            order.

    Attributes:
        ready: set while this process follows.

    Raises:
        UsageError: a rate, an age, a ``keep`` or a ``park_after`` that is not positive.
    """

    def __init__(
        self,
        inbox: Inbox,
        book: Book,
        accounts: GotSurge | Mapping[str, GotSurge],
        *,
        on_status: OnStatus | None = None,
        ledger: Ledger | None = None,
        read_rate: float = READ_RATE,
        sweep_after: float | None = None,
        handler_seconds: float = HANDLER_SECONDS,
        keep: timedelta | None = KEEP,
        park_after: timedelta = PARK_AFTER,
        clock: Clock | None = None,
    ) -> None:
        if read_rate <= 0 or (sweep_after is not None and sweep_after <= 0):
            raise UsageError("read_rate and sweep_after must be more than 0", "E903")
        if any(span is not None and span <= timedelta(0) for span in (keep, park_after)):
            raise UsageError("keep and park_after must be more than 0", "E903")
        mine = {"default": accounts} if isinstance(accounts, GotSurge) else dict(accounts)
        self._account_of: Callable[[RunInfo], str] = (
            (lambda _: "default") if isinstance(accounts, GotSurge) else account_of
        )
        self.ready: asyncio.Event = asyncio.Event()
        self._inbox = inbox
        self._keep = keep
        # Who follows other accounts need not wait.
        self._name = f"follow-{hashlib.sha256(repr(sorted(mine)).encode()).hexdigest()[:12]}"
        self._clock = clock or SystemClock()
        self._worker = (
            Worker(
                book,
                on_status,
                accounts=mine,
                clock=self._clock,
                handler_seconds=handler_seconds,
                park_after=park_after,
            )
            if on_status
            else None
        )

        def changed() -> None:
            if self._worker is not None:
                self._worker.waiting.set()

        self._book = book
        self._accounts = mine
        self._ledger = ledger
        self._behind = asyncio.Event()
        self._logged_doubles: set[frozenset[str]] = set()
        self._settler: Settler | None = None
        self._names: LedgerNames | None = None
        self.reads: Reads = Reads(
            inbox,
            book,
            mine,
            rate=read_rate,
            ages=AGES if sweep_after is None else {OTHER: timedelta(seconds=sweep_after)},
            clock=self._clock,
            changed=changed,
            task_read=self._task_read,
            refresh=self._take_in,
        )
        if ledger is not None:
            self._names = LedgerNames(ledger, mine)
            self._settler = Settler(
                ledger, book, mine, self._account_of, self.reads.want, self._clock, self.reads.unread
            )
        self._task: asyncio.Task[None] | None = None
        self._lost: asyncio.Event | None = None

    @property
    def troubles(self) -> Mapping[str, str]:
        """The reasons that prevent reads now, by account."""
        return self.reads.troubles

    async def __aenter__(self) -> Self:
        if self._names is not None:
            self._inbox.learn, self._inbox.is_ours = self._learn, self._names.known
        self._task = asyncio.create_task(self._follow(), name="gotsurge-follow")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._inbox.learn == self._learn:
            self._inbox.learn = self._inbox.is_ours = None
        if self._task is not None:
            self._task.cancel()
            await uninterrupted(asyncio.wait([self._task]))

    async def _task_read(self, account: str, task: Task) -> None:
        try:
            if self._settler is not None:
                await self._settler.task_read(account, task)
        finally:
            if task.current_status in LIVING:
                await self._note_if_behind(account, task)
                await self._log_doubles(await self._book.doubles([task]))

    async def _note_if_behind(self, account: str, task: Task) -> None:
        """Have the ledger's orders added soon if one of them has a name of a task that the book knows from no push."""
        keys = [name for name in (task.tracking_id, task.invoice_number) if name]
        if self._names is None or not keys:
            return
        mine = Only(name=task.id, account=account)
        pushes = [order.run async for order in self._book.orders(mine) if order.run is not None]
        if not pushes and await self._names.known(account, keys):
            self._behind.set()

    async def _look_for_doubles(self) -> None:
        """Search the orders that are new in the book, and now and then all, for doubles, until cancelled."""
        after, looks = 0, 0
        while True:
            if self._behind.is_set():
                self._behind.clear()
                await self._take_in()
            newest = await self._book.newest()
            await self._log_doubles(await self._book.doubles(after=after if looks % _LOOK_AT_ALL else 0))
            after, looks = newest, looks + 1
            await self._clock.sleep(_RESTART)  # one look for all that comes meanwhile
            await sleep_or(self._behind, self._clock, LOOK_FOR_DOUBLES)

    async def _take_in(self) -> None:
        if self._ledger is None:
            return
        try:
            await self._book.take_in(self._ledger, account_of=self._account_of)
        except LedgerError as error:
            log.warning("pushed orders could not be added to the order book: %s", error)

    async def _learn(self) -> None:
        with suppress(StoreError):
            await self._take_in()

    async def _log_doubles(self, found: Iterable[Double]) -> None:
        """Log doubles that were not logged yet, after another check with the ledger's knowledge of their tasks."""
        for seen in self._new_doubles(found):
            await self._take_in()
            for double in self._new_doubles(await self._book.doubles([each.task for each in seen.orders])):
                self._logged_doubles.add(frozenset(double.task_ids))
                log.error("order %s is a double: %s", double.name, double.text())

    def _new_doubles(self, found: Iterable[Double]) -> list[Double]:
        return [
            double
            for double in found
            if frozenset(double.task_ids) not in self._logged_doubles
            and any(each.account in self._accounts for each in double.orders)
        ]

    async def _follow(self) -> None:
        while True:
            try:
                async with self._inbox.alone(self._name) as self._lost:
                    self.ready.set()
                    async with self._parts():
                        await self._lost.wait()
            except StoreError as error:
                log.warning("cannot follow orders now: %s", error)
                await self._clock.sleep(_RESTART)
            finally:
                self.ready.clear()

    @asynccontextmanager
    async def _parts(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            parts: list[Callable[[], Awaitable[None]]] = [self.reads.take_events, self.reads.sweep]
            parts += [self.reads.read] * self.reads.readers
            parts.append(self._look_for_doubles)
            if self._keep is not None:
                parts.append(self._forget)
            if self._settler is not None:
                parts.append(self._settler.look)
            if self._worker is not None:
                parts.append(self._worker.work)
            for part in parts:
                stack.push_async_callback(_ended, asyncio.create_task(self._guarded(part), name="gotsurge-follow"))
            yield

    async def _forget(self) -> None:
        """Remove old orders from the book, until cancelled."""
        while self._keep is not None:
            before, hands_on = self._clock.now() - self._keep, self._worker is not None
            if gone := await self._book.forget(before, accounts=self._accounts, only_handed_on=hands_on):
                log.info("%d orders that ended long ago were removed from the order book", gone)
            await self._clock.sleep(FORGET_EVERY)

    async def _guarded(self, part: Callable[[], Awaitable[None]]) -> None:
        """Run a part until cancelled, and start it again when it fails."""
        while True:
            try:
                await part()
            except StoreError as error:
                log.warning("the inbox or the order book cannot be used now: %s", error)
            except Exception:
                log.exception("following orders failed, and starts again")
            await self._clock.sleep(_RESTART)


async def _ended(part: asyncio.Task[None]) -> None:
    part.cancel()
    await asyncio.wait([part])


# --- handing changes on -----------------------------------------------------------------------------------------------


class Worker:
    """Hands the changes of some accounts of a book to a handler, which may take ``handler_seconds``, for `Follower`."""

    def __init__(
        self,
        book: Book,
        on_status: OnStatus,
        *,
        accounts: Collection[str],
        clock: Clock,
        handler_seconds: float = HANDLER_SECONDS,
        park_after: timedelta = PARK_AFTER,
    ) -> None:
        self.waiting: asyncio.Event = asyncio.Event()
        """Set when there may be changes."""
        self._book = book
        self._on_status = on_status
        self._accounts = accounts
        self._clock = clock
        self._seconds = handler_seconds
        self._park_after = park_after
        self._failures = 0
        self._seldom = Seldom(clock)
        self._running: set[asyncio.Task[None]] = set()

    async def work(self) -> None:
        """Hand changes on until cancelled: then no other change is begun, and those under way end."""
        try:
            newest = False
            while True:
                # While every send fails, try one change a second, the oldest and the newest in turn.
                in_vain = self._failures >= AT_ONCE
                newest = in_vain and not newest
                room = max(0, (1 if in_vain else AT_ONCE) - len(self._running))
                for change in await self._taken(room, newest=newest):
                    handing = asyncio.create_task(self._hand(change), name=f"gotsurge change {change.number}")
                    self._running.add(handing)
                    handing.add_done_callback(self._ended)
                await (self._clock.sleep(POLL) if in_vain else sleep_or(self.waiting, self._clock, POLL))
                self.waiting.clear()
        finally:
            await uninterrupted(self._end())

    async def _taken(self, most: int, *, newest: bool) -> list[Change]:
        """Changes to hand on. While the book cannot be used there are none, and those in hand continue."""
        try:
            return await self._book.waiting(most, accounts=self._accounts, lease=LEASE, newest=newest, pauses=PAUSES)
        except StoreError as error:
            if self._seldom.may(str(error)):
                log.warning("changes cannot be read now, and are handled later: %s", error)
            return []

    async def _end(self) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=GRACE_SECONDS)
        for handing in self._running:
            handing.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=CANCEL_SECONDS)
        if self._running:
            names = ", ".join(sorted(each.get_name() for each in self._running))
            log.error("handlers were cancelled, but are still running: %s", names)

    def _ended(self, handing: asyncio.Task[None]) -> None:
        self._running.discard(handing)
        self.waiting.set()  # the next change of the same task

    async def _hand(self, change: Change) -> None:
        why: str | None = None
        is_ending = False
        try:
            async with asyncio.timeout(self._seconds):
                await self._on_status(change)
        except TimeoutError:
            why = f"the handler did not return within {self._seconds:g} s"
        except asyncio.CancelledError:
            why = "the handler was cancelled"
            task = asyncio.current_task()
            is_ending = task is not None and task.cancelling() > 0  # else the handler has raised it
        except NotDelivered as error:
            why = str(error)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            log.warning("change %d of task %s: the handler failed", change.number, change.task_id, exc_info=True)
        try:
            if is_ending:
                await self._book.put_back(change, self._clock.now() + timedelta(seconds=POLL))
            else:
                self._failures = 0 if why is None else self._failures + 1
                await self._note_until_done(change, why)
        except StoreError as error:
            log.warning("change %d will be handled again when its lease ends: %s", change.number, error)
        finally:
            self._book.let_go(change)

    async def _note_until_done(self, change: Change, why: str | None) -> None:
        """Note the result of a change as soon as the book can be written, because its task waits for that."""
        tries = 0
        while True:
            tries += 1
            try:
                return await self._note(change, why)
            except StoreError as error:
                if tries == 1:
                    log.warning("change %d: the outcome cannot be recorded yet: %s", change.number, error)
            await self._clock.sleep(min(POLL * tries, LEASE.total_seconds()))

    async def _note(self, change: Change, why: str | None) -> None:
        if why is None:
            await self._book.acknowledge(change)
            return
        tries = change.attempts + 1
        if sum(backoff(_AGAIN, each, 1.0) for each in range(1, tries)) >= self._park_after.total_seconds():
            log.error("change %d of task %s is parked after %d tries: %s", change.number, change.task_id, tries, why)
            await self._book.park(change, why)
        else:
            await self._book.failed(change, why, self._clock.now() + timedelta(seconds=backoff(_AGAIN, tries, 1.0)))


async def changes(book: Book, *, clock: Clock | None = None) -> AsyncIterator[Change]:
    """The changes of a book as they arrive, without end; each is acknowledged when the next one is asked for.

    The last change is handed on again if the loop is left before that.
    """
    clock = clock or SystemClock()
    while True:
        for change in await book.waiting(1, lease=LEASE, pauses=PAUSES):
            try:
                yield change
            except GeneratorExit:
                await book.put_back(change, clock.now())
                raise
            await book.acknowledge(change)
            break
        else:
            await clock.sleep(POLL)
