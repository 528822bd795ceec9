"""All the orders of a run, page after page, so that memory stays flat over millions; and the owners of their keys."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Self, TypeVar

import msgspec
from msgspec import Struct, structs

from gotsurge_async.clock import from_microseconds, to_microseconds
from gotsurge_async.database import Database, Row
from gotsurge_async.ledger.errors import IllegalTransition, TaskCancelling, damaged, open_words
from gotsurge_async.ledger.sql import runs
from gotsurge_async.ledger.sql.chunks import (
    ARCHIVED,
    LAST,
    PLACES,
    Chunk,
    by_chunk,
    chunks_of,
    load,
    number_of,
    page_of,
    take_bodies,
    take_notes,
    take_results,
)
from gotsurge_async.ledger.sql.runs import Held
from gotsurge_async.ledger.sql.store import Store
from gotsurge_async.ledger.states import (
    DOUBTFUL,
    FREE,
    LETTERS,
    LIVE,
    OWNED_ELSEWHERE,
    PUSHED,
    WAITING,
    OrderRow,
    OrderState,
    PendingOrder,
    RunInfo,
    RunState,
)

T = TypeVar("T")

FIRST_PAGE = 5
"""Chunks of the first page, when their size is not known."""
PAGE_BYTES = 8 * 1024 * 1024
"""The most bytes of a page's orders, if they are as large as those before."""

_UPDATED_AT = 4
"""The index of the column in a chunk's row."""

LOST = OWNED_ELSEWHERE | FREE
"""States of orders whose key another order may have by now."""

_OF_ITS_OWN = LOST | {OrderState.CANCELLING}
"""What is shown of one of these depends on more than its chunk."""

_UNCLAIMED = OWNED_ELSEWHERE | {OrderState.PENDING}
"""States that a claim of the chunk does not concern."""


_NO_TASK: tuple[str | None, str | None] = None, None


# --- pages ------------------------------------------------------------------------------------------------------------


