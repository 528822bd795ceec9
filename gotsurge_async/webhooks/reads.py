"""Reads the tasks that events hint at, and those that were not heard of for too long, within a budget.

An event is a hint, and its task is the truth: many events of a task are one read. A read waits until no other call of
its client does. What nobody can flood away: tasks that the book knows go first, and the sweep has its share, however
many ids are asked for that nobody knows.
"""

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from itertools import count
from typing import Literal, TypeAlias

import attrs

from gotsurge_async.api.endpoints import PLATFORM_TASKS_GET, PLATFORM_TASKS_LIST, TASKS_GET
from gotsurge_async.calls.limiter import yielding
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
from gotsurge_async.models.tasks import Task
from gotsurge_async.resources.reading import task_of
from gotsurge_async.webhooks.book import Book
from gotsurge_async.webhooks.book.history import RANK, steps_of
from gotsurge_async.webhooks.event import MalformedEvent, read_event
from gotsurge_async.webhooks.inbox import Inbox, Waiting
from gotsurge_async.webhooks.store import StoreError

log: logging.Logger = logging.getLogger(__name__)

Key: TypeAlias = tuple[str, str]
"""An account, and the id of a task of it."""
Trust: TypeAlias = Literal["read", "body"]

READ_RATE = 2.0
"""Reads a second, by default."""
CONCURRENCY = 4
"""Reads at once."""
PAUSES = (5.0, 30.0, 120.0, 600.0)
"""Seconds after which a task is asked for again that an event named and the service did not know."""
LAGS = (2.0, 5.0, 10.0, 15.0, 28.0)
"""Seconds after which a task is read again that did not show the status of its event: a replica may be late."""
LATEST = timedelta(seconds=sum(LAGS))
"""An event that is older waits for no more reads."""
ABSENT = timedelta(minutes=10)
"""How long it is remembered that it did not: a new event of the task is then asked for after the first pause."""
MOST_ABSENT = 1000
"""Ids that wait to be asked for again."""
MOST_EVENTS = 20
"""Events that wait for one of them; of more, the rest adds nothing."""
POLL = 1.0
"""Seconds between two searches for events that came to another process."""
LOOK_AGAIN = 10.0
"""Seconds between two searches of all waiting events: numbers of other processes may come late."""
MOST_UNKNOWN = 5000
"""Unknown ids in memory, at most; more wait in the inbox."""
MOST_HELD = 50_000
"""Events whose reads are in memory."""
PAGE = 1000
_AGAIN = RetryPolicy(base=1.0, cap=60.0)
_UNREADABLE_TRIES = 5
_REFUSED_TRIES = 3


@attrs.define(eq=False)
class Wanted:
    """A task that is to be read, and the events that hint at it.

    Attributes:
        tries: how often a read failed.
        absences: how often the service did not know it.
        lags: how often a read did not show what an event claims.
        known: whether the book knows it: then it goes before others.
        due: when it is to be read, if it was put off.
    """

    key: Key
    events: list[int] = attrs.field(factory=list)
    tries: int = 0
    absences: int = 0
    lags: int = 0
    known: bool = True
    due: float = 0.0


