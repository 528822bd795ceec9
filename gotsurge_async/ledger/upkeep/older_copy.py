"""Continuing with an older copy of a ledger if there is no newer one: `gotsurge ledger accept-older`."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from msgspec import Struct, structs

from gotsurge_async.api.endpoints import CHUNK
from gotsurge_async.database import Database, Place
from gotsurge_async.ledger.errors import LedgerError
from gotsurge_async.ledger.ledger import Ledger
from gotsurge_async.ledger.sql import admission, marks, runs
from gotsurge_async.ledger.sql.admission import LOST as LOST
from gotsurge_async.ledger.sql.admission import accepted_at
from gotsurge_async.ledger.sql.chunks import Chunk, each_page, load
from gotsurge_async.ledger.sql.pages import ACCEPTED_AT, Owner, accept_after, take_key
from gotsurge_async.ledger.sql.recorded import recorded as recorded_tasks
from gotsurge_async.ledger.sql.store import Backend, place
from gotsurge_async.ledger.states import (
    CLAIMED,
    LETTERS,
    LIVE,
    OLDER_COPY,
    READABLE,
    WAITING,
    Clock,
    Mode,
    NewOrder,
    OrderState,
    RunInfo,
    RunState,
    utc_now,
)
from gotsurge_async.ledger.upkeep.counter import Identity, Keeper, identity_of, is_lacking

TAKEN_BACK = f"{LOST}; it was being taken back"
"""The beginning of the ``error`` of an order that was being cancelled: while that may act, no read calls it created."""


class Accepted(Struct, frozen=True, kw_only=True):
    """The result of `accept_older`."""

    in_doubt: int = 0
    """The number of orders that were put in doubt, waiting submitted ones included."""
    counter: int = 0
    """The ledger's count of admissions and claims now."""


async def refuse_newest(where: str | Path | Place, *, newest: int = 0) -> None:
    """Raise LedgerError if there is nothing for `accept_older` to accept; nothing is written.

    That is a ledger that is not older than its count files, or that never existed. An accepted copy may be accepted
    again while orders that it lacks are not all known.
    """
    where = place(where)
    keeper = Keeper(where)
    if await asyncio.to_thread(_is_gone, keeper, where):
        return
    async with await Ledger.look(where) as ledger:
        await _known_of(ledger, keeper, newest, where)


def _is_gone(keeper: Keeper, where: Place) -> bool:
    """Whether there was a ledger, and is none; LedgerError if, as far as is known, there never was one."""
    if Backend(where).is_there():
        return False
    kept = keeper.kept()
    if kept is None or not kept.counter:
        raise LedgerError("does not exist, and there is no record that it ever did", "E501", path=str(where))
    return True


async def _known_of(ledger: Ledger, keeper: Keeper, newest: int, where: Place) -> tuple[int, bool]:
    identity = await ledger.identity()
    kept = await asyncio.to_thread(lambda: (keeper.kept(), keeper.kept_by_id(identity)))
    return await ledger.read(_newer, [known for known in kept if known is not None], newest, where)


def _newer(db: Database, kept: Sequence[Identity], newest: int, where: Place) -> tuple[int, bool]:
    """The counter of the newest known copy; and whether this copy was accepted before, and lacks nothing since.

    ``kept`` is what the counter files contained before this transaction. Raises LedgerError if this copy is not older,
    and lacks nothing that was counted.
    """
    identity = identity_of(db)
    if identity is None:
        return newest, False
    own = [count for count in kept if count.id == identity.id]
    known = max([newest, *(count.counter for count in own)])
    if any(is_lacking(db, count) for count in own):
        return max(known, identity.counter), False
    if known <= identity.counter and accepted_at(db):
        return identity.counter, True
    if known <= identity.counter:
        why = (
            f"is not an older copy: its counter is {identity.counter:,}, and no record shows a higher one, so there is "
            "nothing to accept"
        )
        raise LedgerError(why, "E505", path=str(where))
    return known, False


