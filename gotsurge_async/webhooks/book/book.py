"""The open order book: it stores tasks, hands on changes, and answers queries."""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Self, TypeAlias

from gotsurge_async import codec
from gotsurge_async.clock import Clock, SystemClock, from_microseconds, moved_by, to_microseconds
from gotsurge_async.database import Database, Kind, Place, Row
from gotsurge_async.errors import ConfigError
from gotsurge_async.ledger import READABLE, Ledger, OrderRow, OrderState, RunInfo, RunState
from gotsurge_async.models.answers import StatusEntry, Task
from gotsurge_async.models.tasks import TaskStatus
from gotsurge_async.webhooks.book.doubles import REPORTED_FOR, Double, find
from gotsurge_async.webhooks.book.history import Kept, Step, Times, comparable, in_order, read
from gotsurge_async.webhooks.book.outbox import Outbox
from gotsurge_async.webhooks.book.records import (
    BookOrder,
    Change,
    Only,
    account_of,
    changes_of,
    columns,
    countable,
    due_of,
    encoded,
    further,
    micros,
    moment_of,
    order_of,
    over,
    pushed,
    step_of,
)
from gotsurge_async.webhooks.store import Store

TEXTS = Path(__file__).with_name("book.sql")
VERSION = 1
"""The version of the tables."""
PAGE = 500
MOST_ABSENT = 100_000
"""The most ids that are remembered as unknown to the service; of more, the oldest are forgotten."""
MARGINS: Mapping[Kind, timedelta] = MappingProxyType(
    {Kind.SQLITE: timedelta(minutes=1), Kind.POSTGRESQL: timedelta(minutes=10)}
)
"""The overlap of two reads of a ledger: its writers, and their clocks on several machines, may be late."""
OTHER = ""
"""The key among the ages of a sweep for all statuses that are not named."""

AGES: Mapping[str, timedelta] = MappingProxyType(
    {
        TaskStatus.DRAFT: timedelta(hours=6),
        TaskStatus.PENDING_BROADCAST: timedelta(hours=6),
        TaskStatus.BROADCASTING: timedelta(minutes=10),
        TaskStatus.ACCEPTED: timedelta(minutes=30),
        TaskStatus.PENDING_PICKUP: timedelta(minutes=15),
        TaskStatus.PICKUP_ARRIVING: timedelta(minutes=5),
        TaskStatus.PENDING_DELIVERY: timedelta(minutes=15),
        TaskStatus.DELIVERY_ARRIVING: timedelta(minutes=5),
        OTHER: timedelta(minutes=15),
    }
)
"""The default time without news after which a task is read again: shorter where more may have happened."""

_RECORDED = READABLE | {OrderState.CREATED, OrderState.CANCELLED}
"""The states in which an order of the ledger may have a task to follow."""

Source: TypeAlias = Literal["ledger", "read", "sweep", "create"]
"""The source of a task: a ledger, a read that an event caused, a read of the sweep, or the answer of a create."""

_COLUMNS = (
    "status", "changed_at", "due_at", "planned", "currency", "tracking_id", "invoice_number", "group_tag", "vessel",
    "imo", "berth",
)  # fmt: skip
"""The columns of an order as ``lock_order`` returns them: most reads change none of them."""
_ENTRY = StatusEntry(status=TaskStatus.DRAFT)
"""A placeholder for an entry that is never used."""


