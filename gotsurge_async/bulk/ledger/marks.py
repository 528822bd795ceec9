"""The writes that move orders from state to state; each is conditional on the state they are in.

A function here is a job for the writer: it may be undone and run again.
"""

from collections.abc import Iterable, Sequence
from typing import NoReturn

from sqlalchemy import ColumnElement, Connection, Update, and_, bindparam, case, func, insert, select, update

from .admission import CRASHED
from .errors import IllegalTransition
from .records import NewOrder, Outcome
from .schema import in_states, meta, orders, payloads
from .states import CLAIMED, LIVE, OrderState, sources

RECORDED = (OrderState.CREATED, OrderState.DRAFTED, OrderState.REJECTED, OrderState.IN_DOUBT)
"""The states that an outcome may have."""

_IDS_AT_ONCE = 500

_INSERT_ORDERS = insert(orders)
_INSERT_PAYLOADS = insert(payloads)
_TAKE_IDS = (
    update(meta)
    .where(meta.c.name == "last_order_id")
    .values(value=meta.c.value + bindparam("n"))
    .returning(meta.c.value)
)


def _recording(target: OrderState) -> Update:
    return (
        update(orders)
        .where(
            orders.c.id == bindparam("order_id"),
            orders.c.run_id == bindparam("of_run"),
            in_states(orders.c.state, sources(target)),
        )
        .values(
            state=target.value,
            live=int(target in LIVE),
            task_id=func.coalesce(bindparam("new_task_id"), orders.c.task_id),
            status=func.coalesce(bindparam("new_status"), orders.c.status),
            error=bindparam("new_error"),
            updated_at=bindparam("now"),
        )
    )


_RECORD = {target: _recording(target) for target in RECORDED}


def add(connection: Connection, run_id: str, environment: str, rows: Sequence[NewOrder], now: int) -> None:
    """Put orders in as ``loading``."""
    # Numbered by us and not by the database: both tables need the number, and no database returns a
    # million of them as fast as it counts by one.
    last: int = connection.execute(_TAKE_IDS, {"n": len(rows)}).scalar_one()
    first = last - len(rows) + 1
    connection.execute(
        _INSERT_ORDERS,
        [
            {
                "id": order_id,
                "run_id": run_id,
                "line": row.line,
                "environment": environment,
                "key": row.key,
                "state": OrderState.LOADING.value,
                "live": 0,
                "fingerprint": row.fingerprint,
                "updated_at": now,
            }
            for order_id, row in enumerate(rows, first)
        ],
    )
    connection.execute(
        _INSERT_PAYLOADS,
        [
            {"order_id": order_id, "payload": row.payload, "source_row": row.source_row}
            for order_id, row in enumerate(rows, first)
        ],
    )


def claim(
    connection: Connection, run_id: str, ids: Sequence[int], source: OrderState, target: OrderState, now: int
) -> set[int]:
    """Move those of some orders that are in ``source`` to ``target``; returns which."""
    claimed: set[int] = set()
    for some in _slices(ids):
        claimed.update(
            connection.scalars(
                update(orders)
                .where(_are(run_id, some), in_states(orders.c.state, (source,)))
                .values(state=target.value, claimed_at=now, updated_at=now)
                .returning(orders.c.id)
            )
        )
    return claimed


def release(connection: Connection, run_id: str, ids: Sequence[int], now: int) -> None:
    """Undo claims."""
    drafted = (orders.c.state == OrderState.BROADCASTING.value, OrderState.DRAFTED.value)
    for some in _slices(ids):
        released = connection.execute(
            update(orders)
            .where(_are(run_id, some), in_states(orders.c.state, CLAIMED))
            .values(state=case(drafted, else_=OrderState.PENDING.value), claimed_at=None, updated_at=now)
        ).rowcount
        if released != len(some):
            _complain(connection, run_id, some, (OrderState.PENDING, OrderState.DRAFTED), "be released")


def record(connection: Connection, run_id: str, results: Sequence[Outcome], now: int) -> None:
    """Record outcomes, all or none."""
    by_state: dict[OrderState, list[dict[str, object]]] = {}
    for result in results:
        row = {
            "order_id": result.id,
            "of_run": run_id,
            "new_task_id": result.task_id,
            "new_status": result.status,
            "new_error": result.error,
            "now": now,
        }
        by_state.setdefault(result.state, []).append(row)
    for state, rows in by_state.items():
        if connection.execute(_RECORD[state], rows).rowcount != len(rows):
            ids = [result.id for result in results if result.state is state]
            _complain(connection, run_id, ids, (state,), f"become {state}")


def recover(connection: Connection, run_id: str, now: int) -> None:
    """Settle what a process that ended without a word left behind."""
    for source, target, error in (
        (OrderState.SENDING, OrderState.IN_DOUBT, CRASHED),
        (OrderState.DRAFTING, OrderState.PENDING, None),
    ):
        connection.execute(
            update(orders)
            .where(orders.c.run_id == run_id, in_states(orders.c.state, (source,)))
            .values(state=target.value, error=error, updated_at=now)
        )


def _are(run_id: str, ids: Sequence[int]) -> ColumnElement[bool]:
    # The run is only a guard. Named bare, SQLite would look for the orders through the index over runs, and
    # read the whole run to find twenty rows.
    return and_(orders.c.id.in_(ids), func.coalesce(orders.c.run_id, "") == run_id)


def _slices(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (ids[at : at + _IDS_AT_ONCE] for at in range(0, len(ids), _IDS_AT_ONCE))


def _complain(
    connection: Connection, run_id: str, ids: Sequence[int], reached: Iterable[OrderState], wish: str
) -> NoReturn:
    """Name an order that did not go where it was sent, after an update that left it where it was."""
    for some in _slices(ids):
        odd = connection.execute(
            select(orders.c.line, orders.c.key, orders.c.state)
            .where(_are(run_id, some), ~in_states(orders.c.state, reached))
            .order_by(orders.c.line)
            .limit(1)
        ).first()
        if odd is not None:
            raise IllegalTransition(
                f"order {odd.key} (line {odd.line}) of run {run_id} is {odd.state} and cannot {wish}"
            )
    raise IllegalTransition(f"an order of run {run_id} is named twice, does not exist or had {wish} before")
