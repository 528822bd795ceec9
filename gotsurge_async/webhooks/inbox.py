"""The inbox stores every event durably before it is confirmed, until it has been read and is old.

Events that come while a commit is on its way share the next one: no event waits for a timer, and all wait
for the disk together. `gotsurge_async.webhooks.reads` decides what follows from an event, and
`gotsurge_async.webhooks.room` how much has room.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
from filelock import FileLock, Timeout
from msgspec import Struct

from gotsurge_async.clock import Clock, SystemClock, from_microseconds, to_microseconds
from gotsurge_async.database import Database, Kind, Place, Row
from gotsurge_async.database.leases import SqlBoard, leased
from gotsurge_async.webhooks.event import (
    Event,
    EventState,
    MalformedEvent,
    digest,
    kept_event,
    read_event,
)
from gotsurge_async.webhooks.room import MOST_BYTES, Room, UnknownFull
from gotsurge_async.webhooks.store import Store, StoreError

KEEP = timedelta(days=7)
"""The time for which an event is kept after it was read."""
KEEP_DEAD = timedelta(days=30)
"""The time for which a dead event is kept."""
LEARN_EVERY, LEARN_SECONDS = 5.0, 1.0
"""Before events of unknown tasks are refused, the order book adds new orders: how often, and how long (seconds)."""
CLEAN_EVERY = 3600.0
"""Seconds between two clean-ups."""
MOST_SENDERS = 20_000
"""The number of tasks for which an inbox remembers the sender of the last event."""
_TRY_AGAIN = 0.2
"""Seconds between two checks whether another process still excludes this one."""

_TEXTS = Path(__file__).with_suffix(".sql")


@attrs.frozen(kw_only=True)
class Stored:
    """An event in the inbox.

    Attributes:
        id: its number, in the order in which events came.
        account: the account of the receiver that it came to.
        times: the number of times that the very same event came.
        why: the reason why it is dead, or of no use.
        size: the bytes of its body.
        body: the body as it came; None if it was not read.
    """

    id: int
    account: str
    state: EventState
    task_id: str | None
    received_at: datetime
    times: int = 1
    why: str | None = None
    size: int = 0
    body: bytes | None = attrs.field(default=None, repr=False)

    @property
    def is_without_body(self) -> bool:
        """Whether its body was dropped, because GotSurge did not know its task."""
        return self.size == 0 and self.state is not EventState.DEAD


class Waiting(Struct, frozen=True):
    """An event whose task must still be read."""

    id: int
    account: str
    task_id: str
    received_at: datetime


class Inbox:
    """An open inbox::

        async with Inbox.open("inbox.db") as inbox:
            receiver = Receiver(inbox, tokens=[token])

    Several processes may have one open; each belongs to one event loop. Every method raises StoreError if the
    database fails.
    """

    def __init__(self, store: Store, clock: Clock, *, keep: timedelta, most_bytes: int) -> None:
        self.arrived: asyncio.Event = asyncio.Event()
        """Set when an event came to this process that is to be read; whoever waits for it clears it."""
        self.learn: Callable[[], Coroutine[Any, Any, None]] | None = None
        """Has the order book learn of the tasks that only the ledger knows yet; `Follower` sets it, if it has one."""
        self.is_ours: Callable[[str, Collection[str]], Awaitable[Collection[str]]] | None = None
        """Returns which of some names the ledger has orders of, for an account; `Follower` sets it, if it has one."""
        self._learning: asyncio.Task[None] | None = None
        self._learn_at = 0.0
        self._store = store
        self._clock = clock
        self._keep = keep
        self._room = Room(most_bytes, clock)
        self._put = self._room.put  # one object: its requests are seen to be of one kind at a glance
        self._put_known = self._room.put_known
        self._senders: dict[tuple[str, str], str] = {}

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        where: str | Path | Place,
        *,
        clock: Clock | None = None,
        keep: timedelta | None = KEEP,
        most_bytes: int = MOST_BYTES,
        make: bool = True,
    ) -> AsyncIterator["Inbox"]:
        """Open an inbox, and make it if there is none. Old events are removed while it is open.

        Args:
            where: the path of a file, or a URL: ``sqlite:///PATH``, ``postgresql://USER@HOST/NAME``. Never the ledger's
                own file.
            keep: how long events are kept after they were read; None to remove nothing, for readers.
            most_bytes: the most bytes of all events that wait or are done; dead ones have a tenth of it besides.
            make: False to raise a ConfigError if there is no inbox.

        Raises:
            ConfigError: ``where`` cannot be an inbox.
            StoreError: the database cannot be used.
        """
        store = await Store.open(where, _TEXTS, make=make)
        cleaning: asyncio.Task[None] | None = None
        inbox = cls(store, clock or SystemClock(), keep=keep or KEEP, most_bytes=most_bytes)
        try:
            if keep is not None:
                await inbox.clean()
                cleaning = asyncio.create_task(inbox._keep_clean(), name="gotsurge-inbox-clean")
            yield inbox
        finally:
            for each in (cleaning, inbox._learning):
                if each is not None:
                    each.cancel()
                    await asyncio.wait([each])
            await store.close()

    @property
    def place(self) -> Place:
        """The place of the inbox."""
        return self._store.place

    # --- in ---------------------------------------------------------------------------------------------------------

    async def put(self, account: str, body: bytes, sender: str = "") -> EventState:
        """Store an event durably. An event that is stored already counts once more.

        Args:
            sender: the address that it came from.

        Returns:
            WAITING if its task must be read, DEAD if it cannot be used, DONE if it concerns no task.

        Raises:
            InboxFull: the most bytes wait already.
            UnknownFull: neither order book nor ledger knows the task, or an order that the event names, and a quarter
                of these bytes waits already.
        """
        state, task_id, why, event = self._read(body)
        now = to_microseconds(self._clock.now())
        row = (digest(account, body, event, now), account, state, task_id, now, 1, why, len(body), body)
        refused = await self._store.request(self._put, row)
        if refused is UnknownFull and event is not None:
            if self.is_ours is not None and event.names and await self.is_ours(account, event.names):
                refused = await self._store.request(self._put_known, row)
            elif await self._has_learned():
                refused = await self._store.request(self._put, row)
        if refused is not None:
            raise self._room.error(refused, self.place)
        if sender and task_id is not None:
            self._senders[account, task_id] = sender
            if len(self._senders) > MOST_SENDERS:
                del self._senders[next(iter(self._senders))]
        self.arrived.set()
        return state

    def sender(self, account: str, task_id: str) -> str:
        """The address from which this process got the last event of a task, for some time; "" if it got none."""
        return self._senders.get((account, task_id), "")

    @staticmethod
    def _read(body: bytes) -> tuple[EventState, str | None, str | None, Event | None]:
        try:
            event = read_event(body)
        except MalformedEvent as error:
            return EventState.DEAD, None, str(error), None
        if event.task_id is None:
            return EventState.DONE, None, f"is about {event.model_name}, not about a task", event
        return EventState.WAITING, event.task_id, None, event

    async def _has_learned(self) -> bool:
        """Let the order book add new orders, but not too often; returns whether it may know more than before."""
        now = self._clock.monotonic()
        if self.learn is None:
            return False
        if now >= self._learn_at:
            self._learn_at = now + LEARN_EVERY
            if self._learning is None or self._learning.done():
                self._learning = asyncio.ensure_future(self.learn())
        patience = self._learn_at - LEARN_EVERY + LEARN_SECONDS - now
        if self._learning is None or patience <= 0:
            return False
        await asyncio.wait([self._learning], timeout=patience)
        return True

    async def has_room(self, size: int, *, known: bool = True) -> bool:
        """Whether an event with a body of ``size`` bytes would be accepted now; ``known``: one of a known task."""
        if self._room.is_uncertain:
            await self._store.read(self._room.measure)
        return self._room.has(size, known=known)

    # --- to be read -------------------------------------------------------------------------------------------------

    async def waiting(self, *, after: int = 0, limit: int = 1000) -> list[Waiting]:
        """Events whose tasks must be read, in order of arrival.

        Args:
            after: only events with a higher number.
            limit: the most events to return.
        """
        rows = await self._store.rows("waiting", after=after, limit=limit)
        return [Waiting(number, account, task_id, from_microseconds(at)) for number, account, task_id, at in rows]

    async def named(self, events: Sequence[Waiting]) -> dict[int, str]:
        """For events with the name of an order that the order book or the ledger knows, that name."""

        def ask(db: Database) -> tuple[dict[int, tuple[str, ...]], set[tuple[str, str]]]:
            bodies = db.rows("bodies", ids=db.listed(event.id for event in events), since=0)
            named = {number: names for number, body in bodies if (names := kept_event(bytes(body)).names)}
            all_names = {name for names in named.values() for name in names}
            has_book = all_names and db.rows("has_book")
            return named, set(db.rows("known_names", names=db.listed(all_names))) if has_book else set()

        named, known = await self._store.read(ask)
        by_account: dict[str, set[str]] = {}
        for event in events:
            by_account.setdefault(event.account, set()).update(named.get(event.id, ()))
        for account, names in by_account.items():
            if self.is_ours is not None and names:
                known |= {(account, name) for name in await self.is_ours(account, names)}
        return {
            event.id: name
            for event in events
            for name in reversed(named.get(event.id, ()))
            if (event.account, name) in known
        }

    async def claims(self, ids: Sequence[int], since: datetime) -> dict[int, str]:
        """The statuses that events since a moment claim, by number; "" for one that claims none, or has no body."""
        moment = to_microseconds(since)
        rows = await self._store.read(lambda db: db.rows("bodies", ids=db.listed(ids), since=moment))
        return {number: kept_event(bytes(body)).status or "" for number, body in rows}

    async def done(self, ids: Sequence[int]) -> None:
        """Mark events as done: their tasks were read."""
        await self._settle("done", EventState.DONE, ids)

    async def not_ours(self, ids: Sequence[int], why: str) -> None:
        """Mark events as done because their tasks are not ours, and drop their bodies."""
        await self._settle("not_ours", EventState.DONE, ids, why=why, nothing=b"")

    async def dead(self, ids: Sequence[int], why: str) -> None:
        """Mark events as dead: they cannot be used."""
        await self._settle("dead", EventState.DEAD, ids, why=why)

    async def drop_bodies(self, ids: Sequence[int]) -> None:
        """Drop the bodies of waiting events whose tasks may not be ours. Their tasks must still be read."""
        await self._settle("drop_bodies", EventState.WAITING, ids, nothing=b"")

    async def _settle(self, how: str, state: EventState, ids: Sequence[int], **values: Any) -> None:
        if not ids:
            return

        def job(db: Database) -> None:
            self._room.move(db, state, ids, keep_bodies="nothing" not in values)
            db.change(how, ids=db.listed(ids), **values)

        await self._store.write(job)

    @asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[asyncio.Event]:
        """Exclude other processes with this inbox from the work ``name``; waits until they have ended it, or are dead.

        Next to a file that is a lock of the system, which ends with its process. In PostgreSQL it is a lease, which a
        frozen process loses: then the yielded event is set.
        """
        if self.place.kind is not Kind.SQLITE:
            async with leased(SqlBoard(self._store), name, self._clock) as lost:
                yield lost
            return
        # By the real name: a symbolic link leads to the same lock.
        lock = FileLock(f"{self.place.path.resolve()}.{name}", mode=0o600, thread_local=False)
        while True:
            try:
                lock.acquire(blocking=False)
                break
            except Timeout:
                await self._clock.sleep(_TRY_AGAIN)
        try:
            yield asyncio.Event()
        finally:
            lock.release()

    # --- for people -------------------------------------------------------------------------------------------------

    async def newest(
        self,
        state: EventState | str | None = None,
        *,
        task_id: str = "",
        limit: int = 100,
    ) -> list[Stored]:
        """The newest events, the newest first, without their bodies.

        Args:
            limit: the most events to return.
        """
        rows = await self._store.rows("newest", state=str(state or ""), task_id=task_id, limit=limit)
        return [_stored(row) for row in rows]

    async def show(self, event_id: int) -> Stored | None:
        """One event with its body; None if there is none."""
        rows = await self._store.rows("one", id=event_id)
        return _stored(rows[0]) if rows else None

    async def oldest(self, *, since: datetime, after: int = 0, limit: int = 100) -> Sequence[Stored]:
        """Events since a moment, in order of arrival, with the bodies that are not dropped.

        Args:
            after: only events with a higher number.
            limit: the most events to return.
        """
        rows = await self._store.rows("oldest", since=to_microseconds(since), after=after, limit=limit)
        return [_stored(row) for row in rows]

    async def cursor(self, name: str) -> int | None:
        """The number of the last event that was sent on under a name; None if there is none."""
        rows = await self._store.rows("cursor", name=name)
        return int(rows[0][0]) if rows else None

    async def move_cursor(self, name: str, event_id: int) -> None:
        """Note that an event was sent on under a name, with all before it."""
        await self._store.change("move_cursor", name=name, event=event_id)

    async def replay(self, ids: Sequence[int]) -> int:
        """Have the tasks of events read again; returns their number. A malformed event stays as it is."""

        def job(db: Database) -> int:
            again = 0
            for number in ids:
                for row in db.rows("one", id=number):
                    stored = _stored(row)
                    state, task_id = EventState.WAITING, stored.task_id
                    if task_id is None or stored.body:  # else the body was dropped, and the task is known
                        state, task_id, _, _ = self._read(stored.body or b"")
                    if state is EventState.WAITING:
                        again += db.change("replay", id=number, task_id=task_id)
            return again

        again = await self._store.write(job)
        if again:
            await self._store.read(self._room.measure)
            self.arrived.set()
        return again

    async def drop(self, ids: Sequence[int]) -> int:
        """Remove events; returns the number removed."""
        dropped = await self._store.write(lambda db: db.change("drop", ids=db.listed(ids)))
        await self._store.read(self._room.measure)
        return dropped

    async def ids(self, state: EventState | str) -> Sequence[int]:
        """The numbers of all events in a state."""
        return [number for (number,) in await self._store.rows("in_state", state=str(state))]

    async def counts(self) -> dict[EventState, int]:
        """The number of events in each state."""
        found = {state: number for state, number, _ in await self._store.rows("counts")}
        return {state: found.get(state.value, 0) for state in EventState}

    async def clean(self) -> int:
        """Remove old events; returns the number removed."""
        now = self._clock.now()
        gone = 0
        for state, keep in ((EventState.DONE, self._keep), (EventState.DEAD, KEEP_DEAD)):
            before = to_microseconds(now - keep)
            # In parts, so that events that come meanwhile wait for none of this.
            while some := await self._store.change("forget", state=state.value, before=before):
                gone += some
        await self._store.write(self._room.make)
        return gone

    async def _keep_clean(self) -> None:
        while True:
            await self._clock.sleep(CLEAN_EVERY)
            with suppress(StoreError):  # what could not be removed now is removed an hour later
                await self.clean()


def _stored(row: Row) -> Stored:
    number, account, state, task_id, received_at, times, why, size, *body = row
    return Stored(
        id=number,
        account=account,
        state=EventState(state),
        task_id=task_id,
        received_at=from_microseconds(received_at),
        times=times,
        why=why,
        size=size,
        body=bytes(body[0]) if body else None,
    )