class Book(Outbox):
    """The order book, open. One belongs to one event loop; many processes may open one database.

    Every method raises a StoreError if the database fails.
    """

    @classmethod
    @asynccontextmanager
    async def open(
        cls, where: str | Path | Place, *, clock: Clock | None = None, make: bool = True
    ) -> AsyncIterator[Self]:
        """Open the book in the database that it shares with the inbox, and make it if there is none.

        Args:
            where: the path of a file (never the ledger's own; see `store.beside`), or a URL.
            make: False to raise a ConfigError if there is no order book.

        Raises:
            ConfigError: ``where`` is not a place, is a ledger's file, or has a newer version.
            StoreError: the database cannot be used.
        """
        store = await Store.open(where, TEXTS, make=make)
        try:
            ((version,),) = await store.rows("version")
            if version > VERSION:
                raise ConfigError(f"{store.place} was made by a newer version: update gotsurge-async", "E803")
            yield cls(store, clock or SystemClock())
        finally:
            await store.close()

    @property
    def place(self) -> Place:
        """The place of the book."""
        return self._store.place

    # --- what reads show --------------------------------------------------------------------------------------------

    async def observe(
        self, account: str, task: Task, *, at: datetime | None = None, source: Source = "read"
    ) -> list[Change]:
        """Store a task as it was read, durably; returns the steps that were not known before, in their order.

        The same task may be stored any number of times, and older reads after newer ones: they undo nothing.

        Args:
            at: when it was read; the present unless given.
            source: the source of the task. A ``ledger`` knows a part of it: the rest stays as it was.
        """
        now = to_microseconds(self._clock.now())
        moment = now if at is None else to_microseconds(at)
        return await self._store.write(lambda db: _observe(db, account, task, moment, source, now))

    async def not_found(self, account: str, task_id: str, at: datetime | None = None) -> None:
        """Remember that the service has no such task, or not for this account."""
        moment = to_microseconds(at or self._clock.now())

        def note(db: Database) -> None:
            # One that was there before is asked for again when it is due again: it may have been an outage.
            if not db.change("seen", account=account, task_id=task_id, at=moment):
                db.change("absent", account=account, task_id=task_id, at=moment)
                db.change("forget_absent", most=MOST_ABSENT)

        await self._store.write(note)

    async def known(
        self, tasks: Sequence[tuple[str, str]], *, since: datetime | None = None
    ) -> dict[tuple[str, str], bool | None]:
        """Whether tasks are in the book, by account and id: False for one that the service did not know, None for one
        that was never read.

        Args:
            since: a task that the service did not know before this time counts as never read.
        """
        moment = 0 if since is None else to_microseconds(since)

        def ask(db: Database) -> dict[tuple[str, str], bool | None]:
            found: dict[tuple[str, str], bool | None] = {}
            for account, task_id in tasks:
                rows = db.rows("known", account=account, task_id=task_id, since=moment)
                found[account, task_id] = bool(max(known for (known,) in rows)) if rows else None
            return found

        return await self._store.read(ask)

    async def strangers(
        self, account: str, *, tracking_ids: Iterable[str], invoice_numbers: Iterable[str], group_tags: Iterable[str]
    ) -> list[str]:
        """The tasks from no push that have one of some names: an order in doubt may have become one of them.

        Args:
            group_tags: compared only for tasks with neither tracking id nor invoice number.
        """
        names = {"tracking_ids": tracking_ids, "invoice_numbers": invoice_numbers, "group_tags": group_tags}

        def ask(db: Database) -> list[Row]:
            return db.rows("strangers", account=account, **{name: db.listed(set(some)) for name, some in names.items()})

        return [task_id for (task_id,) in await self._store.read(ask)]

    async def due(
        self,
        now: datetime,
        ages: Mapping[str, timedelta] = AGES,
        *,
        accounts: Iterable[str] | None = None,
        run: str | None = None,
        limit: int = 1000,
    ) -> list[tuple[str, str]]:
        """The accounts and ids of unfinished tasks without news for too long: the most overdue first, by their ages.

        Args:
            ages: the longest time without news, by status; `OTHER` for statuses that are not named.
            accounts, run: return only tasks of these.
            limit: the most tasks to return.
        """
        spans: dict[timedelta, list[str]] = {}
        for status, age in ages.items():
            spans.setdefault(age, []).append(status)
        named = [status for status in ages if status != OTHER]
        others = ages.get(OTHER, min(ages.values(), default=timedelta(0)))
        mine = None if accounts is None else list(accounts)

        def ask(db: Database) -> list[tuple[str, str]]:
            found: list[tuple[float, str, str]] = []
            whose = {"no_accounts": int(mine is None), "accounts": db.listed(mine or ()), "most": limit}
            whose |= {"no_run": int(run is None), "run": run or ""}
            asked = [("due", age, [each for each in statuses if each != OTHER]) for age, statuses in spans.items()]
            for name, age, listed in (*asked, ("due_of_others", others, named)):
                before = to_microseconds(moved_by(now, -age))
                rows = db.rows(name, before=before, statuses=db.listed(listed), **whose)
                # By ages, so that a status with many tasks leaves the others a share of the reads.
                span = max(age.total_seconds() * 1e6, 1.0)
                found += [((seen - before) / span, account, task_id) for account, task_id, seen in rows]
            found.sort(key=lambda task: task[0])
            return [(account, task_id) for _, account, task_id in found[:limit]]

        return await self._store.read(ask)

    # --- pushed orders ----------------------------------------------------------------------------------------------

    async def take_in(
        self, ledger: Ledger, *, run: str | None = None, account_of: Callable[[RunInfo], str] = account_of
    ) -> int:
        """Add the orders of a ledger that have a task; returns the number of new ones.

        If the ledger knows a later status of a task than the book, such as after an undo, this becomes a step as if
        it had been read.

        Args:
            run: add only the orders of this run.
            account_of: returns the account of a run, by its name in the book.
        """
        known: dict[str, int] = dict(await self._store.rows("taken_in"))
        margin, new = MARGINS[ledger.place.kind], 0
        for info in [await ledger.run(run)] if run is not None else reversed(await ledger.runs()):
            if info.state is RunState.LOADING or info.archived_at is not None:
                continue
            begun = to_microseconds(self._clock.now())
            since = from_microseconds(known[info.id]) - margin if info.id in known else None
            page: list[OrderRow] = []
            async for row in ledger.rows(info.id, _RECORDED, batch=20_000, since=since):
                page += [row] if row.task_id is not None else []
                if len(page) == PAGE:
                    new += await self._take_page(account_of(info), info, page)
                    page = []
            new += await self._take_page(account_of(info), info, page)
            await self._store.change("note_run", run=info.id, at=begun)
        return new

    async def _take_page(self, account: str, info: RunInfo, page: Sequence[OrderRow]) -> int:
        now = to_microseconds(self._clock.now())
        return await self._store.write(lambda db: _take_page(db, account, info, page, now)) if page else 0

    # --- looking ----------------------------------------------------------------------------------------------------

    async def orders(self, only: Only | None = None) -> AsyncIterator[BookOrder]:
        """The selected orders, in the order in which they were added; read page by page, so that memory stays flat."""
        wanted, after = only or Only(), 0
        while True:
            rows = await self._store.read(
                lambda db, after=after: db.rows(wanted.statement, **wanted.values(db), after=after, most=PAGE)  # type: ignore[misc]
            )
            for row in rows:
                yield order_of(row)
            if len(rows) < PAGE:
                return
            after = rows[-1][0]

    async def history(self, order: BookOrder) -> list[Step]:
        """The steps of an order, in their order."""
        rows = await self._store.read(lambda db: db.rows("steps", orders=db.listed([order.number])))
        return in_order(step_of(row) for row in rows)

    async def steps(self, orders: Iterable[BookOrder]) -> dict[int, list[tuple[Step, datetime]]]:
        """The steps of some orders by the orders' numbers, in the order of discovery, each with the time of that."""
        numbers = [order.number for order in orders]

        def ask(db: Database) -> dict[int, list[tuple[Step, datetime]]]:
            found: dict[int, list[tuple[Step, datetime]]] = {number: [] for number in numbers}
            for row in db.rows("steps", orders=db.listed(numbers)):
                found[row[0]].append((step_of(row), from_microseconds(row[-1])))
            return found

        return await self._store.read(ask)

    async def moved(self, since: datetime, run: str, *, limit: int = 1000) -> list[tuple[BookOrder, datetime]]:
        """A run's orders with new steps since a time, each with the time of its newest step, by its reader's clock.

        Continue from the time of the last order: orders of that same time are repeated. At most ``limit`` orders.
        """
        rows = await self._store.rows("moved", since=to_microseconds(since), run=run, most=limit)
        return [(order_of(row[:-1]), from_microseconds(row[-1])) for row in rows]

    async def doubles(self, tasks: Collection[Task] | None = None, *, after: int = 0) -> list[Double]:
        """Live tasks with the same name, as they were last read; if all of them ended, for one more day.

        Args:
            tasks: return only doubles with a name of one of these.
            after: return only doubles with an order of a higher number, which was added since.
        """
        since = self._clock.now() - REPORTED_FOR
        return await self._store.read(lambda db: find(db, since, after=after, tasks=tasks))

    async def newest(self) -> int:
        """The highest number of an order."""
        ((number,),) = await self._store.rows("newest")
        return int(number)

    async def say_reading(self, accounts: Iterable[str], until: datetime) -> None:
        """Announce that a program reads the due tasks of some accounts, until a time: other programs need not."""
        now, ends = to_microseconds(self._clock.now()), to_microseconds(until)
        names = sorted(set(accounts))

        def say(db: Database) -> None:
            db.change("forget_readers", now=now)
            for name in names:
                db.change("say_reading", name=name, until=ends)

        await self._store.write(say)

    async def is_read(self, account: str) -> bool:
        """Whether a program has announced that it reads the due tasks of an account."""
        now = to_microseconds(self._clock.now())
        ((number,),) = await self._store.rows("readers", now=now, name=account)
        return bool(number)

    async def counts(self, run: str | None = None) -> dict[str, int]:
        """The number of orders in each status, of a run or of all; "" for orders whose status is unknown."""
        name = "counts" if run is None else "counts_of_run"
        return dict(await self._store.rows(name, run=run))

    async def forget(
        self, before: datetime, *, accounts: Iterable[str] | None = None, only_handed_on: bool = False
    ) -> int:
        """Remove orders at their end that were last seen before a time, with their history; returns their number.

        Args:
            accounts: only orders of these accounts.
            only_handed_on: keep orders with changes that wait, or are parked.
        """
        mine = None if accounts is None else list(accounts)
        which = {"before": to_microseconds(before), "only_handed_on": int(only_handed_on), "most": PAGE}

        def remove(db: Database) -> int:
            db.script("lock_book")
            rows = db.rows("old_orders", **which, no_accounts=int(mine is None), accounts=db.listed(mine or ()))
            orders = db.listed(number for (number,) in rows)
            for name in ("forget_changes", "forget_steps", "forget_orders"):
                db.change(name, orders=orders)
            return len(rows)

        gone = 0
        while (some := await self._store.write(remove)) == PAGE:
            gone += some
        return gone + some