async def pages(
    store: Store,
    run: int,
    states: Iterable[OrderState] | None,
    batch: int,
    read: Callable[[Database, dict[int, Chunk]], list[T]],
    *,
    since: int = 0,
    first: int = 0,
    last: int = LAST,
) -> AsyncIterator[list[T]]:
    """The results of ``read`` for the chunks of a run with orders in some states (None: all), page after page.

    A page has about ``batch`` orders of a usual size. Left out are chunks that were last changed before ``since``, and
    those that are not between ``first`` and ``last``.
    """
    if batch < 1:
        raise ValueError(f"a batch must have at least 1 order, not {batch}")
    wanted = None if states is None else frozenset(states)
    if wanted == frozenset():
        return

    def page(db: Database, after: int, most: int) -> tuple[int, int, int, list[T]]:
        rows = page_of(db, run, wanted, after, most, last=last)
        changed = [row for row in rows if row[_UPDATED_AT] >= since]
        chunks = chunks_of(db, changed, bodies=True) if changed else {}
        weight = sum(len(chunk.body) + len(chunk.source) for chunk in chunks.values())
        return len(rows), rows[-1][0] if rows else after, weight, read(db, chunks)

    after, most = first - 1, min(FIRST_PAGE, max(1, batch // 20))
    while True:
        seen, after, weight, orders = await store.read(page, after, most)
        if orders:
            yield orders
        if seen < most:
            return
        most = min(max(1, batch // 20), max(1, most * PAGE_BYTES // max(1, weight)))


def pending_pages(
    store: Store, run: Held, states: Iterable[OrderState], batch: int
) -> AsyncIterator[list[PendingOrder]]:
    """The pending orders of a run, page by page; no orders if ``states`` is empty."""
    pending = LETTERS[OrderState.PENDING]

    def read(_: Database, chunks: dict[int, Chunk]) -> list[PendingOrder]:
        whole = {number for number, chunk in chunks.items() if chunk.states.count(pending) == len(chunk.states)}
        orders = [
            PendingOrder(number * PLACES + place, meta.line, meta.key, payload)
            for number, chunk in chunks.items()
            for place, (meta, payload) in enumerate(zip(chunk.metas, chunk.payloads(), strict=True))
            if number in whole or chunk.states[place] == pending
        ]
        # Of these nothing is noted without a claim, which raises the epoch.
        run.see([chunks[number].bare() for number in whole])
        return orders

    return pages(store, run.number, states, batch, read, first=run.first, last=run.last)


async def whole_rows(
    store: Store,
    run_id: str,
    states: Iterable[OrderState] | None,
    batch: int,
    since: datetime | None = None,
    *,
    first: int = 0,
    last: int = LAST,
) -> AsyncIterator[OrderRow]:
    """The orders of a run in some states, one by one: those changed since a time, in chunks ``first`` to ``last``."""
    info = await store.read(runs.one, run_id)
    changed = 0 if since is None else to_microseconds(since)
    async for page in row_pages(store, info, states, batch, standing=False, since=changed, first=first, last=last):
        for row in page:
            yield row


def row_pages(
    store: Store,
    info: RunInfo,
    states: Iterable[OrderState] | None,
    batch: int,
    *,
    standing: bool,
    since: int = 0,
    first: int = 0,
    last: int = LAST,
) -> AsyncIterator[list[OrderRow]]:
    """The orders of a run in some states, page by page; with ``standing``, each with the present state of its key.

    An archive contains this already, and has no other runs to read it from.
    """
    runs.refuse_archived(info)
    wanted = frozenset(OrderState if states is None else states)
    # In a run that is not admitted, what is kept as pending is loading.
    names = {OrderState.PENDING: OrderState.LOADING} if info.state is RunState.LOADING else {}
    kept = [state for state in LETTERS if names.get(state, state) in wanted]
    standing = standing and info.archived_at is None

    def read(db: Database, chunks: dict[int, Chunk]) -> list[OrderRow]:
        owners = owners_of(db, info.environment, chunks.values())
        rows = [row for chunk in chunks.values() for row in rows_of(chunk, owners, standing=standing)]
        if states is not None:
            rows = [row for row in rows if row.state in kept]
        return [structs.replace(row, state=names.get(row.state, row.state)) for row in rows] if names else rows

    among = None if states is None else kept
    return pages(store, info.number, among, batch, read, since=since, first=first, last=last)


def rows_of(chunk: Chunk, owners: "Mapping[str, Owner]", *, standing: bool) -> Iterator[OrderRow]:
    """The orders of a chunk. With ``standing``, each with the state of its key's current owner."""
    updated_at = from_microseconds(chunk.updated_at)
    claimed_at = None if chunk.claimed_at is None else from_microseconds(chunk.claimed_at)
    open_until = None if chunk.open_until is None else from_microseconds(chunk.open_until)
    common = chunk.one_state()
    if common is not None and common not in _OF_ITS_OWN:  # as nearly always
        at = None if common in _UNCLAIMED else claimed_at
        until = open_until if common in PUSHED else None
        tasks, first = chunk.tasks, number_of(chunk.id, 0)
        for place, meta, payload, row in chunk.orders():
            line, key, *_ = meta
            task_id, status = tasks.get(place, _NO_TASK)
            yield OrderRow(first + place, line, key, common, payload, row, task_id, status, None, at, updated_at, until)
        return
    for place, meta, payload, source_row in chunk.orders():
        state, error = chunk.state(place), chunk.error(place)
        task_id, status = chunk.task(place), chunk.status(place)
        at = None if state in _UNCLAIMED else claimed_at
        owner = owners.get(meta.key) if state in LOST else None
        if state in LOST and standing:
            live = owner if owner is not None and owner.live else None
            if live is not None:
                task_id, status = live.task_id, live.status
                error = f"pushed again by run {live.run.id}" if state in FREE else error or _reason(state, live)
            elif state in OWNED_ELSEWHERE:
                task_id = status = None
                was = error or _reason(state, owner) or "taken over"
                error = f"the key is free again, and may be pushed; the order was {was}"
            state = standing_of(state, live, payload)
        elif state in OWNED_ELSEWHERE and owner is not None:
            task_id, status, error = owner.task_id, owner.status, error or _reason(state, owner)
        number = number_of(chunk.id, place)
        until = open_until if state in PUSHED else None
        if state is OrderState.CANCELLING:
            ends = chunk.notes[place].cancel_until or 0 if place in chunk.notes else 0
            until = from_microseconds(ends) if ends > 0 else None
        yield OrderRow(
            number, meta.line, meta.key, state, payload, source_row, task_id, status, error, at, updated_at, until
        )


# --- who has a key ----------------------------------------------------------------------------------------------------


class Owner(NamedTuple):
    """The order that has a key, or had it last; another order than the one that is read."""

    run: RunInfo
    chunk: Chunk
    place: int

    @property
    def state(self) -> OrderState:
        """The state of the order."""
        return self.chunk.state(self.place)

    @property
    def live(self) -> bool:
        """Whether the order has the key."""
        return self.state in LIVE

    @property
    def task_id(self) -> str | None:
        """The order's task."""
        return self.chunk.task(self.place)

    @property
    def status(self) -> str | None:
        """The status of the order's task."""
        return self.chunk.status(self.place)

    @property
    def payload(self) -> bytes | None:
        """The order's text; None if that is not known: it is archived, or was imported from a result file."""
        known = self.chunk.metas and self.chunk.packed != ARCHIVED
        return self.chunk.payload(self.place) if known else None

    @property
    def is_read_in(self) -> bool:
        """Whether only the row that was sent is known: its lost run was read in from a result file."""
        return bool(self.chunk.metas) and self.chunk.packed == ARCHIVED


class Rival(Struct, frozen=True):
    """An order of a run, and the order that its key was pushed with, by whatever run."""

    id: int
    line: int
    key: str
    payload: bytes
    other_id: int
    other_run: str
    other_state: OrderState
    other_payload: bytes
    task_id: str | None


def locked(db: Database, order: int) -> tuple[Chunk, int]:
    """An order's chunk, locked, and its place."""
    ((number, (place,)),) = by_chunk([order]).items()
    db.rows("lock_chunk", id=number)
    chunk = load(db, [number], bodies=True)[number]
    if not chunk.metas:
        raise IllegalTransition("the order that was pushed under the key is archived")
    return chunk, place


def owners_of(db: Database, environment: str, chunks: Iterable[Chunk]) -> dict[str, Owner]:
    """For orders of some chunks whose keys another order may have: that order, by key."""
    lost = {LETTERS[state] for state in LOST}
    mine = {
        meta.key: (chunk.id, place)
        for chunk in chunks
        if not lost.isdisjoint(chunk.states)
        for place, meta in enumerate(chunk.metas)
        if chunk.states[place] in lost
    }
    return owners_of_keys(db, environment, mine, unless=mine) if mine else {}


def owners_of_keys(
    db: Database, environment: str, keys: Iterable[str], *, unless: Mapping[str, tuple[int, int]]
) -> dict[str, Owner]:
    """The orders that have some keys, or had them last, except those in ``unless``."""
    rows = db.rows("keys", environment=environment, keys=db.listed(keys))
    return owners_at(db, environment, [row for row in rows if unless.get(row[0]) != row[1:]])


def owners_at(db: Database, environment: str, rows: Sequence[Row]) -> dict[str, Owner]:
    """The orders to which rows of the table of keys lead; LedgerUnusable where they lead nowhere."""
    if not rows:
        return {}
    ids = db.listed(sorted({number for _, number, _ in rows}))
    whole = db.rows("chunks_whole", ids=ids)
    _refuse_gaps(db, environment, rows, whole)
    chunks = chunks_of(db, [row[:7] for row in whole], tasks=False)
    more = db.rows("results_and_notes", ids=ids)
    take_results(chunks, sorted([row[:4] for row in more if row[3] is not None]))
    take_notes(chunks, [(*row[:3], *row[4:]) for row in more if row[3] is None])
    take_bodies(chunks, [row[7:12] for row in whole if row[7] is not None])
    of_runs = {row[1]: runs.info_of(row[12:]) for row in whole}
    known = {number: info for number, info in of_runs.items() if info.state is not RunState.LOADING}
    return {
        key: Owner(known[chunks[number].run], chunks[number], place)
        for key, number, place in rows
        if number in chunks and chunks[number].run in known
    }


def _refuse_gaps(db: Database, environment: str, keys: Sequence[Row], chunks: Sequence[Row]) -> None:
    """Refuse keys without their chunk, unless its run was discarded just now, and chunks without their run."""
    there = {chunk[0] for chunk in chunks}
    if lost := {row for row in keys if row[1] not in there}:
        for row in db.rows("keys", environment=environment, keys=db.listed(key for key, _, _ in lost)):
            if row in lost:
                raise damaged("keys", f"environment {environment!r}, key {row[0]!r}", "its chunk is missing")
    for chunk in chunks:
        if chunk[12] is None:
            raise damaged("chunks", f"chunk {chunk[0]}", "its run is missing")


def take_key(db: Database, environment: str, chunk: Chunk, place: int, former: tuple[int, int]) -> bool:
    """Make an order the owner of its key; False if the key no longer leads to the chunk and place of ``former``.

    A key that leads nowhere is inserted.
    """
    meta = chunk.metas[place]
    owner = {"chunk": chunk.id, "place": place, "fingerprint": meta.fingerprint}
    before = {"from_chunk": former[0], "from_place": former[1]}
    return db.change("take_key", environment=environment, key=meta.key, **owner, **before) == 1


def _reason(state: OrderState, owner: Owner | None) -> str | None:
    """The ``error`` of an order whose key another one has, or had."""
    if owner is None or state not in OWNED_ELSEWHERE:
        return None
    if state is OrderState.SUPERSEDED:
        return f"taken over by run {owner.run.id}"
    return f"{'in doubt in' if owner.state in DOUBTFUL else 'created by'} run {owner.run.id}"


def standing_of(state: OrderState, owner: Owner | None, payload: bytes) -> OrderState:
    """The state of an order whose key another one may own: that of its owner, as seen from the order."""
    if owner is None:
        return OrderState.SUPERSEDED if state in OWNED_ELSEWHERE else state
    if owner.state is OrderState.CREATED:
        # A row that was taken over was perhaps changed on the way: what was created there then differs from it.
        differs = state is not OrderState.ALREADY_PUSHED and owner.payload not in (None, payload)
        return OrderState.CHANGED if state is OrderState.CHANGED or differs else OrderState.ALREADY_PUSHED
    return OrderState.IN_DOUBT if owner.state in DOUBTFUL else OrderState.SUPERSEDED


def refuse_cancelling(db: Database, environment: str, made: Sequence[str], read: Sequence[str], now: int) -> None:
    """Raise TaskCancelling if a cancel of a task that an answer named has begun, or of one that was read may act.

    Call it after the chunks are written: see `drafts.begin_cancel`.
    """
    where = {"environment": environment}
    for (task_id,) in db.rows("being_cancelled", ids=db.listed(made), **where) if made else ():
        raise TaskCancelling(f"task {task_id} is being or was cancelled")
    for task_id, until in db.rows("cancel_may_act", ids=db.listed(read), now=now, **where) if read else ():
        when = open_words(from_microseconds(until), cancelling=True)
        raise TaskCancelling(f"task {task_id} is being cancelled: {when}")


# --- after an older copy was accepted: orders that need no look-up ---------------------------------------------------

ACCEPTED_AT = "older_accepted_at"
"""In ``ledger_meta``: when an older copy was accepted; 0 since a person confirmed that all lost runs are known."""
ACCEPTED_AFTER = "older_accepted_after"
"""In ``ledger_meta``: the number of the newest run of the copy when it was accepted."""
READ_IN = "read_in_from"
"""The option of a lost run that was read in from its result files: it looked up none of its orders."""


class Since(Struct, frozen=True):
    """The runs of an account since an older copy was accepted: they looked up their orders on its Task List.

    Runs count by their numbers, whatever the clock was.
    """

    after: int
    account: str

    @classmethod
    def read(cls, db: Database, run: Held) -> Self:
        """The runs whose look-ups count for a run."""
        meta: dict[str, int] = dict(db.rows("meta"))
        return cls(meta.get(ACCEPTED_AFTER, runs.MANY), run.account)

    def knows(self, owner: Owner | None) -> bool:
        """Whether an order need not be looked up, because of the order that has its key, or had it last.

        One that GotSurge has, or may have, is not sent again. One that waits, or that has lost its key, is.
        """
        if owner is None:
            return False
        if owner.live and owner.state not in WAITING:
            return True
        info = owner.run
        is_since = info.number > self.after and READ_IN not in info.options
        return is_since and runs.account_of(info) == self.account


def accept_after(db: Database) -> None:
    """Note that an older copy is accepted now: only later runs look up their orders."""
    newest = runs.newest(db, 1)
    db.change("remember", name=ACCEPTED_AFTER, value=newest[0].number if newest else 0)


def other_row(db: Database, run: Held, chunk: Chunk, place: int, owner: Owner) -> str:
    """The reason why an order differs from one of a lost run, of which only the row is known; "" if it does not."""
    mine = _record(chunk, place, runs.one(db, run.id).columns)
    theirs = _record(owner.chunk, owner.place, owner.run.columns)
    fields = [name for name in {**mine, **theirs} if mine.get(name, "") != theirs.get(name, "")]
    if not (fields := [field for field in fields if field != "client_time_utc"]):
        return ""
    return (
        f"pushed by run {owner.run.id}, and differs from the row in that run's result file: {', '.join(fields)}; "
        "--replace-changed cannot change the task: take the order back (gotsurge undo), then push it again"
    )


def _record(chunk: Chunk, place: int, columns: Sequence[str] | None) -> dict[str, Any]:
    """The row of an order by its columns, or fields; the order itself if it has no row."""
    row = next(row or text for at, _, text, row in chunk.orders() if at == place)
    try:
        if columns is None:
            return msgspec.json.decode(row, type=dict[str, Any])
        cells = msgspec.json.decode(row, type=list[str | list[str]])  # a number is a list of its text
    except ValueError:
        return {"its row": row}  # the same if it is the same text
    return dict(zip(columns, ["".join(cell).strip() for cell in cells], strict=False))
