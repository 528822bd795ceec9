"""Two live orders of a ledger with one task of the service: an order to look at, and no damage to the file.

An answer gave both the same id, in processes that did not see each other. One of the two has a task that is not its
own. The later order is put in doubt without the task, when the ledger is opened for writing: from then on it is settled
as any order in doubt.
"""

from gotsurge_async.bulk.ledger.locks import RunLocks
from gotsurge_async.bulk.ledger.sql.chunks import by_chunk, load
from gotsurge_async.bulk.ledger.sql.marks import describe_order
from gotsurge_async.bulk.ledger.sql.runs import by_number
from gotsurge_async.bulk.ledger.states import CLAIMED, LETTERS, LIVE, WAITING, OrderState
from gotsurge_async.database import Database

_LIVE = "".join(LETTERS[state] for state in LIVE)
_IN_HAND = CLAIMED | WAITING
"""A living process that has the run may be about to broadcast these."""


def find_shared(db: Database) -> list[tuple[str, int, int]]:
    """Tasks that several live orders have, each with the first and the last of these orders."""
    return [(task_id, first, last) for task_id, first, last in db.rows("tasks_twice", live=_LIVE)]


def describe_shared(db: Database) -> list[str]:
    """The same for people: which orders of which runs."""
    return [
        f"task {task_id} is recorded for {describe_order(db, first)} and {describe_order(db, last)}: one of the two is "
        "wrong"
        for task_id, first, last in find_shared(db)
    ]


def settle_shared(db: Database, locks: RunLocks, now: int) -> None:
    """Put the later of two live orders with one task in doubt, without the task; in a transaction.

    Left is what a living process has in its hands: it is settled at a later opening.

    Raises:
        Moved: another writer was there in between; nothing was changed.
    """
    settled = True
    while settled:  # of three orders with one task two are settled, one after the other
        settled = False
        for task_id, first, last in find_shared(db):
            ((number, (place,)),) = by_chunk([last]).items()
            chunk = load(db, [number])[number]
            (run,) = by_number(db, [chunk.run]).values()
            if chunk.state(place) in _IN_HAND and locks.is_held(db, run.id):
                continue
            chunk.forget_task(db, place)
            chunk.states[place] = LETTERS[OrderState.IN_DOUBT]
            chunk.note(place, error=f"its task {task_id} is recorded for {describe_order(db, first)}, too")
            chunk.save(db, now)
            settled = True
