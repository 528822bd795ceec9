"""Going on with an older copy of a ledger, when there is no newer one: `gotsurge ledger accept-older`."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from attrs import frozen

from gotsurge_async.bulk.ledger.errors import LedgerError
from gotsurge_async.bulk.ledger.sql import runs
from gotsurge_async.bulk.ledger.sql.chunks import Chunk, each_page, load
from gotsurge_async.bulk.ledger.sql.pages import take_key
from gotsurge_async.bulk.ledger.sql.sqlite import translated
from gotsurge_async.bulk.ledger.sql.store import Backend, Store, place
from gotsurge_async.bulk.ledger.states import (
    CLAIMED,
    LETTERS,
    LIVE,
    WAITING,
    Clock,
    OrderState,
    RunState,
    utc_now,
)
from gotsurge_async.bulk.ledger.upkeep.counter import Identity, Keeper, identity_of, is_lacking
from gotsurge_async.database import Database, Kind, Place

LOST = "an older copy of the ledger was gone on with: it may have been sent since"
"""What an order in doubt says in its ``error`` after `accept_older`."""


@frozen(kw_only=True)
class Accepted:
    """What going on with an older copy changed.

    Attributes:
        in_doubt: how many orders are in doubt now.
        counter: what the ledger counts now; 0 if there is none.
    """

    in_doubt: int = 0
    counter: int = 0


async def refuse_newest(where: str | Path | Place, *, newest: int = 0) -> None:
    """See that there is something for `accept_older` to accept, before anybody is asked whether to; nothing is written.

    Raises:
        LedgerError: the ledger is not older than anything that is known, or there never was one.
    """
    where = place(where)
    keeper = Keeper(where)
    if await asyncio.to_thread(_is_gone, keeper, where):
        return
    store = await Store.look(where, utc_now)
    try:
        await _known_of(store, keeper, newest, where)
    finally:
        await store.close()


def _is_gone(keeper: Keeper, where: Place) -> bool:
    """Whether there was a ledger, and is none.

    Raises:
        LedgerError: there never was one, as far as is known.
    """
    if Backend(where).is_there():
        return False
    kept = keeper.kept()
    if kept is None or not kept.counter:
        raise LedgerError("does not exist, and nothing is known of one that did", path=str(where))
    return True


async def _known_of(store: Store, keeper: Keeper, newest: int, where: Place) -> int:
    identity = await store.read(identity_of)
    kept = await asyncio.to_thread(lambda: (keeper.kept(), keeper.kept_by_id(identity)))
    return await store.read(_newer, [known for known in kept if known is not None], newest, where)


def _newer(db: Database, kept: Sequence[Identity], newest: int, where: Place) -> int:
    """The counter of the newest copy that is known of, which this one is not.

    Args:
        kept: what the counter files said before.

    Raises:
        LedgerError: this one is not older, and lacks nothing that was counted.
    """
    identity = identity_of(db)
    if identity is None:
        return newest
    own = [count for count in kept if count.id == identity.id]
    known = max([newest, *(count.counter for count in own)])
    if any(is_lacking(db, count) for count in own):
        return max(known, identity.counter)
    if known <= identity.counter:
        raise LedgerError(f"is not older than what is known of it: it counts {identity.counter:,}", path=str(where))
    return known


async def accept_older(where: str | Path | Place, *, newest: int = 0, clock: Clock = utc_now) -> Accepted:
    """Go on with an older copy of a ledger, or begin anew where it is gone, when there is no newer copy.

    What waited when the copy was made, or was on its way, may have been sent since: every such order is in doubt from
    now on, and so is what was still being loaded. Recorded drafts of orders that are not created are forgotten: they
    prove nothing, since another one may have been made and broadcast. Nothing is known of orders that came later.

    Args:
        newest: the highest counter that was seen of it elsewhere than beside it.

    Raises:
        LedgerError: it is not older than anything that is known.
        RunHeld: a living process has a run of it.
    """
    where = place(where)
    keeper = Keeper(where)
    if await asyncio.to_thread(_is_gone, keeper, where) and where.kind is Kind.SQLITE:
        with translated(keeper.path):
            keeper.path.unlink()
        return Accepted()
    store = await Store.open(where, clock, accept_older=True)
    locks = ExitStack()
    try:
        known = await _known_of(store, keeper, newest, where)

        def job(db: Database) -> Accepted:
            locks.close()  # those of an attempt that was undone
            for run_id in runs.in_state(db, *(state for state in RunState if state is not RunState.DONE)):
                lock = store.locks.take(db, run_id)
                if lock is None:
                    raise runs.held(db, run_id)
                locks.callback(lock.release)
            doubtful = _put_in_doubt(db, store.now())
            # Whoever had a run or a claim of the newer copy in mind, and is frozen, writes nothing more.
            db.change("remember", name="first_epoch", value=runs.first_epoch(db) + runs.EPOCHS_OF_A_COPY)
            db.change("raise_run_epochs", by=runs.EPOCHS_OF_A_COPY)
            db.script("withdraw_all")
            db.change("raise_chunk_epochs", by=runs.EPOCHS_OF_A_COPY)
            ((counter,),) = db.rows("counted")
            db.change("count_on", slot=store.slot, n=max(1, known + 1 - counter))
            ((counter,),) = db.rows("counted")
            return Accepted(in_doubt=doubtful, counter=counter)

        return await store.write(job)
    finally:
        locks.close()
        await store.close()


def _put_in_doubt(db: Database, now: int) -> int:
    """Put in doubt what may have been sent since the copy was made, or broadcast by another draft."""
    number = 0
    open_ = WAITING | CLAIMED | {OrderState.IN_DOUBT}
    for chunks in each_page(db, None, open_, bodies=True):
        known = runs.by_number(db, {chunk.run for chunk in chunks.values()})
        for chunk in chunks.values():
            run = known[chunk.run]
            others = _settle_keys(db, chunk, run.environment) if run.state is RunState.LOADING else frozenset()
            for place_ in chunk.places(open_):
                if place_ in others:
                    # What was being loaded was perhaps admitted since. Where another order has its key, that one is in
                    # doubt for it.
                    chunk.states[place_] = LETTERS[OrderState.SUPERSEDED]
                    chunk.note(place_, error=LOST)
                    continue
                number += chunk.state(place_) is not OrderState.IN_DOUBT
                # A draft that is recorded here proves nothing: another one may have been made and broadcast since. By
                # its tracking id an order is found whatever became of it; by a draft that is one still it would be
                # broadcast a second time, and by one that was cancelled since its key would be free.
                if place_ in chunk.tasks:
                    chunk.forget_draft(db, place_, LOST)
                elif chunk.state(place_) is not OrderState.IN_DOUBT:
                    chunk.note(place_, error=LOST)
                chunk.states[place_] = LETTERS[OrderState.IN_DOUBT]
            chunk.save(db, now)
    db.change("stop_loading")
    return number


def _settle_keys(db: Database, mine: Chunk, environment: str) -> frozenset[int]:
    """The places of a loading chunk whose keys other orders have; a key that is free is ours from now on."""
    found, taken = set(), set()
    for place_, owner, at in db.rows("contested_of_chunk", chunk=mine.id):
        chunk, meta = load(db, [owner]).get(owner), mine.metas[place_]
        if meta.key in taken or (chunk is not None and chunk.state(at) in LIVE):
            found.add(place_)
            continue
        taken.add(meta.key)
        take_key(db, environment, mine, place_, (owner, at))
    return frozenset(found)
