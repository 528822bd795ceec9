"""Reads the tasks that events hint at, and those without news for too long, within a budget.

An event is a hint, and its task is the truth: many events of a task are one read. A read waits until no other call of
its client does. `gotsurge_async.webhooks.lanes` decides the order.
"""

import asyncio
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from itertools import count

from gotsurge_async.api.endpoints import PLATFORM_TASKS_GET, PLATFORM_TASKS_LIST, TASKS_GET
from gotsurge_async.calls.limiter import Turns, yielding
from gotsurge_async.calls.tries import backoff
from gotsurge_async.client import GotSurge
from gotsurge_async.clock import Clock, sleep_or
from gotsurge_async.config import RetryPolicy
from gotsurge_async.errors import (
    Forbidden,
    GotSurgeError,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unauthorized,
    UsageError,
)
from gotsurge_async.models.answers import Task
from gotsurge_async.resources.reading import task_of
from gotsurge_async.webhooks.book import Book
from gotsurge_async.webhooks.book.history import RANK, steps_of
from gotsurge_async.webhooks.inbox import Inbox, Waiting
from gotsurge_async.webhooks.lanes import MOST_EVENTS, MOST_HELD, MOST_OF_A_NAME, Key, Lanes, Wanted
from gotsurge_async.webhooks.store import StoreError

log: logging.Logger = logging.getLogger(__name__)

READ_RATE = 2.0
"""Reads a second, by default."""
READERS = (4, 64)
"""The least and the most reads at the same time: as many as keep the rate if each takes `READ_SECONDS`."""
READ_SECONDS = 0.25
"""Seconds that a read may take, with its commits, before the rate falls: to Singapore and back, for instance."""
PAUSES = (5.0, 30.0, 120.0, 600.0)
"""Seconds until the service is asked again for a task that an event named and the service did not know."""
LAGS = (2.0, 5.0, 10.0, 15.0, 28.0)
"""Seconds until a task is read again that did not show the status of its event: a replica may be late."""
LATEST = timedelta(seconds=sum(LAGS))
"""The age of an event from which no more reads wait for its status."""
ABSENT = timedelta(minutes=10)
"""The time for which an absent task is remembered: a new event of it is then read only after the first pause."""
MOST_ABSENT = 1000
"""The most absent ids that wait for another read."""
POLL = 1.0
"""Seconds between two searches for events that came to another process."""
LOOK_AGAIN = 10.0
"""Seconds between two searches for events that were passed over: numbers of other processes may come late."""
PAGE = 1000
PAGES_AGAIN = 5
"""The pages of one such search: there may be hundreds of thousands of forged events."""
_AGAIN = RetryPolicy(base=1.0, cap=60.0)
_ACCOUNT_AGAIN = RetryPolicy(base=1.0, cap=10.0)
"""The pauses of an account of which two reads in a row have failed: the other accounts have all turns meanwhile."""
_UNREADABLE_TRIES = 5
_REFUSED_TRIES = 3


async def is_platform(gs: GotSurge, *, before_send: Callable[[], Awaitable[None]] | None = None) -> bool:
    """Whether the account is a platform partner's, which reads its organizations' tasks too."""
    query = {"page": 1, "per_page": 1}
    try:
        await gs.session.call(PLATFORM_TASKS_LIST, query=query, before_send=before_send)
    except (Forbidden, NotFound):
        return False
    return True


