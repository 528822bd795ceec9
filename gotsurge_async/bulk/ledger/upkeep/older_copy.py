"""Going on with an older copy of a ledger, when there is no newer one: `gotsurge ledger accept-older`."""

from contextlib import ExitStack
from pathlib import Path

from attrs import frozen
from sqlalchemy import Connection, literal, update

from gotsurge_async.bulk.ledger.errors import LedgerError
from gotsurge_async.bulk.ledger.sql.runs import held, in_state
from gotsurge_async.bulk.ledger.sql.schema import in_states, orders, runs
from gotsurge_async.bulk.ledger.sql.sqlite import ledger_path, ledger_url, translated
from gotsurge_async.bulk.ledger.sql.store import Store
from gotsurge_async.bulk.ledger.states import WAITING, Clock, OrderState, RunState, utc_now
from gotsurge_async.bulk.ledger.upkeep.counter import (
    COUNTER,
    Identity,
    Keeper,
    counter_of,
    identity_of,
    remember,
)

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


async def refuse_newest(where: str | Path, *, newest: int = 0) -> None:
    """See that there is something for `accept_older` to accept, before anybody is asked whether to; nothing is written.

    Raises:
        LedgerError: the ledger is not older than anything that is known, or there never was one.
    """
    path = ledger_path(ledger_url(where))
    keeper = Keeper(path)
    if _is_gone(keeper, path):
        return
    store = await Store.look(path, utc_now)
    try:
        _newer(await store.read(identity_of), keeper, newest, path)
    finally:
        await store.close()


def _is_gone(keeper: Keeper, path: Path) -> bool:
    """Whether there was a ledger, and is none.

    Raises:
        LedgerError: there never was one, as far as is known.
    """
    if path.exists() and path.stat().st_size:
        return False
    kept = keeper.kept()
    if kept is None or not kept.counter:
        raise LedgerError("does not exist, and nothing is known of one that did", path=str(path))
    return True


def _newer(identity: Identity | None, keeper: Keeper, newest: int, path: Path) -> int:
    """The counter of the newest copy that is known of.

    Raises:
        LedgerError: this one is not older.
    """
    kept = keeper.kept()
    beside = kept.counter if kept is not None and identity is not None and kept.id == identity.id else 0
    known = max(newest, beside)
    if identity is not None and known <= identity.counter:
        raise LedgerError(f"is not older than what is known of it: it counts {identity.counter:,}", path=str(path))
    return known


async def accept_older(where: str | Path, *, newest: int = 0, clock: Clock = utc_now) -> Accepted:
    """Go on with an older copy of a ledger, or begin anew where it is gone, when there is no newer copy.

    What waited when the copy was made may have been sent since: every order that is pending, drafting or drafted, or
    was still being loaded, is in doubt from now on. Recorded drafts of such orders are forgotten: they prove nothing.
    Nothing is known of orders that came later.

    Args:
        newest: the highest counter that was seen of it elsewhere than beside it.

    Raises:
        LedgerError: it is not older than anything that is known.
        RunHeld: a living process has a run of it.
    """
    path = ledger_path(ledger_url(where))
    keeper = Keeper(path)
    if _is_gone(keeper, path):
        with translated(keeper.path):
            keeper.path.unlink()
        return Accepted()
    store = await Store.open(path, clock, accept_older=True)
    undo = ExitStack()
    try:
        known = _newer(await store.read(identity_of), keeper, newest, path)
        for run_id in await store.read(in_state, *(state for state in RunState if state is not RunState.DONE)):
            lock = store.locks.take(run_id)
            if lock is None:
                raise await store.read(held, run_id, str(path))
            undo.callback(lock.release)
        now = store.now()

        def job(connection: Connection) -> Accepted:
            doubtful = _put_in_doubt(connection, now)
            # Whoever had a run of the newer copy in mind, and is frozen, writes nothing more.
            connection.execute(update(runs).values(epoch=runs.c.epoch + 1))
            remember(connection, COUNTER, max(known + 1, counter_of(connection)))
            remember(connection, "accepted_older_at", now)
            return Accepted(in_doubt=doubtful, counter=counter_of(connection))

        return await store.write(job)
    finally:
        undo.close()
        await store.close()


def _put_in_doubt(connection: Connection, now: int) -> int:
    doubt = {"state": OrderState.IN_DOUBT.value, "live": 1, "error": LOST, "updated_at": now}
    # A draft that is recorded here proves nothing: another one may have been made and broadcast since. By its tracking
    # id an order is found whatever became of it; by a draft that is one still it would be broadcast a second time.
    forgotten = {
        "task_id": None,
        "status": None,
        "lost_drafts": orders.c.lost_drafts + 1,
        "error": literal(f"{LOST}; its draft was ").concat(orders.c.task_id),
    }
    drafted = update(orders).where(in_states(orders.c.state, (OrderState.DRAFTED,))).values(doubt | forgotten)
    number = connection.execute(drafted).rowcount
    waiting = update(orders).where(in_states(orders.c.state, WAITING)).values(doubt)
    number += connection.execute(waiting).rowcount
    # What was being loaded was perhaps admitted since. Where another order has its key, that one is in doubt for it.
    loading = update(orders).where(in_states(orders.c.state, (OrderState.LOADING,)))
    number += connection.execute(loading.prefix_with("OR IGNORE").values(doubt)).rowcount
    connection.execute(loading.values(state=OrderState.SUPERSEDED.value, error=LOST, updated_at=now))
    connection.execute(update(runs).where(runs.c.state == RunState.LOADING.value).values(state=RunState.STOPPED.value))
    return number
