"""Orders come in, by blocks, and a run that was not admitted goes out again."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from gotsurge_async.bulk.ledger.errors import LedgerError
from gotsurge_async.bulk.ledger.records import NewOrder
from gotsurge_async.bulk.ledger.sql.prepared import PreparedInsert
from gotsurge_async.bulk.ledger.sql.schema import meta, orders, payloads, runs
from gotsurge_async.bulk.ledger.states import OrderState, RunState

DISCARDED_AT_ONCE = 20_000

_TAKE_IDS = (
    update(meta)
    .where(meta.c.name == "last_order_id")
    .values(value=meta.c.value + bindparam("n"))
    .returning(meta.c.value)
)

_INSERT_ORDERS = PreparedInsert(
    insert(orders),
    ("id", "run_id", "line", "environment", "key", "state", "live", "fingerprint", "updated_at"),
)
_INSERT_PAYLOADS = PreparedInsert(insert(payloads), ("order_id", "payload", "source_row"))
_LOADING = OrderState.LOADING.value


def check_keys(rows: Sequence[NewOrder]) -> None:
    """Refuse keys that a database would cut off or not take."""
    for row in rows:
        if not row.key or "\0" in row.key or not (row.key.isascii() or _is_text(row.key)):
            raise ValueError(f"line {row.line}: {row.key!r} cannot be a key: give text, without NUL characters")


def _is_text(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def add(connection: Connection, run_id: str, environment: str, rows: Sequence[NewOrder], now: int) -> None:
    """Put orders in as ``loading``."""
    # Numbered by us and not by the database: both tables need the number, and no database returns a
    # million of them as fast as one counts by one.
    last: int = connection.execute(_TAKE_IDS, {"n": len(rows)}).scalar_one()
    ids = range(last - len(rows) + 1, last + 1)
    _INSERT_ORDERS.run(
        connection,
        [
            (order_id, run_id, row.line, environment, row.key, _LOADING, 0, row.fingerprint, now)
            for order_id, row in zip(ids, rows, strict=True)
        ],
    )
    _INSERT_PAYLOADS.run(
        connection, [(order_id, row.payload, row.source_row) for order_id, row in zip(ids, rows, strict=True)]
    )


def discard_some(connection: Connection, run_id: str, path: str) -> bool:
    """Remove some orders of a loading run, and in the end the run; returns whether there is more to remove."""
    state = connection.scalar(select(runs.c.state).where(runs.c.id == run_id))
    if state is None:
        return False
    if state != RunState.LOADING:
        raise LedgerError(f"run {run_id} is {state}: only a run that was not admitted is discarded", path=path)
    some = select(orders.c.id).where(orders.c.run_id == run_id).order_by(orders.c.line, orders.c.id)
    removed = connection.execute(delete(orders).where(orders.c.id.in_(some.limit(DISCARDED_AT_ONCE)))).rowcount
    if removed == 0:
        connection.execute(delete(runs).where(runs.c.id == run_id))
    return removed > 0