async def accept_older(where: str | Path | Place, *, newest: int = 0, clock: Clock = utc_now) -> Accepted:
    """Continue with an older copy of a ledger, or begin anew where it is gone, when there is no newer copy.

    Orders that waited or were in flight when the copy was made may have been sent since: they are in doubt from now on,
    and so are those that were still being loaded. Recorded drafts of orders that are not created are forgotten: they
    prove nothing, since another one may have been made and broadcast. Nothing is known of orders that came later: so
    until `Ledger.all_known` an order that is pushed for the first time is looked up before it is sent, and is in doubt
    where that cannot be done.

    Args:
        newest: the highest known count of the ledger, from other places than the file next to it.

    Raises:
        LedgerError: it is not older than its count files.
        RunHeld: a living process has a run of it.
    """
    where = place(where)
    keeper = Keeper(where)
    await asyncio.to_thread(_is_gone, keeper, where)
    locks = ExitStack()
    async with await Ledger._opened(where, clock, accept_older=True) as ledger:
        known, accepted_before = await _known_of(ledger, keeper, newest, where)
        if accepted_before:
            return Accepted(counter=known)

        def job(db: Database) -> Accepted:
            locks.close()  # those of an attempt that was undone
            for run_id in runs.in_state(db, *(state for state in RunState if state is not RunState.DONE)):
                lock = ledger.locks.take(db, run_id)
                if lock is None:
                    raise runs.held(db, run_id)
                locks.callback(lock.release)
            doubtful = _put_in_doubt(db, ledger.stamp()) + db.change("stop_all_submitted", stopped=OLDER_COPY)
            # A frozen process that has a run or a claim of the newer copy writes nothing more.
            db.change("remember", name=ACCEPTED_AT, value=ledger.stamp())
            accept_after(db)
            db.change("remember", name="first_epoch", value=runs.first_epoch(db) + runs.EPOCHS_OF_A_COPY)
            db.change("raise_run_epochs", by=runs.EPOCHS_OF_A_COPY)
            db.script("withdraw_all")
            db.change("raise_chunk_epochs", by=runs.EPOCHS_OF_A_COPY)
            ((counter,),) = db.rows("counted")
            ((own, counter),) = db.rows("count", slot=ledger.slot, n=max(1, known + 1 - counter))
            db.counted = own, counter
            return Accepted(in_doubt=doubtful, counter=counter)

        with locks:
            return await ledger.write(job)


def _put_in_doubt(db: Database, now: int) -> int:
    """Put orders in doubt that may have been sent since the copy was made, or broadcast by another draft."""
    number = 0
    open_ = WAITING | CLAIMED | READABLE
    for chunks in each_page(db, None, open_, bodies=True):
        known = runs.by_number(db, {chunk.run for chunk in chunks.values()})
        for chunk in chunks.values():
            run = known[chunk.run]
            others = _settle_keys(db, chunk, run.environment) if run.state is RunState.LOADING else frozenset()
            for place_ in chunk.places(open_):
                if place_ in others:
                    # It was perhaps admitted since. Where another order has its key, that one is in doubt for it.
                    chunk.states[place_] = LETTERS[OrderState.SUPERSEDED]
                    chunk.note(place_, error=LOST)
                    continue
                is_cancelling = chunk.state(place_) is OrderState.CANCELLING
                if is_cancelling and run.mode is Mode.DIRECT:
                    continue  # its task is no draft, and certain; its cancel stays open
                number += chunk.state(place_) is not OrderState.IN_DOUBT
                if is_cancelling:
                    chunk.open_until = max(chunk.open_until or 0, chunk.cancel_ends(place_, now))
                # A recorded draft proves nothing: another one may have been made and broadcast since. By its tracking
                # id an order is found whatever became of it. By a draft that is still one it would be broadcast a
                # second time, and by one that was cancelled since its key would be free.
                if place_ in chunk.tasks:
                    chunk.forget_draft(db, place_, TAKEN_BACK if is_cancelling else LOST)
                elif chunk.state(place_) is not OrderState.IN_DOUBT:
                    chunk.note(place_, error=LOST)
                chunk.states[place_] = LETTERS[OrderState.IN_DOUBT]
            chunk.save(db, now)
    db.change("stop_loading")
    return number


def _settle_keys(db: Database, mine: Chunk, environment: str) -> frozenset[int]:
    """The places of a loading chunk whose keys other orders have; the chunk's orders get the free keys."""
    others, ours = set(), set()
    for place_, owner, at in db.rows("contested_of_chunk", chunk=mine.id):
        chunk, key = load(db, [owner]).get(owner), mine.metas[place_].key
        if key in ours or (chunk is not None and chunk.state(at) in LIVE):
            others.add(place_)
            continue
        ours.add(key)
        take_key(db, environment, mine, place_, (owner, at))
    return frozenset(others)


# --- runs that the copy does not know ---------------------------------------------------------------------------------


class LostOrder(Struct, frozen=True):
    """An order of a run that the copy does not know, as a result file contains it."""

    order: NewOrder
    """The order; its payload only names it, since its text is not known."""
    task_id: str | None = None
    """The task that was created; None if it was in doubt."""
    error: str = ""
    """The reason why it was in doubt."""