class Reads:
    """Reads tasks, for `Follower`, at most ``rate`` tries a second, all accounts together.

    Events of accounts without a client are left alone. ``changed`` is called when the book has new changes,
    ``task_read`` with each task that was read, and ``refresh`` before each sweep.
    """

    def __init__(
        self,
        inbox: Inbox,
        book: Book,
        accounts: Mapping[str, GotSurge],
        *,
        rate: float,
        ages: Mapping[str, timedelta],
        clock: Clock,
        changed: Callable[[], None],
        task_read: Callable[[str, Task], Awaitable[None]],
        refresh: Callable[[], Awaitable[None]],
    ) -> None:
        self._turns = Turns(rate, clock)
        self.readers: int = min(max(READERS[0], math.ceil(rate * READ_SECONDS) + 1), READERS[1])
        """How often `read` is to run at the same time."""
        self.troubles: dict[str, str] = {}
        """By account, why its tasks cannot be read now."""
        self._inbox = inbox
        self._book = book
        self._accounts = accounts
        self._ages = ages
        self._clock = clock
        self._changed = changed
        self._task_read = task_read
        self._refresh = refresh
        # Answers of one account may take long: then a reader is left for the others.
        self._lanes = Lanes(self.readers - 1 if len(accounts) > 1 else math.inf)
        self._failures: dict[str, tuple[int, float, str]] = {}
        self._held: set[int] = set()
        self._absent: set[Key] = set()
        self._first_reads: set[Key] = set()
        self._turn = 0
        self._platform: dict[str, bool] = {}
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    # --- what is to be read -----------------------------------------------------------------------------------------

    def want(self, account: str, task_ids: Iterable[str]) -> None:
        """Queue tasks that the book knows."""
        for task_id in task_ids:
            self._lanes.add((account, task_id), self._lanes.known)

    def unread(self, account: str) -> set[str]:
        """The tasks of an account that events name and the book does not know, while they are read or queued."""
        waiting = (*self._lanes.named, *self._lanes.unknown, *self._first_reads)
        return {task_id for whose, task_id in waiting if whose == account}

    async def take_events(self) -> None:
        """Queue the tasks of waiting events, until cancelled."""
        after, again_after, again_at = 0, 0, 0.0
        while True:
            events = await self._inbox.waiting(after=after, limit=PAGE)
            await self._take(events, newest=True)
            if events:
                after = events[-1].id
            if len(events) < PAGE or len(self._held) > MOST_HELD:
                await sleep_or(self._inbox.arrived, self._clock, POLL)
                self._inbox.arrived.clear()
            now = self._clock.monotonic()
            if now >= again_at + LOOK_AGAIN and len(self._held) < MOST_HELD:
                again_at = now
                after = max(0, after - PAGE)
                again_after = await self._take_again(again_after)

    async def _take_again(self, after: int) -> int:
        """Queue some pages of waiting events that had no room before; returns where to continue."""
        for _ in range(PAGES_AGAIN):
            events = await self._inbox.waiting(after=after, limit=PAGE)
            await self._take(events, newest=False)
            if len(events) < PAGE:
                return 0
            after = events[-1].id
        return after

    async def _take(self, events: Sequence[Waiting], *, newest: bool) -> None:
        mine = [event for event in events if event.account in self._accounts and event.id not in self._held]
        keys = {(event.account, event.task_id) for event in mine}
        known = await self._book.known(sorted(keys), since=self._clock.now() - ABSENT) if keys else {}
        strangers = [event for event in mine if not known[event.account, event.task_id]]
        names = await self._inbox.named(strangers) if strangers else {}
        of_names = Counter(wanted.name for wanted in self._lanes.named.values())
        of_no_use: list[int] = []
        for event in mine:
            key = (event.account, event.task_id)
            if known[key] is False:
                if key in self._absent or len(self._absent) < MOST_ABSENT:
                    self._absent.add(key)
                    until = self._clock.monotonic() + PAUSES[0]
                    (self._held.add if self._lanes.add_absent(key, event.id, until) else of_no_use.append)(event.id)
                continue
            name = names.get(event.id)
            if known[key]:
                self._lanes.add(key, self._lanes.known, event.id)
            elif key in self._lanes.named:
                self._lanes.add(key, self._lanes.named, event.id)
            elif name and of_names[name] < MOST_OF_A_NAME:
                of_names[name] += 1
                self._lanes.add(key, self._lanes.named, event.id)
                if key in self._lanes.named:
                    self._lanes.named[key].name = name
            else:
                made_room = self._lanes.add_unknown(key, event.id, self._inbox.sender(*key), newest=newest)
                if made_room is None:
                    continue
                self._held.difference_update(made_room)
            self._held.add(event.id)
        await self._inbox.not_ours(
            of_no_use, "GotSurge did not know the task a moment ago; the task will be read again"
        )

    async def sweep(self) -> None:
        """Queue the tasks without news for too long, until cancelled."""
        every = min(60.0, max(0.5, min(self._ages.values()).total_seconds() / 4))
        while True:
            await self._refresh()
            read = [account for account in self._accounts if account not in self.troubles]
            await self._book.say_reading(read, self._clock.now() + timedelta(seconds=3 * every))
            for key in await self._due(read):
                if key not in self._lanes:
                    self._lanes.add(key, self._lanes.swept)
            await self._clock.sleep(every)

    async def _due(self, readable: Collection[str]) -> list[Key]:
        """Tasks without news for too long; each account that cannot be read now is asked alone."""
        now, waiting = self._clock.now(), {name: len(keys) for name, keys in self._lanes.swept.of_account.items()}
        due: list[Key] = []
        if sum(waiting.get(account, 0) for account in readable) < PAGE:
            due += await self._book.due(now, self._ages, accounts=readable, limit=PAGE)
        for account in self._accounts:
            # All of a page, as the most overdue one may be what can never be read.
            if account not in readable and account not in waiting:
                due += await self._book.due(now, self._ages, accounts=[account], limit=PAGE)
        return due

    # --- reading ----------------------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Read queued tasks one after another, until cancelled."""
        while True:
            if not self._lanes.ready.is_set():
                await sleep_or(self._lanes.ready, self._clock, self._lanes.next_due(self._clock.monotonic()))
            wanted = self._lanes.take(self._clock.monotonic(), self._turn)
            if wanted is None:
                continue
            self._turn += 1
            self._first_reads.update(() if wanted.known else [wanted.key])
            try:
                await self._read(wanted)
            except BaseException:  # it was not concluded: whoever goes on, in this process, reads it
                self._lanes.put_off(wanted, self._clock.monotonic() + POLL)
                raise
            finally:
                self._first_reads.discard(wanted.key)
            self._lanes.done(wanted)

    async def _read(self, wanted: Wanted) -> None:
        account, task_id = wanted.key
        begun = self._clock.monotonic()
        try:
            try:
                await self._turns.take_turn()
                with yielding():
                    task = await self._task(account, task_id)
            except NotFound:
                self._note_answer(account)
                await self._not_found(wanted)
                return
            self._note_answer(account)
            if await self._book.observe(account, task, source="read" if wanted.events else "sweep"):
                self._changed()
            self._first_reads.discard(wanted.key)
            late = await self._late(wanted, task)
            await self._settle(wanted, self._inbox.done, but=late)
            if late:
                wanted.events, wanted.known, wanted.tries = late, True, 0
                self._lanes.put_off(wanted, self._clock.monotonic() + LAGS[wanted.lags])
                wanted.lags += 1
        except GotSurgeError as error:
            await self._failed(wanted, error, begun)
            return
        try:
            await self._task_read(account, task)
        except GotSurgeError as error:
            log.warning("task %s was read, but no order could be settled by it: %s", task_id, error)

    async def _late(self, wanted: Wanted, task: Task) -> list[int]:
        """The new events that claim a later status than the task shows, which must be read again for them."""
        if not wanted.events or wanted.lags >= len(LAGS):
            return []
        shown = {step.status for step in steps_of(task)}
        rank = RANK.get(task.current_status or "", -1)
        claims = await self._inbox.claims(wanted.events[-MOST_EVENTS:], self._clock.now() - LATEST)
        return [event for event, status in claims.items() if status not in shown and RANK.get(status, -1) > rank]

    async def _not_found(self, wanted: Wanted) -> None:
        """Read a task again later if an event waits for it: a service may announce a task before it shows it."""
        await self._book.not_found(*wanted.key)
        if (
            not wanted.events
            or wanted.absences >= len(PAUSES)
            or (wanted.key not in self._absent and len(self._absent) >= MOST_ABSENT)
        ):
            why = "GotSurge does not have the task, or does not show it to this account"
            await self._settle(wanted, partial(self._inbox.not_ours, why=why))
            return
        self._absent.add(wanted.key)
        self._lanes.put_off(wanted, self._clock.monotonic() + PAUSES[wanted.absences])
        wanted.absences += 1
        wanted.events, more = wanted.events[:MOST_EVENTS], wanted.events[MOST_EVENTS:]  # some came while it was read
        await self._inbox.not_ours(more, "GotSurge did not know the task a moment ago; the task will be read again")
        self._held.difference_update(more)
        await self._inbox.drop_bodies(wanted.events)

    async def _task(self, account: str, task_id: str) -> Task:
        gs = self._accounts[account]
        async with self._asking[account]:
            if account not in self._platform:
                self._platform[account] = await is_platform(gs, before_send=self._again())
                await self._turns.take_turn()
        endpoint = PLATFORM_TASKS_GET if self._platform[account] else TASKS_GET
        path = {"task_id": task_id}
        return await gs.session.call(endpoint, path=path, read=task_of(task_id), before_send=self._again())

    def _again(self) -> Callable[[], Awaitable[None]]:
        """Return a function that waits for a turn before every try but the first, which has one."""
        tries = count()

        async def before_send() -> None:
            if next(tries):
                await self._turns.take_turn()

        return before_send

    def _note_answer(self, account: str) -> None:
        self.troubles.pop(account, None)
        self._failures.pop(account, None)
        self._lanes.readmit(account)

    def _note_failure(self, account: str, task_id: str, begun: float) -> None:
        """Set an account aside if reads of its tasks fail in turn: the reason may also be of one task alone."""
        number, noted, last = self._failures.get(account, (0, -math.inf, ""))
        now = self._clock.monotonic()
        if begun < noted or task_id == last:
            return  # it was under way together with one that counted, or is that one
        self._failures[account] = (number + 1, now, task_id)
        if number:
            self._lanes.set_aside(account, now + backoff(_ACCOUNT_AGAIN, number, 1.0))

    async def _failed(self, wanted: Wanted, error: GotSurgeError, begun: float) -> None:
        """Read the task again later, unless it can never be read."""
        wanted.tries += 1
        account, task_id = wanted.key
        # What no path could hold is no id; that the client is closed is another error.
        never = type(error) is UsageError or isinstance(error, Forbidden)
        refused = isinstance(error, Rejected) and not isinstance(error, RateLimited | Unauthorized)
        unreadable = isinstance(error, OutcomeUnknown) and error.status == 200
        if refused:  # that is of this task alone
            self._note_answer(account)
        tries = _REFUSED_TRIES if refused else _UNREADABLE_TRIES
        if never or ((refused or unreadable) and wanted.tries >= tries):
            try:
                await self._settle(wanted, partial(self._inbox.dead, why=f"the task cannot be read: {error}"))
                await self._book.not_found(account, task_id)  # the sweep does not ask for it at once
            except StoreError as store_error:
                error = store_error
            else:
                return
        if not refused:
            self.troubles[account] = str(error)
            if not isinstance(error, StoreError):
                self._note_failure(account, task_id, begun)
        wait = backoff(_AGAIN, wanted.tries, 1.0)
        log.info("task %s could not be read; next try in %.0f s: %s", task_id, wait, error)
        self._lanes.put_off(wanted, self._clock.monotonic() + wait)

    async def _settle(
        self, wanted: Wanted, mark: Callable[[Sequence[int]], Awaitable[None]], but: Collection[int] = ()
    ) -> None:
        events = [event for event in wanted.events if event not in but]
        await mark(events)
        self._held.difference_update(events)
        self._absent.discard(wanted.key)
