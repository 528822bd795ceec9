"""Single orders join a run that is being sent.

Each order either gets its key and is claimed, or the caller gets the order that owns the key. Which order owns a key,
and when an order of another run is taken over, is decided as in an admission.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial

from msgspec import Struct

from gotsurge_async.clock import from_microseconds
from gotsurge_async.database import Database, Moved, Row
from gotsurge_async.ledger.sql import marks, runs
from gotsurge_async.ledger.sql.admission import HELD_BACK, Decided, add, contested, decide
from gotsurge_async.ledger.sql.chunks import PLACES, Meta, clean, load, number_of
from gotsurge_async.ledger.sql.pages import Owner, Since, owners_at, owners_of_keys
from gotsurge_async.ledger.sql.recorded import DOUBT, state_of
from gotsurge_async.ledger.sql.runs import Held
from gotsurge_async.ledger.states import (
    CLAIMED,
    LETTERS,
    LIVE,
    UNFINISHED,
    WAITING,
    WITH_DRAFT,
    Mode,
    NewOrder,
    OrderOutcome,
    OrderRow,
    OrderState,
    RunInfo,
)

WITHDRAWABLE = frozenset({OrderState.PENDING, OrderState.DRAFTED})
"""No driver has been asked about orders in these states, and none will be unless their run sends them."""
_OPEN = UNFINISHED | CLAIMED
_TAKEN = frozenset({OrderState.CREATED, OrderState.CANCELLING, OrderState.CANCELLED})
"""The states of an order whose recorded task the service has, or had."""


class Recorded(Struct, frozen=True):
    """The recorded owner of a key: its run, and its order, without the payload if the ledger lacks that by now.

    ``held``: a living process has the run, and may be sending the order at this moment.
    """

    run: RunInfo
    row: OrderRow
    held: bool = False


def known(db: Database, environment: str, keys: Iterable[str], held: Callable[[str], bool]) -> dict[str, Recorded]:
    """The orders that have some keys, by key; ``held`` returns whether a living process holds a run."""
    owners = owners_of_keys(db, environment, keys, unless={})
    runs_held = {owner.run.id: held(owner.run.id) for owner in owners.values() if owner.live}
    return {key: _recorded(key, owner, held=runs_held[owner.run.id]) for key, owner in owners.items() if owner.live}


def last(db: Database, environment: str, key: str, held: Callable[[str], bool]) -> Recorded | None:
    """The order that has a key, or had it last; ``held`` as in `known`."""
    owner = owners_of_keys(db, environment, [key], unless={}).get(key)
    return None if owner is None else _recorded(key, owner, held=held(owner.run.id))


def at_number(db: Database, environment: str, key: str, number: int, held: Callable[[str], bool]) -> Recorded | None:
    """The order with an id, which has a key, or had it; ``held`` as in `known`."""
    owner = owners_at(db, environment, [(key, *divmod(number, PLACES))]).get(key)
    return None if owner is None else _recorded(key, owner, held=held(owner.run.id))


class Join(Struct, frozen=True, eq=False):
    """A request to join a run, see `Run.join`; ``do`` does it alone, as it must be done if ``alone``."""

    run: Held
    rows: Sequence[NewOrder]
    now: int
    slot: int
    compact: bool
    alone: bool
    fingerprint: Callable[[str], bytes] | None
    do: Callable[[Database], list[int | Recorded | None]]


def join_all(db: Database, wishes: Sequence[Join]) -> list[list[int | Recorded | None]]:
    """Do requests together whose keys are all new, or are all decided; each other one alone."""
    run, rows = wishes[0].run, [row for wish in wishes for row in wish.rows]
    is_plain = all(wish.run is run and wish.rows and not wish.alone for wish in wishes)
    if len(wishes) == 1 or not is_plain or len({row.key for row in rows}) < len(rows):
        return [wish.do(db) for wish in wishes]
    accepted, first, keys = runs.fence_whole(db, run, [row.key for row in rows])
    owners = owners_at(db, run.environment, keys)
    taken = {key for key, _, _ in keys}
    new = [each for each in wishes if accepted is None and taken.isdisjoint(row.key for row in each.rows)]
    numbers: Iterator[list[int]] = iter(())
    if new:
        parts = [_with_fingerprints(wish.rows, wish.fingerprint) for wish in new]
        numbers = iter(_claim_new(db, run, parts, max(wish.now for wish in new), first, compact=new[0].compact))
        marks.count(db, new[0].slot)
    return [[*(next(numbers) if each in new else _decided(run, each.rows, owners) or each.do(db))] for each in wishes]


def join(
    db: Database,
    run: Held,
    rows: Sequence[NewOrder],
    now: int,
    take: Callable[[str], bool],
    *,
    compact: bool,
    submitted: Mapping[str, int],
    fingerprint: Callable[[str], bytes] | None = None,
) -> list[int | Recorded | None]:
    """Insert orders with different keys into a run that is being sent, as one chunk, and claim them.

    Args:
        take: locks another run until the transaction is over, and fences its last holder; False if a living process
            has it.
        submitted: by key, the numbers of submitted orders. One that no longer waits is not inserted.
        fingerprint: see `Run.join`.

    Returns:
        For each order its id, if it is claimed now; else the owner of its key. The owner can be in this run, too: an
        order that continues a dead run's draft, or one held back after an older copy was accepted. None for a submitted
        order that another desk has claimed, or removed, meanwhile.

    Raises:
        Moved: a run that is being loaded has just inserted one of the keys, or one that is being sent has claimed it.
    """
    accepted, first, taken = runs.fence_whole(db, run, [row.key for row in rows])
    if not submitted:
        return [*_join(db, run, rows, now, take, fingerprint, taken, accepted, first, compact=compact)]
    numbers = db.listed(submitted.values())
    waiting = {number for (number,) in db.rows("still_submitted", numbers=numbers)}
    mine = [row for row in rows if submitted.get(row.key) in {None, *waiting}]
    contents = {row.key: row.payload for row in mine}
    taken = [each for each in taken if each[0] in contents]
    joined = _join(db, run, mine, now, take, fingerprint, taken, accepted, first, compact=compact)
    answers = dict(zip(contents, joined, strict=True))
    has_key = [
        submitted[key]
        for key, answer in answers.items()
        if key in submitted
        if isinstance(answer, int) or (answer.row.state is OrderState.CREATED and answer.row.payload == contents[key])
    ]
    db.change("claim_submitted", numbers=db.listed(has_key))
    return [answers.get(row.key) for row in rows]


def _join(
    db: Database,
    run: Held,
    rows: Sequence[NewOrder],
    now: int,
    take: Callable[[str], bool],
    fingerprint: Callable[[str], bytes] | None,
    taken: Sequence[Row],
    accepted: int | None,
    first_epoch: int,
    *,
    compact: bool,
) -> Sequence[int | Recorded]:
    if not rows:
        return ()
    keys = [row.key for row in rows]
    if accepted is None and not taken:
        (numbers,) = _claim_new(db, run, [_with_fingerprints(rows, fingerprint)], now, first_epoch, compact=compact)
        return numbers
    if len(taken) == len(rows) and (known := _decided(run, rows, owners_at(db, run.environment, taken))):
        return known
    db.script("admitting")  # one after the other, as admissions
    owners = owners_of_keys(db, run.environment, keys, unless={})
    answers: dict[str, int | Recorded] = {}
    for row in rows:
        owner = owners.get(row.key)
        if owner is not None and owner.live and (answer := _answer(db, run, row, owner, now, take)) is not None:
            answers[row.key] = answer
    new = _with_fingerprints([row for row in rows if row.key not in answers], fingerprint)
    if new:
        since = None if accepted is None else Since.read(db, run)
        first = {row.key for row in new if since is not None and not since.knows(owners.get(row.key))}
        locked = {row.key: owners[row.key].run.id for row in new if row.key in owners and owners[row.key].live}
        answers |= _add(db, run, new, first, locked, now, compact=compact)
    return [answers[key] for key in keys]


def _claim_new(
    db: Database, run: Held, parts: Sequence[Sequence[NewOrder]], now: int, first: int, *, compact: bool
) -> list[list[int]]:
    """Insert and claim orders with new keys, each part as a chunk, with epochs from ``first``; returns their ids."""
    chunks = add(db, run, parts, now, compact=compact, claimed=_target(run), after=first)
    for chunk in chunks:
        db.committed.append(partial(run.claims.__setitem__, chunk.id, chunk.epoch))
    db.committed.append(partial(run.see, chunks))
    return [chunk.numbers for chunk in chunks]


def _target(run: Held) -> OrderState:
    return OrderState.DRAFTING if run.mode is Mode.TWO_PHASE else OrderState.SENDING


def _decided(run: Held, rows: Sequence[NewOrder], owners: Mapping[str, Owner]) -> list[Recorded]:
    """The owners of the keys of some orders, if no other run need be locked to know what became of them; else none."""
    if not all(row.key in owners and _is_decided(run, row, owners[row.key]) for row in rows):
        return []
    return [_recorded(row.key, owners[row.key], held=owners[row.key].run.id == run.id) for row in rows]


def _with_fingerprints(rows: Sequence[NewOrder], fingerprint: Callable[[str], bytes] | None) -> Sequence[NewOrder]:
    if fingerprint is None:
        return rows
    return [NewOrder(row.line, row.key, row.payload, row.source_row, fingerprint(row.key)) for row in rows]


def _answer(
    db: Database, run: Held, row: NewOrder, owner: Owner, now: int, take: Callable[[str], bool]
) -> Recorded | None:
    """The live order that has a key; None if the new one takes it over from a run that no process has."""
    state = owner.state
    if _is_decided(run, row, owner):
        return _recorded(row.key, owner, held=owner.run.id == run.id)
    if not take(owner.run.id):
        return _recorded(row.key, owner, held=True)
    state = state_of(owner.run.id, owner.chunk, owner.place)
    if _inherits_draft(run, row, owner) or state in WAITING:
        return None
    if state is OrderState.SENDING:
        owner.chunk.put_in_doubt(owner.place, marks.CRASHED if owner.state is state else DOUBT, now)
        owner.chunk.save(db, now)
    return _recorded(row.key, owner)


def _is_decided(run: Held, row: NewOrder, owner: Owner) -> bool:
    """Whether an order has the key, and its outcome can be read without locking another run."""
    state = owner.state
    is_own = owner.run.id == run.id
    return state in LIVE and (is_own or not (state in _OPEN or _inherits_draft(run, row, owner)))


def _inherits_draft(run: Held, row: NewOrder, owner: Owner) -> bool:
    """Whether the new order would inherit the draft of an order in another run."""
    return (
        owner.state in WITH_DRAFT
        and run.mode is owner.run.mode is Mode.TWO_PHASE
        and runs.is_ours(run, owner.run)
        and owner.task_id is not None
        and owner.payload == row.payload
    )


def _add(
    db: Database,
    run: Held,
    rows: Sequence[NewOrder],
    first: set[str],
    locked: Mapping[str, str],
    now: int,
    *,
    compact: bool,
) -> dict[str, int | Recorded]:
    """Insert orders, some of them refused, cancelled or waiting in another run, and claim those that are new.

    ``first`` are the keys that are pushed for the first time since an older copy of the ledger was accepted; ``locked``
    are the runs whose live orders are taken over, by key. Moved if another run has claimed a key since it was read: a
    claim of new keys waits for nobody, and its process may be sending.
    """
    target = _target(run)
    (chunk,) = add(db, run, [rows], now, compact=compact)
    for block in contested(db, run):
        if any(each.owner is not None and each.owner.run.id != locked.get(each.key) for each in block):
            raise Moved
        decide(db, run, block, now, lambda _: None, Decided())  # their runs are locked already
    db.change("forget_contested", run=run.number)
    (chunk,) = load(db, [chunk.id], bodies=True).values()
    for place in chunk.places((OrderState.PENDING,)):
        if chunk.metas[place].key in first:
            chunk.states[place] = LETTERS[OrderState.IN_DOUBT]
            chunk.note(place, error=HELD_BACK)
        else:
            chunk.move(place, target)
    if chunk.places((target,)):
        marks.begin_claim(db, run, chunk, now)
        marks.keep_open(run, chunk, now)
    chunk.save(db, now)
    (info,) = runs.by_number(db, [run.number]).values()
    return {
        meta.key: number_of(chunk.id, place)
        if chunk.state(place) is target
        else _recorded(meta.key, Owner(info, chunk, place), held=True)
        for place, meta in enumerate(chunk.metas)
    }


def _recorded(key: str, owner: Owner, *, held: bool = False) -> Recorded:
    chunk, place = owner.chunk, owner.place
    row = OrderRow(
        number_of(chunk.id, place),
        chunk.metas[place].line if chunk.metas else 0,
        key,
        owner.state,
        owner.payload or b"",
        None,
        owner.task_id,
        owner.status,
        chunk.error(place),
        *_moments(chunk.claimed_at, chunk.updated_at, chunk.open_until),
    )
    return Recorded(owner.run, row, held)


@lru_cache(64)
def _moments(
    claimed_at: int | None, updated_at: int, until: int | None
) -> tuple[datetime | None, datetime, datetime | None]:
    """The times of a chunk, which are those of all of its orders."""
    claimed, open_until = (None if at is None else from_microseconds(at) for at in (claimed_at, until))
    return claimed, from_microseconds(updated_at), open_until


def settle(db: Database, run: Held, outcome: OrderOutcome, now: int) -> None:
    """Record the outcome of a claimed order, unless it is recorded, see `Run.settle_claimed`."""
    if outcome.state is not OrderState.WITHDRAWN:
        if not _has(db, run, outcome):
            marks.record(db, [marks.Results(run, [outcome], now)])
    elif not withdraw(db, run, [outcome.id], outcome.error or "", now):  # its claim had not been ended
        marks.release(db, run, [outcome.id], now)
        withdraw(db, run, [outcome.id], outcome.error or "", now)


def _has(db: Database, run: Held, outcome: OrderOutcome) -> bool:
    """Whether an outcome is recorded. A recorded draft may be broadcast by now, and a created task cancelled."""
    for chunk, (place,) in marks.chunks_in(db, run, [outcome.id]):
        state, task = chunk.state(place), outcome.task_id
        if task is None:
            return state is outcome.state
        return chunk.task(place) == task and (state in _TAKEN or outcome.state is OrderState.DRAFTED)
    return False


def withdraw(db: Database, run: Held, ids: Sequence[int], why: str, now: int) -> set[int]:
    """Withdraw those orders that are pending or have an unsent draft, and free their keys.

    Submitted orders that these had the keys for wait again. Returns the ids of those that are withdrawn now, or were
    before.
    """
    withdrawn: set[int] = set()
    freed: dict[str, int] = {}
    drafts: list[tuple[str, int, str, int, None]] = []
    for chunk, places in marks.chunks_in(db, run, ids):
        withdrawn |= {number_of(chunk.id, place) for place in places if chunk.state(place) is OrderState.WITHDRAWN}
        free = [place for place in places if chunk.state(place) in WITHDRAWABLE]
        metas: Sequence[Meta] = load(db, [chunk.id], tasks=False, bodies=True)[chunk.id].metas if free else ()
        for place in free:
            if place in chunk.tasks:
                drafts.append((chunk.tasks[place][0], run.number, metas[place].key, now, None))
            chunk.move(place, OrderState.WITHDRAWN)
            chunk.note(place, error=clean(why))
            freed[metas[place].key] = number_of(chunk.id, place)
        if free:
            chunk.save(db, now)
    db.insert("add_unused", drafts)
    if freed:
        which = {"keys": db.listed(freed), "orders": db.listed(freed.values())}
        db.change("unclaim_submitted", environment=run.environment, now=now, **which)
    return withdrawn | {*freed.values()}