# --- what a read of a task, or a page of a ledger, changes ------------------------------------------------------------


def _observe(db: Database, account: str, task: Task, moment: int, source: Source, now: int) -> list[Change]:
    """Store a task as it was read at a ``moment``: each new step is a change, and part of the history."""
    body = codec.encode(task)
    whose = {"account": account, "task_id": task.id}
    found = db.rows("lock_order", **whose)
    new = not found
    if new:
        db.change("begin_order", **whose, at=moment, body=body)
        db.change("present", **whose)
        found = db.rows("lock_order", **whose)
    ((order, seen, updated, served, known, *kept_columns),) = found
    kept_times, times = comparable(
        Times(moment_of(updated), moment_of(served)),
        from_microseconds(seen),
        Times(task.updated_at, task.server_time),
        from_microseconds(moment),
        from_microseconds(now),
    )
    was = dict(zip(_COLUMNS, kept_columns, strict=True))
    rows = db.rows("steps", orders=db.listed([order]))
    kept = Kept(
        steps=[_known_step(row) for row in rows],
        current=None if was["status"] is None else TaskStatus(was["status"]),
        times=kept_times,
    )
    reading = read(kept, task, times)
    times = times.latest(kept.times)
    if reading.stale and not new:
        body, task = known, codec.decode(known, Task)
    elif source == "ledger" and not new:  # it knows a part of the task
        task = codec.decode(body := over(known, body), Task)
    for place, step in reading.dated.items():
        db.change("date_step", order=order, place=place, at=micros(step.at), entry=encoded(step.entry))
    numbers: list[int] = []
    for place, each in enumerate(reading.new, len(rows)):
        step = each.step
        ((number,),) = db.rows("add_change", order=order, place=place)
        numbers.append(number)
        whole = (order, place, str(step.status), micros(step.at), encoded(step.entry), source, moment)
        db.insert("add_steps", [(*whole, number, each.previous, int(each.late))])
    now_is = {**was, **columns(task), "status": reading.current}
    if was["planned"] is None and task.price is not None:
        now_is |= {"planned": countable(task.price.millicents), "currency": task.price.currency}
    dates = [at for at in map(micros, (step.at for step in reading.steps)) if at is not None]
    if reading.current != was["status"] or was["changed_at"] is None:
        now_is["changed_at"] = dates[-1] if dates else moment
    now_is["due_at"] = micros(due_of(task)) or was["due_at"] or (dates[0] if dates else moment)
    values = {
        "number": order,
        "seen_at": max(seen, moment),
        "updated_at": micros(times.updated_at),
        "server_time": micros(times.server_time),
        "body": body,
    }
    if now_is == was and not numbers:
        db.change("reread", **values)
    else:
        terminal = int(reading.current is not None and reading.current.is_terminal)
        db.change("set_order", **values, **now_is, terminal=terminal, moved_at=now if numbers else None)
    return changes_of(db, numbers)


def _known_step(row: Row) -> Step:
    """A step from a row of the statement ``steps``; of its entry only whether there is one."""
    _, _, status, at, entry, late, _ = row
    return Step(TaskStatus(status), moment_of(at), None if entry is None else _ENTRY, not late)


def _take_page(db: Database, account: str, info: RunInfo, page: Sequence[OrderRow], now: int) -> int:
    """Add orders of a ledger's run that have a task, with the ledger's data; returns the number of new ones."""
    ids = db.listed(row.task_id for row in page)
    known = {task_id for (task_id,) in db.rows("of_run", account=account, run=info.id, ids=ids)}
    new = [row for row in page if row.task_id not in known]
    db.insert("take_in", [pushed(account, info, row) for row in new])
    db.change("all_present", account=account, ids=ids)
    stands: dict[str | None, str | None] = dict(db.rows("stands", account=account, ids=ids))
    for row in sorted(page, key=lambda row: row.task_id or ""):
        shown = further(row, stands[row.task_id])
        if shown is not None:
            _observe(db, account, shown, to_microseconds(row.updated_at), "ledger", now)
    return len(new)
