"""Hands changes on: each once for each acknowledgement, in the order of its task, however often that takes.

A change is acknowledged when its handler has returned. A handler that raises, or does not return in time, gets the same
change again, later and later; changes of other tasks do not wait for it. A process that is killed in the middle hands
the change on again when it is back: a handler may see a change twice, and never misses one.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from datetime import timedelta

from gotsurge_async.calls.retry import backoff
from gotsurge_async.cancellation import uninterrupted
from gotsurge_async.clock import Clock, SystemClock, sleep_or
from gotsurge_async.config import RetryPolicy
from gotsurge_async.webhooks.book import Book, Change
from gotsurge_async.webhooks.store import StoreError

log: logging.Logger = logging.getLogger(__name__)

OnStatus = Callable[[Change], Awaitable[object]]

TRIES = 12
"""How often a change is handed on in vain until it is dead; about an hour."""
HANDLER_SECONDS = 60.0
"""How long a handler may take."""
AT_ONCE = 20
"""Handlers that run at the same time, each for another task."""
GRACE_SECONDS = 10.0
"""How long a handler may still take when the process ends; then its change is handed on again by the next one."""
CANCEL_SECONDS = 2.0
"""How long one may take that was cancelled then; after that it is left alone, for it may never end."""
LEASE = timedelta(seconds=15)
"""How long a change is kept for a process that may have been killed."""
POLL = 1.0
"""Seconds after which it is looked for changes that are due again, or that another process noted."""
_AGAIN = RetryPolicy(base=1.0, cap=600.0)


class Worker:
    """Hands the changes of a book to a handler, for `Follower`.

    Args:
        accounts: whose changes.
        handler_seconds: how long it may take.
    """

    def __init__(
        self,
        book: Book,
        on_status: OnStatus,
        *,
        accounts: Collection[str],
        clock: Clock,
        handler_seconds: float = HANDLER_SECONDS,
    ) -> None:
        self.waiting: asyncio.Event = asyncio.Event()
        """Set when there may be changes."""
        self._book = book
        self._on_status = on_status
        self._accounts = accounts
        self._clock = clock
        self._seconds = handler_seconds
        self._running: set[asyncio.Task[None]] = set()

    async def work(self) -> None:
        """Hand changes on until cancelled: then no other is begun, and those under way end."""
        try:
            while True:
                room = AT_ONCE - len(self._running)
                for change in await self._book.waiting(room, accounts=self._accounts, lease=LEASE):
                    handing = asyncio.create_task(self._hand(change), name=f"gotsurge change {change.number}")
                    self._running.add(handing)
                    handing.add_done_callback(self._ended)
                await sleep_or(self.waiting, self._clock, POLL)
                self.waiting.clear()
        finally:
            await uninterrupted(self._end())

    async def _end(self) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=GRACE_SECONDS)
        for handing in self._running:
            handing.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=CANCEL_SECONDS)
        if self._running:
            names = ", ".join(sorted(each.get_name() for each in self._running))
            log.error("handlers did not end when they were cancelled, and are left alone: %s", names)

    def _ended(self, handing: asyncio.Task[None]) -> None:
        self._running.discard(handing)
        self.waiting.set()  # the next change of the same task

    async def _hand(self, change: Change) -> None:
        why, of_the_handler = "", True
        try:
            async with asyncio.timeout(self._seconds):
                await self._on_status(change)
        except TimeoutError:
            why = f"the handler did not return within {self._seconds:g} s"
        except asyncio.CancelledError:
            why, of_the_handler = "the handler was cancelled", False
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            log.warning("change %d of task %s: the handler failed", change.number, change.task_id, exc_info=True)
        try:
            await self._note(change, why, of_the_handler)
        except StoreError as error:
            # It is in our hands until the process ends, or the next one takes it up.
            log.error("change %d: what became of it could not be noted: %s", change.number, error)  # noqa: TRY400

    async def _note(self, change: Change, why: str, of_the_handler: bool) -> None:
        if not why:
            await self._book.acknowledge(change)
        elif change.attempts + 1 >= TRIES and of_the_handler:
            log.error("change %d of task %s is dead after %d tries: %s", change.number, change.task_id, TRIES, why)
            await self._book.dead(change, why)
        else:
            wait = backoff(_AGAIN, change.attempts + 1, 1.0)
            await self._book.failed(change, why, self._clock.now() + timedelta(seconds=wait))


async def changes(book: Book, *, clock: Clock | None = None) -> AsyncIterator[Change]:
    """The changes of a book as they arrive, without end; each is acknowledged when the next one is asked for.

    One that the loop was left with is handed on again.
    """
    clock = clock or SystemClock()
    while True:
        for change in await book.waiting(1, lease=LEASE):
            try:
                yield change
            except GeneratorExit:
                await book.failed(change, "the loop was left with it", clock.now())
                raise
            await book.acknowledge(change)
            break
        else:
            await clock.sleep(POLL)