class Lanes:
    """What is to be read, each task once: what the book knows, what the sweep wants, and, twice, what nobody knows."""

    def __init__(self) -> None:
        self.known: dict[Key, Wanted] = {}
        self.swept: dict[Key, Wanted] = {}
        self.unknown: dict[Key, Wanted] = {}
        self.again: dict[Key, Wanted] = {}
        self.ready: asyncio.Event = asyncio.Event()
        self._reading: set[Key] = set()
        self._later: dict[Key, Wanted] = {}
        self._due: list[tuple[float, int, Key]] = []
        self._numbers = count()

    def __contains__(self, key: Key) -> bool:
        return any(key in each for each in (*self._all(), self._later, self._reading))

    def _all(self) -> list[dict[Key, Wanted]]:
        return [self.known, self.swept, self.unknown, self.again]

    def add(self, key: Key, lane: dict[Key, Wanted], event: int | None = None, most: int = MOST_HELD) -> bool:
        """Have a task read, once, and again if it is being read; whether the event is kept, up to ``most``."""
        if key in self._later and self._later[key].lags:
            lane[key] = self._later.pop(key)  # the event may be news: it is not put off
            lane[key].lags = 0
        wanted = self._later.get(key) or self.known.get(key)
        if wanted is None:
            found = self.swept.pop(key, None) or self.unknown.pop(key, None) or self.again.pop(key, None)
            wanted = lane[key] = found or Wanted(key)
        self.ready.set()
        if event is None or len(wanted.events) >= most:
            return False
        wanted.events.append(event)
        return True

    def add_absent(self, key: Key, event: int, until: float) -> bool:
        """Have a task that the service did not know asked for again; whether the event adds anything to that."""
        wanted = self._later.get(key)
        if wanted is None and key in self:
            return self.add(key, self.again, event, MOST_EVENTS)
        if wanted is None:
            wanted = self._later[key] = Wanted(key, absences=1, known=False, due=until + 1.0)
        if wanted.absences and until < wanted.due:
            wanted.due = until
            heapq.heappush(self._due, (until, next(self._numbers), key))
            self.ready.set()
        if len(wanted.events) >= MOST_EVENTS:
            return False
        wanted.events.append(event)
        return True

    def put_off(self, wanted: Wanted, until: float) -> None:
        """Have a task read later; what came for it meanwhile comes along."""
        self._reading.discard(wanted.key)
        for lane in self._all():
            if (other := lane.pop(wanted.key, None)) is not None:
                wanted.events += other.events
        self._later[wanted.key] = wanted
        wanted.due = until
        heapq.heappush(self._due, (until, next(self._numbers), wanted.key))

    def take(self, now: float, turn: int) -> Wanted | None:
        """What to read next; of every eight turns one is of the ids that nobody knows, and two are of the sweep."""
        while self._due and self._due[0][0] <= now:
            _, _, key = heapq.heappop(self._due)
            if key in self._later and self._later[key].due <= now:  # else it was put forward, or off again
                wanted = self._later.pop(key)
                (self.known if wanted.known else self.again)[key] = wanted
        lanes = self._all()
        if turn % 16 == 7:
            lanes = [self.unknown, self.again, self.swept, self.known]
        elif turn % 16 == 15:
            lanes.reverse()
        elif turn % 4 == 3:
            lanes = [self.swept, self.known, self.unknown, self.again]
        for lane in lanes:
            for key in lane:
                if key not in self._reading:
                    self._reading.add(key)
                    wanted = lane.pop(key)
                    wanted.known = lane is self.known or lane is self.swept
                    return wanted
        self.ready.clear()
        return None

    def done(self, wanted: Wanted) -> None:
        """A read has ended."""
        self._reading.discard(wanted.key)
        if any(self._all()):
            self.ready.set()

    def next_due(self, now: float) -> float:
        """Seconds until something that was put off is due; a while if nothing is."""
        return max(0.0, self._due[0][0] - now) if self._due else 60.0


