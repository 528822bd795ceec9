"""A run that this process holds: its properties, and questions and notes about its orders besides their states.

They are about changed orders, similar orders, and drafts that may exist of the orders.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

import msgspec
from msgspec import structs

from gotsurge_async.database import Database
from gotsurge_async.ledger.errors import IllegalTransition, LedgerClosed, LedgerError
from gotsurge_async.ledger.locks import RunLock
from gotsurge_async.ledger.sql import drafts as drafts_of
from gotsurge_async.ledger.sql import marks, pages, runs
from gotsurge_async.ledger.sql.chunks import PAGE, PLACES, clean, each_page, load, number_of
from gotsurge_async.ledger.sql.pages import Rival, locked, owners_of, owners_of_keys, take_key
from gotsurge_async.ledger.sql.recorded import recorded as recorded_tasks
from gotsurge_async.ledger.sql.store import Store, reads, writes
from gotsurge_async.ledger.states import (
    LETTERS,
    LIVE,
    Counts,
    OrderRow,
    OrderState,
    Remark,
    RunInfo,
    RunState,
    Similar,
)

T = TypeVar("T")

SIMILAR_LIMIT = 1000
"""The most similar orders that one question lists."""
FEW_CHUNKS = 2_500
"""A run with at most this many chunks is small: only its own fingerprints are searched for in the whole ledger."""
RIVALS_AT_ONCE = 500


class HeldRun:
    """The base of `Run`, and of the classes with parts of its methods."""

    def __init__(self, store: Store, info: RunInfo, lock: RunLock) -> None:
        self.info: RunInfo = info
        """The run as it was when it was begun or resumed, but with its present option `UNDO`."""
        self._store = store
        self._lock = lock
        self._held = runs.held_as(info, store.tasks)
        lock.keep()
        self._loading = info.state is RunState.LOADING

    @property
    def id(self) -> str:
        """The run's id: the UTC time of its beginning and four characters, such as ``20261124T233800-k3f9``."""
        return self.info.id

    @property
    def epoch(self) -> int:
        """The epoch under which this process holds the run: another process that takes the run raises it."""
        return self._held.epoch

    @property
    def path(self) -> str:
        """The ledger's file."""
        return self._store.path

    def settle_after(self, seconds: float) -> None:
        """Set how long a request of this process that is not answered may act: `Limits.settle`."""
        self._held = structs.replace(self._held, settle=int(seconds * 1_000_000))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Write what waits to be written, and let other processes have the run."""
        if not self._lock.held:
            return
        # The names are for people; the lock is what counts, and it is free.
        with suppress(LedgerError):
            await self._store.write(self._leave, after=self._lock.release)

    def _leave(self, db: Database) -> object:
        return db.change("leave_run", id=self.id, epoch=self._held.epoch)

    async def counts(self) -> Counts:
        """The number of orders in each state."""
        run, loading = self._held, self._loading
        return await self._read(lambda db: runs.counts(db, run.number, loading=loading, first=run.first, last=run.last))

    def rows(self, states: Iterable[OrderState] | None = None, *, batch: int = 1000) -> AsyncIterator[OrderRow]:
        """The orders in some states (None: in all), in their order; about ``batch`` orders are read at a time."""
        self._check()
        held = self._held
        return pages.whole_rows(self._store, self.id, states, batch, first=held.first, last=held.last)

    async def _read(self, question: Callable[[Database], T]) -> T:
        self._check()
        return await self._store.read(question)

    async def _write(self, job: Callable[[Database], T], *, after: Callable[[], None] | None = None) -> T:
        """Run a job in the writer's transaction; refused when another process has taken the run over."""

        def fenced(db: Database) -> T:
            runs.fence(db, self._held)
            return job(db)

        self._check()
        return await self._store.write(fenced, after=after)

    def _check_loading(self) -> None:
        self._check()
        if not self._loading:
            why = f"run {self.id} has all its orders already: start another run for more"
            raise LedgerError(why, "E523", path=self._store.path)

    def _check_admitted(self) -> None:
        self._check()
        if self._loading:
            why = f"run {self.id} is still being loaded: call admit() when all orders are added"
            raise LedgerError(why, "E523", path=self._store.path)

    def _check(self) -> None:
        if not self._lock.held:
            raise LedgerClosed(f"run {self.id} was closed", path=self._store.path)


