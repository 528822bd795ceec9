"""Orders come in, by blocks, and a run that was not admitted goes out again."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, insert, literal, select, update

from .bundles import BYTES, ROWS, Bytes, bundle, bytes_at, incoming, place
from .errors import LedgerError
from .records import NewOrder
from .schema import meta, orders, payloads, runs
from .states import OrderState, RunState

DISCARDED_AT_ONCE = 20_000

_TAKE_IDS = (
    update(meta)
    .where(meta.c.name == "last_order_id")
    .values(value=meta.c.value + bindparam("n"))
    .returning(meta.c.value)
)

_rows = incoming()
_INSERT_ORDERS = insert(orders).from_select(
    ["id", "line", "key", "fingerprint", "run_id", "environment", "state", "live", "updated_at"],
    select(
        place(_rows, 0),
        place(_rows, 1),
        place(_rows, 2),
        bytes_at(_rows, 3),
        bindparam("of_run"),
        bindparam("in_environment"),
        literal(OrderState.LOADING.value),
        literal(0),
        bindparam("now"),
    ),
)
_INSERT_PAYLOADS = insert(payloads).from_select(
    ["order_id", "payload", "source_row"], select(place(_rows, 0), bytes_at(_rows, 1), bytes_at(_rows, 3))
)


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
    numbered = list(enumerate(rows, last - len(rows) + 1))
    prints = Bytes()
    bundled = bundle([(order_id, row.line, row.key, *prints.put(row.fingerprint)) for order_id, row in numbered])
    fixed = {"of_run": run_id, "in_environment": environment, "now": now}
    connection.execute(_INSERT_ORDERS, {**fixed, ROWS: bundled, BYTES: prints.whole()})
    content = Bytes()
    bundled = bundle(
        [(order_id, *content.put(row.payload), *content.put(row.source_row)) for order_id, row in numbered]
    )
    connection.execute(_INSERT_PAYLOADS, {ROWS: bundled, BYTES: content.whole()})


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
