"""The inbox: every event that came, durable before it is confirmed, until it has been read and is old.

Events that come while a commit is on its way share the next one: nobody waits for a timer, and the disk is waited for
once for all of them. What an event leads to is not decided here: see `gotsurge_async.webhooks.reads`.
"""

import asyncio
import hashlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias

import attrs
from filelock import FileLock, Timeout

from gotsurge_async.auth.leases import leased
from gotsurge_async.clock import Clock, SystemClock, from_microseconds, to_microseconds
from gotsurge_async.database import Database, Kind, Place, Row
from gotsurge_async.webhooks.event import Event, MalformedEvent, read_event
from gotsurge_async.webhooks.store import Board, Store, StoreError

KEEP = timedelta(days=7)
"""How long an event is kept that was read."""
KEEP_DEAD = timedelta(days=30)
"""How long one is kept of which nothing could be made."""
MOST_BYTES = 1024**3
"""Bytes of all bodies that are kept; more are refused, so that no flood fills the disk under the ledger."""
DEAD_SHARE = 10
"""Dead letters have a tenth of that, besides; of more, the oldest go, so that they keep no event out."""
PATIENCE = 10.0
"""Seconds that the sender of an event waits for the disk."""
TOGETHER = 1000
"""Events of one commit, at most."""
CLEAN_EVERY = 3600.0
"""Seconds between two clean-ups."""
_TRY_AGAIN = 0.2
"""Seconds between two looks whether another process is still alone with something."""

_TEXTS = Path(__file__).with_suffix(".sql")


_Coming: TypeAlias = "tuple[Row, asyncio.Future[None]]"


class InboxFull(StoreError):
    """The inbox holds as many bytes as it may; the event was not taken."""


class EventState(StrEnum):
    """What became of an event."""

    WAITING = "waiting"
    """Its task is still to be read."""
    DONE = "done"
    """Its task was read, or it is of no task."""
    DEAD = "dead"
    """Nothing can be made of it: a person may look at it, mend the cause, and replay it."""