async def import_run(ledger: Ledger, info: RunInfo, orders: Sequence[LostOrder]) -> int | None:
    """Insert a run that the ledger has lost; none of its orders is ever sent.

    All its orders are in doubt: an order may have been taken back since the result file was written. The task of one
    that was created is recorded, so a read of it settles the order: `Reconciler` does this, and a push of the same
    keys. A key that the run created, and that the ledger has in doubt without a task, or for an earlier run, is the
    run's: the key was free when the run created it. Another key that is live in the ledger stays what it is there.

    Args:
        info: its id, environment, mode, source, columns and options.

    Returns:
        The number of its orders that are in doubt now; None if the ledger knows the run.

    Raises:
        ValueError: a key is not valid, or appears twice.
        LedgerError: the ledger fails.
    """
    admission.check_keys([lost.order for lost in orders])
    keys = Counter(lost.order.key for lost in orders)
    if len(keys) < len(orders):
        raise ValueError(f"run {info.id} has the key {keys.most_common(1)[0][0]} twice")
    now = ledger.stamp()

    def job(db: Database) -> int | None:
        db.script("admitting")
        if not runs.begin(db, structs.replace(info, state=RunState.LOADING, holder=None)):
            return None
        held = runs.held_as(runs.one(db, info.id))
        for start in range(0, len(orders), CHUNK):
            admission.add(db, held, [[lost.order for lost in orders[start : start + CHUNK]]], now, compact=False)
        number = _settle_lost(db, held, info, {lost.order.key: lost for lost in orders}, now)
        db.change("forget_contested", run=held.number)
        db.change("set_run_state", number=held.number, state=RunState.DONE.value, finished_at=now)
        marks.count(db, ledger.slot)
        return number

    return await ledger.write(job)


async def import_tasks(ledger: Ledger, info: RunInfo, orders: Sequence[LostOrder]) -> int:
    """Record the tasks of a run's orders that are in doubt since an older copy was accepted; returns their number.

    The orders stay in doubt until a read of their tasks settles them.
    """
    tasks = {lost.order.key: lost.task_id for lost in orders if lost.task_id is not None}
    now = ledger.stamp()

    def job(db: Database) -> int:
        number = 0
        recorded = recorded_tasks(db, info.environment, list(tasks.values()))
        for page in each_page(db, info.number, (OrderState.IN_DOUBT,), bodies=True):
            for chunk in page.values():
                for place_ in chunk.places((OrderState.IN_DOUBT,)):
                    task_id, error = tasks.get(chunk.metas[place_].key), chunk.error(place_) or ""
                    if task_id is None or place_ in chunk.tasks or task_id in recorded or not error.startswith(LOST):
                        continue
                    chunk.record(place_, task_id, None)
                    number += 1
                chunk.save(db, now)
        return number

    return await ledger.write(job)


def _settle_lost(db: Database, held: runs.Held, info: RunInfo, orders: Mapping[str, LostOrder], now: int) -> int:
    """Give the orders of a lost run, which is loading, their states and tasks; returns the number of live ones."""
    contests = {(each.chunk.id, each.place): each for block in admission.contested(db, held) for each in block}
    recorded = recorded_tasks(db, held.environment, [lost.task_id for lost in orders.values() if lost.task_id])
    live = 0
    for page in each_page(db, held.number, bodies=True):
        for chunk in page.values():
            chunk.keep_names_only(db)
            for place_, meta in enumerate(chunk.metas):
                lost, contest = orders[meta.key], contests.get((chunk.id, place_))
                created = lost.task_id is not None and lost.task_id not in recorded
                if contest is not None and contest.owner is not None:
                    if not (created and _give_up(db, contest.owner, info, now)):
                        chunk.states[place_] = LETTERS[OrderState.ALREADY_PUSHED]
                        continue
                    runs.settle_emptied(db, contest.owner.run.id, now)
                if contest is not None:
                    admission.take_contested(db, held, contest)
                live += 1
                chunk.states[place_] = LETTERS[OrderState.IN_DOUBT]
                known = lost.error
                if created:
                    chunk.record(place_, lost.task_id, None)
                elif lost.task_id is not None:
                    known = f"task {lost.task_id} is recorded for another order"
                chunk.note(place_, error=f"{LOST}; {known}" if known else LOST)
            chunk.save(db, now)
    return live


def _give_up(db: Database, owner: Owner, info: RunInfo, now: int) -> bool:
    """Give an order's key to a lost run that created the key's order later; returns whether that was done.

    Two runs that began in the same second have no known order: then neither task is certain to be the order's own.
    """
    theirs, at = load(db, [owner.chunk.id])[owner.chunk.id], owner.place
    in_doubt, begun = theirs.state(at) is OrderState.IN_DOUBT, owner.run.created_at.replace(microsecond=0)
    gives_up = (in_doubt and owner.task_id is None) or begun < info.created_at
    if gives_up:
        theirs.states[at] = LETTERS[OrderState.SUPERSEDED if in_doubt else OrderState.CANCELLED]
        theirs.note(at, error=f"{LOST}; run {info.id} created the order again")
    elif begun == info.created_at:
        theirs.forget_task(db, at)
        theirs.states[at] = LETTERS[OrderState.IN_DOUBT]
        theirs.note(at, error=f"{LOST}; run {info.id} created the order, too")
    theirs.save(db, now)
    return gives_up