class Budget:
    """Turns, evenly spaced."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self._interval = 1.0 / rate
        self._next = 0.0
        self._clock = clock

    async def turn(self) -> None:
        """Wait for one."""
        now = self._clock.monotonic()
        mine = max(now, self._next)
        self._next = mine + self._interval
        if mine > now:
            await self._clock.sleep(mine - now)


async def is_platform(gs: GotSurge, *, before_send: Callable[[], Awaitable[None]] | None = None) -> bool:
    """Whether the account is a platform partner's, which reads its organizations' tasks too."""
    query = {"page": 1, "per_page": 1}
    try:
        await gs.session.call(PLATFORM_TASKS_LIST, query=query, before_send=before_send)
    except (Forbidden, NotFound):
        return False
    return True


class Reads:
    """Reads tasks, for `Follower`.

    Args:
        accounts: the client of each account whose tasks are read here; events of others are left alone.
        rate: tries a second, all accounts together.
        ages: see `Book.due`.
        trust: ``read``, or ``body`` to believe bodies: for who controls the network.
        changed: called when the book came to know of changes.
        task_read: called with each task that was read.
        refresh: called before each sweep.
    """

    def __init__(
        self,
        inbox: Inbox,
        book: Book,
        accounts: Mapping[str, GotSurge],
        *,
        rate: float,
        ages: Mapping[str, timedelta],
        trust: Trust,
        clock: Clock,
        changed: Callable[[], None],
        task_read: Callable[[str, Task], Awaitable[None]],
        refresh: Callable[[], Awaitable[None]],
    ) -> None:
        self.budget: Budget = Budget(rate, clock)
        self.troubles: dict[str, str] = {}
        """By account, why its tasks cannot be read now."""
        self._inbox = inbox
        self._book = book
        self._accounts = accounts
        self._ages = ages
        self._trust = trust
        self._clock = clock
        self._changed = changed
        self._task_read = task_read
        self._refresh = refresh
        self._lanes = Lanes()
        self._held: set[int] = set()
        self._absent: set[Key] = set()
        self._first_reads: set[Key] = set()
        self._turn = 0
        self._platform: dict[str, bool] = {}
        self._asking = asyncio.Lock()

    # --- what is to be read -----------------------------------------------------------------------------------------

    def want(self, account: str, task_ids: Iterable[str]) -> None:
        """Queue tasks that the book knows."""
        for task_id in task_ids:
            self._lanes.add((account, task_id), self._lanes.known)

    def unread(self, account: str) -> set[str]:
        """Tasks of an account that events name and the book does not know, while they are read or queued."""
        return {task_id for whose, task_id in (*self._lanes.unknown, *self._first_reads) if whose == account}

    async def take_events(self) -> None:
        """Queue the tasks of waiting events, until cancelled."""
        after, all_at = 0, 0.0
        while True:
            events = await self._inbox.waiting(after=after, limit=PAGE)
            await self._take([event for event in events if event.id not in self._held])
            if events:
                after = events[-1].id
            if len(events) < PAGE or len(self._held) > MOST_HELD:
                await sleep_or(self._inbox.arrived, self._clock, POLL)
                self._inbox.arrived.clear()
            now = self._clock.monotonic()
            if now >= all_at + LOOK_AGAIN and len(self._held) < MOST_HELD:
                after, all_at = 0, now

    async def _take(self, events: Sequence[Waiting]) -> None:
        mine = [event for event in events if event.account in self._accounts]
        keys = {(event.account, event.task_id) for event in mine}
        known = await self._book.known(sorted(keys), since=self._clock.now() - ABSENT) if keys else {}
        of_no_use: list[int] = []
        for event in mine:
            key = (event.account, event.task_id)
            if self._trust == "body" and await self._believe(event):
                continue
            if known[key] is False:
                if key in self._absent or len(self._absent) < MOST_ABSENT:
                    self._absent.add(key)
                    until = self._clock.monotonic() + PAUSES[0]
                    (self._held.add if self._lanes.add_absent(key, event.id, until) else of_no_use.append)(event.id)
            elif known[key] or len(self._lanes.unknown) < MOST_UNKNOWN or key in self._lanes.unknown:
                self._held.add(event.id)
                self._lanes.add(key, self._lanes.known if known[key] else self._lanes.unknown, event.id)
        await self._inbox.not_ours(of_no_use, "GotSurge did not know the task shortly before, and is asked again")

    async def _believe(self, waiting: Waiting) -> bool:
        """Take an event's body for the truth; returns whether that was possible."""
        stored = await self._inbox.show(waiting.id)
        try:
            task = read_event((stored and stored.body) or b"").task()
        except MalformedEvent:
            return False
        if await self._book.observe(waiting.account, task, source="event"):
            self._changed()
        await self._inbox.done([waiting.id])
        return True

    async def sweep(self) -> None:
        """Queue the tasks of which nothing was heard for too long, until cancelled."""
        every = min(60.0, max(0.5, min(self._ages.values()).total_seconds() / 4))
        while True:
            await self._refresh()
            read = [account for account in self._accounts if account not in self.troubles]
            await self._book.say_reading(read, self._clock.now() + timedelta(seconds=3 * every))
            if len(self._lanes.swept) < PAGE:
                for key in await self._book.due(self._clock.now(), self._ages, accounts=self._accounts, limit=PAGE):
                    if key not in self._lanes:
                        self._lanes.add(key, self._lanes.swept)
            await self._clock.sleep(every)

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
        try:
            try:
                await self.budget.turn()
                with yielding():
                    task = await self._task(account, task_id)
            except NotFound:
                self.troubles.pop(account, None)
                await self._not_found(wanted)
                return
            self.troubles.pop(account, None)
            if await self._book.observe(account, task, source="read" if wanted.events else "sweep"):
                self._changed()
            self._first_reads.discard(wanted.key)
            late = await self._late(wanted, task)
            await self._settle(wanted, None, but=late)
            if late:
                wanted.events, wanted.known, wanted.tries = late, True, 0
                self._lanes.put_off(wanted, self._clock.monotonic() + LAGS[wanted.lags])
                wanted.lags += 1
        except GotSurgeError as error:
            await self._failed(wanted, error)
            return
        try:
            await self._task_read(account, task)
        except GotSurgeError as error:
            log.warning("task %s was read, and settled nothing: %s", task_id, error)

    async def _late(self, wanted: Wanted, task: Task) -> list[int]:
        """The new events that claim a later status than their read shows: the task is to be read again for them."""
        if not wanted.events or wanted.lags >= len(LAGS):
            return []
        shown = {step.status for step in steps_of(task)}
        rank = RANK.get(task.current_status or "", -1)
        claims = await self._inbox.claims(wanted.events[-MOST_EVENTS:], self._clock.now() - LATEST)
        return [event for event, status in claims.items() if status not in shown and RANK.get(status, -1) > rank]

    async def _not_found(self, wanted: Wanted) -> None:
        """Ask for it again where an event named it: a service may announce a task before it shows it."""
        await self._book.not_found(*wanted.key)
        if (
            not wanted.events
            or wanted.absences >= len(PAUSES)
            or (wanted.key not in self._absent and len(self._absent) >= MOST_ABSENT)
        ):
            await self._settle(wanted, "GotSurge does not know the task, or not of this account")
            return
        self._absent.add(wanted.key)
        self._lanes.put_off(wanted, self._clock.monotonic() + PAUSES[wanted.absences])
        wanted.absences += 1
        wanted.events, more = wanted.events[:MOST_EVENTS], wanted.events[MOST_EVENTS:]  # some came while it was read
        await self._inbox.not_ours(more, "GotSurge did not know the task shortly before, and is asked again")
        self._held.difference_update(more)
        await self._inbox.drop_bodies(wanted.events)

    async def _task(self, account: str, task_id: str) -> Task:
        gs = self._accounts[account]
        async with self._asking:
            if account not in self._platform:
                self._platform[account] = await is_platform(gs, before_send=self._again())
                await self.budget.turn()
        endpoint = PLATFORM_TASKS_GET if self._platform[account] else TASKS_GET
        path = {"task_id": task_id}
        return await gs.session.call(endpoint, path=path, read=task_of(task_id), before_send=self._again())

    def _again(self) -> Callable[[], Awaitable[None]]:
        """Takes a turn for every try but the first, which has one."""
        tries = count()

        async def before_send() -> None:
            if next(tries):
                await self.budget.turn()

        return before_send

    async def _failed(self, wanted: Wanted, error: GotSurgeError) -> None:
        """Try it later, unless it will never be read."""
        wanted.tries += 1
        account, task_id = wanted.key
        # What no path could hold is no id; that the client is closed is another error.
        never = type(error) is UsageError or isinstance(error, Forbidden)
        refused = isinstance(error, Rejected) and not isinstance(error, RateLimited | Unauthorized)
        unreadable = isinstance(error, OutcomeUnknown) and error.status == 200
        tries = _REFUSED_TRIES if refused else _UNREADABLE_TRIES
        if never or ((refused or unreadable) and wanted.tries >= tries):
            try:
                await self._die(wanted, f"its task cannot be read: {error}")
            except StoreError as store_error:
                error = store_error
            else:
                return
        if not refused:  # that is of this task alone
            self.troubles[account] = str(error)
        wait = backoff(_AGAIN, wanted.tries, 1.0)
        log.info("task %s could not be read, again in %.0f s: %s", task_id, wait, error)
        self._lanes.put_off(wanted, self._clock.monotonic() + wait)

    async def _settle(self, wanted: Wanted, why: str | None, but: Collection[int] = ()) -> None:
        events = [event for event in wanted.events if event not in but]
        await (self._inbox.done(events) if why is None else self._inbox.not_ours(events, why))
        self._held.difference_update(events)
        self._absent.discard(wanted.key)

    async def _die(self, wanted: Wanted, why: str) -> None:
        account, task_id = wanted.key
        await self._inbox.dead(wanted.events, why)
        self._held.difference_update(wanted.events)
        self._absent.discard(wanted.key)
        await self._book.not_found(account, task_id)  # the sweep does not ask for it at once