class Notes(HeldRun):
    """The questions and notes of a `Run`."""

    async def remark(self, remarks: Sequence[Remark]) -> None:
        """Record notes about orders that stay in their states; an order in another state is left alone."""
        if remarks:
            await self._remark(remarks)

    @writes
    def _remark(self, db: Database, now: int, remarks: Sequence[Remark]) -> None:
        by_id = {remark.id: remark for remark in remarks}
        for chunk, places in marks.chunks_in(db, self._held, by_id):
            for place in places:
                remark = by_id[number_of(chunk.id, place)]
                if chunk.state(place) is remark.state:
                    texts = {"status": clean(remark.status), "error": clean(remark.error)}
                    chunk.note(place, **{name: text for name, text in texts.items() if text is not None})
            chunk.save(db, now)

    @reads
    def rivals(self, db: Database, states: Iterable[OrderState], after: int) -> list[Rival]:
        """Orders in some states whose keys were pushed with another text, by id: the 500 after the number ``after``."""
        wanted = frozenset(states)
        rivals: list[Rival] = []
        start, run = max(0, after // PLACES - 1), self._held
        for chunks in each_page(db, run.number, wanted, after=start, most=PAGE // 8, tasks=False, bodies=True):
            owners = owners_of(db, run.environment, chunks.values())
            for chunk in chunks.values():
                for place, meta, payload, _ in chunk.orders():
                    owner, order = owners.get(meta.key), number_of(chunk.id, place)
                    if order <= after or chunk.state(place) not in wanted or owner is None or not owner.live:
                        continue
                    theirs = owner.payload
                    if theirs is not None and theirs != payload:
                        other = number_of(owner.chunk.id, owner.place), owner.run.id, owner.state
                        rivals.append(Rival(order, meta.line, meta.key, payload, *other, theirs, owner.task_id))
            if len(rivals) >= RIVALS_AT_ONCE:
                break
        return rivals

    async def note_changed(self, changed: Sequence[tuple[int, str]]) -> None:
        """Note that orders differ from those that their keys were pushed with: ids, and the differences, for people."""
        await self.remark([Remark(order, OrderState.CHANGED, error=difference) for order, difference in changed])

    @writes
    def note_unchanged(self, db: Database, now: int, ids: Sequence[int]) -> None:
        """Note that orders do not differ from those that their keys were pushed with."""
        for chunk, places in marks.chunks_in(db, self._held, ids):
            for place in places:
                if chunk.state(place) is OrderState.CHANGED:
                    chunk.move(place, OrderState.ALREADY_PUSHED)
            chunk.save(db, now)

    @writes
    def note_text(self, db: Database, now: int, rival: Rival, payload: bytes, error: str) -> Rival | None:
        """Give another text to the order that a key was pushed with: before its task is changed, or when it was not.

        So an order that is pushed while the task's text is not known differs from it, and is not taken for sent.

        Returns:
            The order with its new text; None, with nothing noted, if its text is not that of ``rival`` any more.
        """
        chunk, place = locked(db, rival.other_id)
        if chunk.payload(place) != rival.other_payload:
            return None
        chunk.note(place, error=clean(error) or None)
        chunk.save(db, now)
        chunk.rewrite(db, place, payload, chunk.metas[place].fingerprint)
        return structs.replace(rival, other_payload=payload)

    @writes
    def replace(
        self, db: Database, now: int, rival: Rival, status: str | None, *, doubt: Callable[[bytes], bytes]
    ) -> bool:
        """Note that the order that a key was pushed with was changed at the service into the one of this run.

        Returns:
            Whether it was noted. If its text is not that of ``rival`` any more, another push was changing it too: then
            it is not known which change was the last, and the order has the text that ``doubt`` makes of its own.

        Raises:
            IllegalTransition: that order is no longer created; nothing was noted.
        """
        mine, my_place = locked(db, rival.id)
        theirs, their_place = locked(db, rival.other_id)
        # It is another run's, which may have been taken back since it was read.
        if theirs.state(their_place) is not OrderState.CREATED:
            raise IllegalTransition('the order that was pushed under the key no longer has the state "created"')
        if theirs.payload(their_place) != rival.other_payload:
            text = doubt(theirs.payload(their_place))
            theirs.rewrite(db, their_place, text, theirs.metas[their_place].fingerprint)
            return False
        theirs.record(their_place, None, clean(status))
        theirs.note(their_place, error=f"changed by run {self.id}")
        theirs.save(db, now)
        theirs.rewrite(db, their_place, mine.payload(my_place), mine.metas[my_place].fingerprint)
        take_key(db, self._held.environment, theirs, their_place, (theirs.id, their_place))
        if mine.state(my_place) is OrderState.CHANGED:
            mine.move(my_place, OrderState.ALREADY_PUSHED)
            mine.note(my_place, error="the task was changed to match this order")
            mine.save(db, now)
        return True

    @reads
    def adoptable(self, db: Database, drafts: Mapping[str, str]) -> dict[str, str]:
        """Those of some drafts, passed as key and task id, that can only be of the orders of this run.

        Left out are drafts whose key any run had with another text, except for the time at which the order was made,
        and those recorded or noted anywhere: they may bring another order to a driver, or are being cancelled. A draft
        that only withdrawn orders of the key have recorded, and orders that these superseded, was never broadcast: it
        counts unless its cancel has begun.
        """
        return drafts_of.adoptable(db, self._held, drafts)

    @reads
    def lost_of(self, db: Database, ids: Sequence[int]) -> set[str]:
        """The keys of those of some orders of which a draft may exist that is not recorded for them."""
        return drafts_of.lost_of(db, ids)

    @writes
    def lose_drafts(self, db: Database, now: int, ids: Sequence[int]) -> None:
        """Note that a draft with an unknown id may exist of each order; no driver knows of it."""
        for chunk, places in marks.chunks_in(db, self._held, ids):
            for place in places:
                chunk.note(place, lost_drafts=chunk.lost_drafts(place) + 1)
            chunk.save(db, now)

    @reads
    def lost_drafts(self, db: Database) -> list[str]:
        """The keys of orders that may have a draft with an unknown id, except those that another run took over."""
        run = self._held
        rows = db.rows("lost_of_run", run=run.number, first=run.first, last=run.last)
        chunks = load(db, {number for number, _, _ in rows}, bodies=True)
        lost = {
            chunks[number].metas[place].key: times
            for number, place, times in rows
            if chunks[number].metas and chunks[number].state(place) is not OrderState.SUPERSEDED
        }
        noted: dict[str, int] = dict(db.rows("unused_by_key", run=run.number, keys=db.listed(lost))) if lost else {}
        return [key for key, times in lost.items() if times > noted.get(key, 0)]

    @writes
    def note_unused(self, db: Database, now: int, drafts: Sequence[tuple[str, str]]) -> None:
        """Note drafts, passed as key and task id, that will never be broadcast; a noted one stays as it is.

        Left out is the recorded draft of another run that has the key now, or any while that run has none recorded.
        """
        run = self._held
        owners = db.rows("keys", environment=run.environment, keys=db.listed({key for key, _ in drafts}))
        chunks = load(db, {number for _, number, _ in owners})
        owned = {
            key: chunks[number].task(place)
            for key, number, place in owners
            if number in chunks and chunks[number].run != run.number and chunks[number].state(place) in LIVE
        }
        rows = [
            (task_id, run.number, key, now, None)
            for key, task_id in {task_id: (key, task_id) for key, task_id in drafts}.values()
            if key not in owned or owned[key] not in (None, task_id)
        ]
        db.insert("add_unused", rows)

    @reads
    def recorded(self, db: Database, task_ids: Sequence[str]) -> frozenset[str]:
        """Those of some tasks that are recorded for an order, in any run. The query reads all orders."""
        return frozenset(recorded_tasks(db, self._held.environment, task_ids))

    @writes
    def unused_cancelled(self, db: Database, now: int, task_ids: Sequence[str]) -> None:
        """Note that unused drafts were cancelled."""
        db.change("unused_cancelled", run=self._held.number, ids=db.listed(task_ids), now=now)

    @writes
    def write_off(
        self, db: Database, now: int, tasks: Mapping[int, str], reasons: Mapping[int, str], *, by: str
    ) -> list[int]:
        """Record that tasks of created orders no longer exist: the orders are cancelled, and their keys are free.

        The recorded task stays recorded; ``by`` and the time are among the decisions of the run.

        Args:
            tasks: of each order, by its id, the task that must be recorded for it.
            reasons: for each order, a description for people of its task's end.
            by: the person who states this.

        Returns:
            The orders that were written off. One that is no longer created, or has another task, is left as it is.
        """
        done: list[int] = []
        for chunk, places in marks.chunks_in(db, self._held, tasks):
            metas = load(db, [chunk.id], tasks=False, bodies=True)[chunk.id].metas
            for place in places:
                order = number_of(chunk.id, place)
                if chunk.state(place) is not OrderState.CREATED or chunk.task(place) != tasks[order]:
                    continue
                chunk.move(place, OrderState.CANCELLED)
                chunk.note(place, error=clean(f"{reasons[order]}, says {by}"))
                decision = {"key": metas[place].key, "created": 0, "task_id": tasks[order], "by": by, "at": now}
                db.change("decide", run=self._held.number, chunk=chunk.id, place=place, **decision)
                done.append(order)
            chunk.save(db, now)
        return done

    @writes
    def put_back(
        self, db: Database, now: int, tasks: Mapping[int, str], vanished: Mapping[int, str], *, by: str
    ) -> list[int]:
        """Record that tasks of cancelled orders are live: the orders are created.

        An order whose key another one has stays as it is, unless the other's task vanished: that becomes cancelled.

        Args:
            tasks: of each order, by its id, the task that must be recorded for it.
            vanished: of each order whose key another one has, the task that must be recorded for that one.
            by: the person who states this; the run's decisions contain the name and the time.

        Returns:
            The orders that are created now.
        """
        db.script("admitting")
        done: list[int] = []
        for chunk, places in marks.chunks_in(db, self._held, tasks):
            whole = load(db, [chunk.id], tasks=False, bodies=True)[chunk.id]
            for place in places:
                order, key = number_of(chunk.id, place), whole.metas[place].key
                owner = owners_of_keys(db, self._held.environment, [key], unless={}).get(key)
                if owner is None:  # a run that is being loaded has it
                    continue
                gone = owner.state is OrderState.CREATED and order in vanished and owner.task_id == vanished[order]
                is_right = chunk.state(place) is OrderState.CANCELLED and chunk.task(place) == tasks[order]
                if not is_right or (owner.live and not gone):
                    continue
                if owner.live:
                    theirs = load(db, [owner.chunk.id])[owner.chunk.id]
                    theirs.move(owner.place, OrderState.CANCELLED)
                    theirs.note(
                        owner.place,
                        error=clean(f"the order's task vanished, but task {tasks[order]} is live, says {by}"),
                    )
                    theirs.save(db, now)
                    decision = {"key": key, "created": 0, "task_id": owner.task_id, "by": by, "at": now}
                    db.change("decide", run=theirs.run, chunk=theirs.id, place=owner.place, **decision)
                take_key(db, self._held.environment, whole, place, (owner.chunk.id, owner.place))
                chunk.states[place] = LETTERS[OrderState.CREATED]
                chunk.note(place, error=clean(f"the order's task is live, says {by}"))
                decision = {"key": key, "created": 1, "task_id": tasks[order], "by": by, "at": now}
                db.change("decide", run=self._held.number, chunk=chunk.id, place=place, **decision)
                done.append(order)
            chunk.save(db, now)
        return done

    @reads
    def similar(self, db: Database) -> list[Similar]:
        """Waiting orders that have the fingerprint of live orders with other keys, each once; the first 1000.

        Before ``admit`` the query compares with other runs, afterwards also within this run.
        """
        run = self._held
        first, last = [number or 0 for number in db.rows("span_of_run", run=run.number)[0]]
        few = last - first < FEW_CHUNKS
        if few and _are_alone(db, run.environment, first, last):
            return []
        loading = runs.one(db, run.id).state is RunState.LOADING
        # Any group, and any number of groups with so many rows, has as many orders as are listed.
        limits = {"most": SIMILAR_LIMIT, "each": SIMILAR_LIMIT, "rows": 4 * SIMILAR_LIMIT}
        rows = db.rows(
            "alike",
            environment=run.environment,
            run=run.number,
            first=first,
            last=last,
            few=int(few),
            pending=LETTERS[OrderState.PENDING],
            live=db.having(LETTERS[state] for state in LIVE),
            alone=int(not loading),
            **limits,
        )
        alike: dict[int, list[_Like]] = {}
        names: dict[int, str] = {}
        for start in range(0, len(rows), PAGE):
            page = rows[start : start + PAGE]
            chunks = load(db, {number for _, number, _ in page}, tasks=False, bodies=True)
            names |= {number: info.id for number, info in runs.by_number(db, {c.run for c in chunks.values()}).items()}
            for fingerprint, number, place in page:
                chunk = chunks[number]
                meta, order = chunk.metas[place], number_of(number, place)
                invoice = _has_invoice(chunk.payload(place))
                like = _Like(order, meta.line, meta.key, chunk.run, chunk.state(place), invoice)
                alike.setdefault(fingerprint, []).append(like)
        similar: list[Similar] = []
        for group in alike.values():
            others = [like for like in group if like.run != run.number]
            for mine in sorted(like for like in group if like.run == run.number):
                if others and mine.state is OrderState.PENDING:
                    known = others[0]
                    other = known.key, names[known.run], known.line, known.state
                    similar.append(Similar(mine.key, mine.line, *other, len(others), mine.invoice))
                # Of two orders of this run, the later one names the earlier one; before it is admitted none does.
                if not loading:
                    others.append(mine)
        return sorted(similar, key=lambda pair: pair.line)[:SIMILAR_LIMIT]


def _are_alone(db: Database, environment: str, first: int, last: int) -> bool:
    """Whether the orders of some chunks, live or not, have fingerprints that no other order has: nearly always."""
    where = {"environment": environment, "first": first, "last": last}
    prints = db.rows("prints", **where)
    own = {fingerprint for (fingerprint,) in prints}
    return len(own) == len(prints) and not db.rows("prints_elsewhere", **where, prints=db.listed(own))


class _Like(NamedTuple):
    """An order that has the same fingerprint as another one."""

    number: int
    line: int
    key: str
    run: int
    state: OrderState
    invoice: bool


class _Trip(msgspec.Struct):
    """The fields that are read of an order that is like another one."""

    invoice_number: str | None = None


_trip = msgspec.json.Decoder(_Trip)


def _has_invoice(payload: bytes) -> bool:
    try:
        return bool(_trip.decode(payload).invoice_number)
    except ValueError:  # a damaged order is reported where it is to be sent
        return False
