"""Settles orders in doubt by tasks that were read: plain partners have no Task List.

An event leads to a read, and only the read is proof: `after.reconcile` decides what it proves. The answer of a create
may be lost after its task was read; so the book's tasks of no push are searched for the names of orders in doubt,
too.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from datetime import datetime, timedelta
from typing import NamedTuple

import attrs

from gotsurge_async.after.lookup import Names, deciding_identifiers, identifiers, names_of
from gotsurge_async.after.reconcile import Reconciler
from gotsurge_async.client import GotSurge
from gotsurge_async.clock import Clock, moved_by
from gotsurge_async.config import Timeouts
from gotsurge_async.ledger import DOUBTFUL, Ledger, LedgerError, OrderState, RunInfo, RunState
from gotsurge_async.ledger.sql.runs import is_at
from gotsurge_async.models.answers import Task
from gotsurge_async.webhooks.book import Book

log: logging.Logger = logging.getLogger(__name__)

LOOK_EVERY = 10.0
"""Seconds between two reads of the orders in doubt."""
READ_AGAIN = 60.0
"""Seconds until a task is read again that proved nothing for an order in doubt."""
LET_OTHERS_FIRST = 30.0
"""The most seconds that an order waits for reads of tasks that came with its own: one may be its double."""
LONGEST_READ = timedelta(seconds=Timeouts().total)
"""The longest time from the beginning of a read to its end."""
MOST_KEPT = 10_000
"""The most tasks that are kept in memory after they were read for orders in doubt."""


class Doubt(NamedTuple):
    """An order in doubt; ``recorded`` is its task in the ledger."""

    run: str
    order: int
    state: OrderState
    recorded: str | None
    names: Names


@attrs.define
class Waiting:
    """An order whose task was read, and that waits until the tasks ``before`` are read, at most ``until`` a time.

    Then its ``tasks`` must be read again.
    """

    account: str
    tasks: set[str]
    before: set[str]
    until: float


@attrs.frozen
class Settler:
    """Settles the orders in doubt of a ledger, for `Follower`.

    ``want`` queues tasks to be read; ``unread`` returns the unknown tasks of an account that events hint at.
    """

    ledger: Ledger
    book: Book
    accounts: Mapping[str, GotSurge]
    account_of: Callable[[RunInfo], str]
    want: Callable[[str, Iterable[str]], None]
    clock: Clock
    unread: Callable[[str], Set[str]] = attrs.field(default=lambda _: frozenset())
    _doubts: dict[str, list[Doubt]] = attrs.field(factory=dict)
    _names: dict[tuple[str, str, str], list[Doubt]] = attrs.field(factory=dict)
    _read: dict[str, tuple[Task, datetime]] = attrs.field(factory=dict)
    _tried: dict[tuple[int, OrderState, str], float] = attrs.field(factory=dict)
    _without: dict[str, RunInfo] = attrs.field(factory=dict)
    _waiting: dict[int, Waiting] = attrs.field(factory=dict)

    async def look(self) -> None:
        """Keep reading the tasks that orders in doubt may have become, until cancelled."""
        while True:
            try:
                await self.look_once()
            except LedgerError as error:
                log.warning("orders in doubt could not be read from the ledger: %s", error)
            await self.clock.sleep(LOOK_EVERY)

    async def look_once(self) -> None:
        """Read the orders in doubt, and queue the tasks that they may have become."""
        await self._refresh()
        self._read_waiting()
        for account, doubts in self._doubts.items():
            if not await self._may_be(account, doubts):
                continue
            for doubt in doubts:
                self.want(account, self._untried(doubt, await self._may_be(account, [doubt])))

    def _untried(self, doubt: Doubt, task_ids: Iterable[str]) -> list[str]:
        now = self.clock.monotonic()
        untried = []
        for task_id in task_ids:
            key = (doubt.order, doubt.state, task_id)
            if now >= self._tried.get(key, now - READ_AGAIN) + READ_AGAIN:
                self._tried[key] = now
                untried.append(task_id)
        return untried

    async def _may_be(self, account: str, doubts: Sequence[Doubt]) -> set[str]:
        """The tasks that some orders in doubt may have become, as far as the book knows."""
        found = await self.book.strangers(
            account,
            tracking_ids=_without_none(doubt.names.tracking_id for doubt in doubts),
            invoice_numbers=_without_none(doubt.names.invoice_number for doubt in doubts),
            group_tags=_without_none(doubt.names.group_tag for doubt in doubts),
        )
        return {*found, *_without_none(doubt.recorded for doubt in doubts)}

    async def _refresh(self) -> None:
        found: dict[str, list[Doubt]] = {}
        for info in await self.ledger.runs():
            account = self.account_of(info)
            gs = self.accounts.get(account)
            if gs is None or info.environment != gs.environment.name or info.archived_at is not None:
                continue
            if not is_at(info, gs.environment.api_base):
                continue
            if info.state is RunState.LOADING or self._without.get(info.id) == info:
                continue
            doubts = [
                Doubt(info.id, row.id, row.state, row.task_id, names_of(row, self.ledger.path))
                async for row in self.ledger.rows(info.id, DOUBTFUL)
            ]
            if not doubts and info.state is RunState.DONE:
                self._without[info.id] = info  # nobody will put anything of it in doubt
            found.setdefault(account, []).extend(doubts)
        self._doubts.clear()
        self._doubts.update(found)
        self._names.clear()
        for account, doubts in found.items():
            for doubt in doubts:
                for kind, name in identifiers(doubt.names, doubt.recorded):
                    self._names.setdefault((account, kind, name), []).append(doubt)
        in_doubt = {doubt.order for doubts in found.values() for doubt in doubts}
        for key in [key for key in self._tried if key[0] not in in_doubt]:
            del self._tried[key]
        for order in self._waiting.keys() - in_doubt:
            del self._waiting[order]

    async def task_read(self, account: str, task: Task) -> None:
        """Settle the orders in doubt that a task proves, just read, unless another task may be its double."""
        self._read_waiting()
        doubts = {
            doubt.order: doubt
            for kind, name in deciding_identifiers(task)
            for doubt in self._names.get((account, kind, name), ())
        }
        if not doubts:
            return
        # A reading shows the task as it was at some time since it began.
        self._read[task.id] = task, moved_by(self.clock.now(), -LONGEST_READ)
        while len(self._read) > MOST_KEPT:
            del self._read[next(iter(self._read))]
        by_run: dict[str, list[Doubt]] = {}
        for doubt in doubts.values():
            by_run.setdefault(doubt.run, []).append(doubt)
        for run, some in by_run.items():
            rivals = {*await self._may_be(account, some), task.id}
            missing = rivals - self._read.keys()
            if missing:
                # Two tasks of one order are a double, which shows only when both were read.
                self.want(account, self._untried(some[0], missing))
                continue
            if [doubt for doubt in some if self._must_wait(account, doubt, task)]:
                continue
            reconciler = Reconciler(self.accounts[account], self.ledger)
            read = [self._read[each] for each in sorted(rivals)]
            read_at = min(began for _, began in read)
            result = await reconciler.settle_by(run, [task for task, _ in read], read_at=read_at)
            for order in (*result.created, *result.cancelled):
                log.info("order %s of run %s is no longer in doubt: its task is %s", order.key, run, order.task_id)
            for each in result.doubled:
                log.error("order %s of run %s was %s", each.key, run, each.reason)

    def _must_wait(self, account: str, doubt: Doubt, task: Task) -> bool:
        """Whether unknown tasks must be read first; those that come later are not waited for."""
        waiting = self._waiting.get(doubt.order)
        if waiting is None:
            before = set(self.unread(account)) - {task.id}
            until = self.clock.monotonic() + LET_OTHERS_FIRST
            waiting = self._waiting[doubt.order] = Waiting(account, set(), before, until)
        waiting.before &= self.unread(account)
        if not waiting.before or self.clock.monotonic() >= waiting.until:
            return False
        waiting.tasks.add(task.id)
        return True

    def _read_waiting(self) -> None:
        """Queue the tasks of orders that waited for other reads, which have ended."""
        for waiting in self._waiting.values():
            waiting.before &= self.unread(waiting.account)
            if waiting.tasks and (not waiting.before or self.clock.monotonic() >= waiting.until):
                tasks, waiting.tasks = waiting.tasks, set()
                self.want(waiting.account, tasks)


@attrs.define
class _Question:
    names: set[tuple[str, str]] = attrs.field(factory=set)
    answer: set[tuple[str, str]] | None = None


@attrs.define(eq=False)
class LedgerNames:
    """Checks whether names are those of a ledger's orders, of some accounts. Callers that wait share one query."""

    ledger: Ledger
    accounts: Mapping[str, GotSurge]
    _next: _Question = attrs.field(factory=_Question, init=False)
    _asking: asyncio.Lock = attrs.field(factory=asyncio.Lock, init=False)
    _failing: bool = attrs.field(default=False, init=False)

    async def known(self, account: str, names: Collection[str]) -> set[str]:
        """The names that are those of an order; none while the ledger cannot be read."""
        gs = self.accounts.get(account)
        if gs is None:
            return set()
        mine, question = {(gs.environment.name, name) for name in names}, self._next
        question.names |= mine
        async with self._asking:
            if question.answer is None:
                if self._next is question:
                    self._next = _Question()
                question.answer = await self._ask(question.names)
        return {name for _, name in question.answer & mine}

    async def _ask(self, names: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        by_environment: dict[str, list[str]] = {}
        for environment, name in names:
            by_environment.setdefault(environment, []).append(name)
        known: set[tuple[str, str]] = set()
        try:
            for environment, some in by_environment.items():
                known |= {(environment, name) for name in await self.ledger.known(environment, some)}
        except LedgerError as error:
            if not self._failing:  # once: there may be thousands of events
                log.warning("the orders that events name could not be read from the ledger: %s", error)
            self._failing = True
        else:
            self._failing = False
        return known


def _without_none(values: Iterable[str | None]) -> list[str]:
    return [value for value in values if value]