@attrs.frozen(kw_only=True)
class Stored:
    """An event in the inbox.

    Attributes:
        id: its number, in the order in which events came.
        account: whose receiver it came to.
        times: how often the very same event came.
        why: why it is dead, or of no use.
        size: bytes of its body.
        body: as it came; None where it was not asked for.
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


@attrs.frozen
class Waiting:
    """An event whose task is to be read."""

    id: int
    account: str
    task_id: str
    received_at: datetime


class Inbox:
    """An open inbox::

        async with Inbox.open("inbox.db") as inbox:
            receiver = Receiver(inbox, tokens=[token])

    Several processes may have one open; each belongs to one event loop. Every method raises StoreError where the
    database fails.
    """

    def __init__(self, store: Store, clock: Clock, *, keep: timedelta, keep_dead: timedelta, most_bytes: int) -> None:
        self.arrived: asyncio.Event = asyncio.Event()
        """Set when an event came to this process that is to be read; whoever waits for it clears it."""
        self._store = store
        self._clock = clock
        self._keep = keep
        self._keep_dead = keep_dead
        self._most_bytes = most_bytes
        self._bytes = 0
        self._dead_bytes = 0
        self._coming: list[_Coming] = []
        self._putting: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        where: str | Path | Place,
        *,
        clock: Clock | None = None,
        keep: timedelta | None = KEEP,
        keep_dead: timedelta = KEEP_DEAD,
        most_bytes: int = MOST_BYTES,
    ) -> AsyncIterator["Inbox"]:
        """Open an inbox, and make it if there is none. What is old is removed while it is open.

        Args:
            where: the path of a file, or a URL: ``sqlite:///PATH``, ``postgresql://USER@HOST/NAME``. Never the ledger's
                own file.
            keep: how long events are kept that were read; None to remove nothing, for who only looks.
            keep_dead: how long dead ones are.
            most_bytes: of all bodies together; dead ones have a tenth of it besides.

        Raises:
            ConfigError: it cannot be one.
            StoreError: it cannot be used.
        """
        store = await Store.open(where, _TEXTS)
        cleaning: asyncio.Task[None] | None = None
        inbox = cls(store, clock or SystemClock(), keep=keep or KEEP, keep_dead=keep_dead, most_bytes=most_bytes)
        try:
            if keep is not None:
                await inbox.clean()
                cleaning = asyncio.create_task(inbox._clean_for_ever(), name="gotsurge-inbox-clean")
            yield inbox
        finally:
            if cleaning is not None:
                cleaning.cancel()
                await asyncio.wait([cleaning])
            if inbox._putting is not None:
                await asyncio.wait([inbox._putting])
            await store.close()

    @property
    def place(self) -> Place:
        """Where it is."""
        return self._store.place

    # --- in ---------------------------------------------------------------------------------------------------------

    async def put(self, account: str, body: bytes) -> EventState:
        """Keep an event; it is durable on return. One that is here already counts once more.

        Returns:
            WAITING if its task is to be read, DEAD if nothing can be made of it, DONE if it is of no task.

        Raises:
            InboxFull: it holds as many bytes as it may.
        """
        state, task_id, why, event = self._read(body)
        if state is not EventState.DEAD and self._bytes + len(body) > self._most_bytes:
            told = f"the inbox {self.place} holds {self._bytes:,} bytes"
            raise InboxFull(f"{told}: drop what is not needed, or keep less")
        now = to_microseconds(self._clock.now())
        row = (_digest(account, body, event, now), account, state, task_id, now, 1, why, len(body), body)
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._coming.append((row, kept))
        if self._putting is None:
            self._putting = asyncio.create_task(self._put_all(), name="gotsurge-inbox-put")
        await kept
        return state

    @staticmethod
    def _read(body: bytes) -> tuple[EventState, str | None, str | None, Event | None]:
        try:
            event = read_event(body)
        except MalformedEvent as error:
            return EventState.DEAD, None, str(error), None
        if event.task_id is None:
            return EventState.DONE, None, f"is of {event.model_name}, and not of a task", event
        return EventState.WAITING, event.task_id, None, event

    async def _put_all(self) -> None:
        try:
            while self._coming:
                batch, self._coming = self._coming[:TOGETHER], self._coming[TOGETHER:]
                rows = _once([row for row, _ in batch])
                writing = asyncio.ensure_future(self._write(rows))
                if not (await asyncio.wait([writing], timeout=PATIENCE))[0]:
                    await self._refuse_until(writing, batch)
                elif (error := writing.exception()) is not None:
                    _refuse(batch, error)
                else:
                    for _, kept in batch:
                        if not kept.done():  # else its sender has gone
                            kept.set_result(None)
        finally:
            self._putting = None

    async def _write(self, rows: Sequence[Row]) -> None:
        dead = sum(row[-2] for row in rows if row[2] is EventState.DEAD)
        most = self._most_bytes // DEAD_SHARE if dead else None
        full = most is not None and self._dead_bytes + dead > most

        def keep(db: Database) -> int | None:
            db.insert("put", rows)
            return _make_room(db, most) if full and most is not None else None

        left = await self._store.write(keep)
        self._dead_bytes = self._dead_bytes + dead if left is None else left
        self._bytes += sum(row[-2] for row in rows) - dead
        self.arrived.set()

    async def _refuse_until(self, writing: "asyncio.Future[None]", batch: Sequence[_Coming]) -> None:
        """The disk stands still: tell those who wait, and those who come, until it does not."""
        too_slow = StoreError(f"{self.place}: the disk takes longer than {PATIENCE:g} s")
        _refuse(batch, too_slow)
        while not (await asyncio.wait([writing], timeout=PATIENCE))[0]:
            batch, self._coming = self._coming, []
            _refuse(batch, too_slow)
        writing.exception()  # they were told

    # --- to be read -------------------------------------------------------------------------------------------------

    async def waiting(self, *, after: int = 0, limit: int = 1000) -> list[Waiting]:
        """Events whose tasks are to be read, as they came, behind one of a number.

        Args:
            after: only events with a higher number.
            limit: at most so many events.
        """
        rows = await self._store.read(lambda db: db.rows("waiting", after=after, limit=limit))
        return [Waiting(number, account, task_id, from_microseconds(at)) for number, account, task_id, at in rows]

    async def done(self, ids: Sequence[int], why: str | None = None) -> None:
        """Say that the tasks of events were read."""
        await self._settle("done", ids, why)

    async def dead(self, ids: Sequence[int], why: str) -> None:
        """Say that nothing can be made of events."""
        await self._settle("dead", ids, why)

    async def _settle(self, how: str, ids: Sequence[int], why: str | None) -> None:
        if ids:
            await self._store.write(lambda db: db.change(how, ids=db.listed(ids), why=why))

    @asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[asyncio.Event]:
        """Exclude other processes with this inbox from something; waits until they are dead or done with it.

        Beside a file that is a lock of the system, which ends with its process; in PostgreSQL a lease, which one that
        is frozen loses: the event that is given is set then.
        """
        lost = asyncio.Event()
        if self.place.kind is not Kind.SQLITE:
            async with leased(Board(self._store, lost), name, self._clock):
                yield lost
            return
        lock = FileLock(f"{self.place.path}.{name}", mode=0o600, thread_local=False)
        while True:
            try:
                lock.acquire(blocking=False)
                break
            except Timeout:
                await self._clock.sleep(_TRY_AGAIN)
        try:
            yield lost
        finally:
            lock.release()

    # --- for people -------------------------------------------------------------------------------------------------

    async def newest(
        self,
        state: EventState | str | None = None,
        *,
        task_id: str = "",
        since: datetime | None = None,
        limit: int = 100,
    ) -> list[Stored]:
        """The newest events, the newest first, without their bodies.

        Args:
            limit: at most so many events.
        """
        given = {"state": str(state or ""), "task_id": task_id, "since": to_microseconds(since) if since else 0}
        return [_stored(*row) for row in await self._read_rows("newest", **given, limit=limit)]

    async def show(self, event_id: int) -> Stored | None:
        """One event with its body; None if there is none."""
        rows = await self._read_rows("one", id=event_id)
        return _stored(*rows[0]) if rows else None

    async def oldest(self, *, since: datetime, after: int = 0, limit: int = 100) -> Sequence[Stored]:
        """Events since a moment, as they came, behind one of a number, with their bodies.

        Args:
            after: only events with a higher number.
            limit: at most so many events.
        """
        rows = await self._read_rows("oldest", since=to_microseconds(since), after=after, limit=limit)
        return [_stored(*row) for row in rows]

    async def replay(self, ids: Sequence[int]) -> int:
        """Have the tasks of events read again; how many that are. One that is still no event is left as it is."""

        def job(db: Database) -> int:
            again = 0
            for number in ids:
                for row in db.rows("one", id=number):
                    state, task_id, _, _ = self._read(row[-1])
                    if state is EventState.WAITING:
                        again += db.change("replay", id=number, task_id=task_id)
            return again

        again = await self._store.write(job)
        if again:
            self.arrived.set()
        return again

    async def drop(self, ids: Sequence[int]) -> int:
        """Forget events; how many those were."""
        dropped = await self._store.write(lambda db: db.change("drop", ids=db.listed(ids)))
        await self._measure()
        return dropped

    async def ids(self, state: EventState | str) -> Sequence[int]:
        """The numbers of all events in a state."""
        return [number for (number,) in await self._read_rows("in_state", state=str(state))]

    async def counts(self) -> dict[EventState, int]:
        """How many events are in each state."""
        found = {state: number for state, number, _ in await self._read_rows("counts")}
        return {state: found.get(state.value, 0) for state in EventState}

    async def clean(self) -> int:
        """Forget what is old; how many events that were."""
        now = self._clock.now()
        gone = 0
        for state, keep in ((EventState.DONE, self._keep), (EventState.DEAD, self._keep_dead)):
            before = to_microseconds(now - keep)
            # In parts, so that events that come meanwhile wait for none of this.
            while some := await self._store.write(_forgetting(state, before)):
                gone += some
        await self._store.write(lambda db: _make_room(db, self._most_bytes // DEAD_SHARE))
        await self._measure()
        return gone

    async def _clean_for_ever(self) -> None:
        while True:
            await self._clock.sleep(CLEAN_EVERY)
            with suppress(StoreError):  # what could not be removed now is removed an hour later
                await self.clean()

    async def _measure(self) -> None:
        sizes = {state: int(size or 0) for state, _, size in await self._read_rows("counts")}
        self._dead_bytes = sizes.pop(EventState.DEAD.value, 0)
        self._bytes = sum(sizes.values())

    async def _read_rows(self, name: str, /, **values: Any) -> Sequence[Row]:
        return await self._store.read(lambda db: db.rows(name, **values))


def _forgetting(state: EventState, before: int) -> Callable[[Database], int]:
    return lambda db: db.change("forget", state=state.value, before=before)


def _make_room(db: Database, most: int) -> int:
    """Forget the oldest dead letters where all are larger than they may be; bytes that are left."""
    ((size,),) = db.rows("dead_size")
    if size <= most:
        return int(size)
    db.change("forget_dead", most=most * 9 // 10)  # some more, for it is a search
    ((size,),) = db.rows("dead_size")
    return int(size)


def _digest(account: str, body: bytes, event: Event | None, now: int) -> bytes:
    """By what an event is known when it comes again: of those that say when they were sent, all that they say.

    It begins with the time, so that those that come together stand together in the index: else each would change a
    page of its own there.
    """
    if event is None or event.tells_time:
        said = 0 if event is None or event.timestamp is None else to_microseconds(event.timestamp) % 2**63
        whole = hashlib.blake2b(body, digest_size=16, key=account.encode()[:64]).digest()
        return said.to_bytes(8, "big") + whole
    return now.to_bytes(8, "big") + os.urandom(16)  # the same text may come again, and mean another change


def _once(rows: Sequence[Row]) -> Sequence[Row]:
    """Each digest once, counted: a statement may not meet the same row twice."""
    found: dict[bytes, Row] = {row[0]: row for row in rows}
    if len(found) == len(rows):
        return rows
    times = Counter(row[0] for row in rows)
    return [(*row[:5], times[digest], *row[6:]) for digest, row in found.items()]


def _refuse(batch: Iterable[_Coming], error: BaseException) -> None:
    for _, kept in batch:
        if not kept.done():
            # Each gets an error of its own: a shared one would gather the tracebacks of all.
            kept.set_exception(StoreError(str(error)))
            kept.exception()  # looked at, also when the sender has gone


def _stored(
    number: int,
    account: str,
    state: str,
    task_id: str | None,
    received_at: int,
    times: int,
    why: str | None,
    size: int,
    body: bytes | None = None,
) -> Stored:
    return Stored(
        id=number,
        account=account,
        state=EventState(state),
        task_id=task_id,
        received_at=from_microseconds(received_at),
        times=times,
        why=why,
        size=size,
        body=None if body is None else bytes(body),
    )
