"""What is noted beside states: how orders differ from what was pushed, what a task says now, unused drafts; and orders
whose tasks are gone."""

from collections.abc import Mapping, Sequence

from gotsurge_async.bulk.ledger.errors import IllegalTransition
from gotsurge_async.bulk.ledger.sql.chunks import Chunk, by_chunk, load, number_of
from gotsurge_async.bulk.ledger.sql.marks import chunks_in, clean
from gotsurge_async.bulk.ledger.sql.pages import take_key
from gotsurge_async.bulk.ledger.sql.runs import Held
from gotsurge_async.bulk.ledger.states import LIVE, OrderState
from gotsurge_async.database import Database


def note_unchanged(db: Database, run: Held, ids: Sequence[int], now: int) -> None:
    """Note that orders do not differ from what their keys were pushed with."""
    for chunk, places in chunks_in(db, run, ids):
        for place in places:
            if chunk.state(place) is OrderState.CHANGED:
                chunk.move(place, OrderState.ALREADY_PUSHED)
        chunk.save(db, now)


def note_text(db: Database, run: Held, other: int, payload: bytes, told: str, now: int) -> None:
    """Give an order that was pushed the text that its task may have: right before it is changed, or when it was not."""
    chunk, place = _one(db, other)
    chunk.note(place, error=clean(told) or None)
    chunk.save(db, now)
    chunk.rewrite(db, place, payload, chunk.metas[place].fingerprint)


def _one(db: Database, order: int) -> tuple[Chunk, int]:
    ((number, (place,)),) = by_chunk([order]).items()
    db.rows("lock_chunk", id=number)
    chunk = load(db, [number], bodies=True)[number]
    if not chunk.metas:
        raise IllegalTransition("the order that was pushed under the key is archived")
    return chunk, place


def replace(db: Database, run: Held, order: int, other: int, status: str | None, now: int) -> None:
    """Note that the order that was pushed under a key was changed at the service into the one of this run."""
    mine, my_place = _one(db, order)
    theirs, their_place = _one(db, other)
    # It is another run's, which may have been taken back since it was read.
    if theirs.state(their_place) is not OrderState.CREATED:
        raise IllegalTransition("the order that was pushed under the key is not created any more")
    theirs.record(their_place, None, clean(status))
    theirs.note(their_place, error=f"changed by run {run.id}")
    theirs.save(db, now)
    theirs.rewrite(db, their_place, mine.payload(my_place), mine.metas[my_place].fingerprint)
    take_key(db, run.environment, theirs, their_place, (theirs.id, their_place))
    if mine.state(my_place) is OrderState.CHANGED:
        mine.move(my_place, OrderState.ALREADY_PUSHED)
        mine.note(my_place, error="its task was changed into this")
        mine.save(db, now)


def lose_drafts(db: Database, run: Held, ids: Sequence[int], now: int) -> None:
    """Note that a draft may exist of each, whose id nobody knows."""
    for chunk, places in chunks_in(db, run, ids):
        for place in places:
            chunk.note(place, lost_drafts=chunk.lost_drafts(place) + 1)
        chunk.save(db, now)


def note_unused(db: Database, run: Held, drafts: Sequence[tuple[str, str]], now: int) -> None:
    """Note drafts, given as key and task id, that no order will be broadcast by; one that is noted stays as it is.

    Left out is what may be the draft of another run that has the key now: the one that is recorded there, or any while
    none is.
    """
    owners = db.rows("keys", environment=run.environment, keys=db.listed({key for key, _ in drafts}))
    chunks = load(db, {number for _, number, _ in owners})
    owned: dict[str, str | None] = {
        key: chunks[number].tasks.get(place, (None,))[0]
        for key, number, place in owners
        if number in chunks and chunks[number].run != run.number and chunks[number].state(place) in LIVE
    }
    rows = [
        (task_id, run.number, key, now, None)
        for key, task_id in {task_id: (key, task_id) for key, task_id in drafts}.values()
        if key not in owned or owned[key] not in (None, task_id)
    ]
    db.insert("add_unused", rows)


def unused_cancelled(db: Database, run: Held, task_ids: Sequence[str], now: int) -> None:
    """Note that unused drafts were cancelled."""
    db.change("unused_cancelled", run=run.number, ids=db.listed(task_ids), now=now)


def write_off(
    db: Database, run: Held, tasks: Mapping[int, str], reasons: Mapping[int, str], by: str, now: int
) -> list[int]:
    """Record that the tasks of created orders are not there any more: the orders are cancelled, and their keys free.

    Args:
        tasks: of each order, by its number, the task that must be recorded for it.
        reasons: of each order, for people, what became of its task.

    Returns:
        The orders that were written off. One that is no longer created, or has another task, is left as it is.
    """
    done: list[int] = []
    for chunk, places in chunks_in(db, run, tasks):
        metas = load(db, [chunk.id], said=False, bodies=True)[chunk.id].metas
        for place in places:
            order = number_of(chunk.id, place)
            if chunk.state(place) is not OrderState.CREATED or chunk.task(place) != tasks[order]:
                continue
            chunk.move(place, OrderState.CANCELLED)
            chunk.note(place, error=clean(f"{reasons[order]}, says {by}"))
            decision = {"key": metas[place].key, "created": 0, "task_id": tasks[order], "by": by, "at": now}
            db.change("decide", run=run.number, chunk=chunk.id, place=place, **decision)
            done.append(order)
        chunk.save(db, now)
    return done
