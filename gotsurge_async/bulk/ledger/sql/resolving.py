"""People's words about orders in doubt, written into the ledger."""

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, bindparam, insert, select, update

from gotsurge_async.bulk.ledger.errors import IllegalTransition, NoSuchRun
from gotsurge_async.bulk.ledger.sql.bundles import ROWS, among, bundle
from gotsurge_async.bulk.ledger.sql.schema import decisions, in_states, orders
from gotsurge_async.bulk.ledger.states import OrderState, in_words

_OF_RUN = select(orders.c.key, orders.c.id, orders.c.state, orders.c.task_id).where(
    orders.c.run_id == bindparam("of_run"), among(orders.c.key)
)


def resolve(
    connection: Connection,
    run_id: str,
    words: Mapping[str, str | None],
    states: Iterable[OrderState],
    *,
    by: str,
    now: int,
    path: str,
) -> None:
    """Record words: the order of a key is this task, or with None it does not exist, and its key is free.

    Raises:
        NoSuchRun: the run has no such order.
        IllegalTransition: one is in none of ``states``, or has another task recorded, which is never replaced.
    """
    states = frozenset(states)
    found = {row.key: row for row in connection.execute(_OF_RUN, {"of_run": run_id, ROWS: bundle(list(words))})}
    for key, task_id in words.items():
        if key not in found:
            raise NoSuchRun(f"run {run_id} has no order {key}", path=path)
        row = found[key]
        if row.state not in states:
            said = in_words(OrderState(row.state), held=True)  # what is being sent is in flight
            raise IllegalTransition(f"order {key} of run {run_id} is {said}, not in doubt", path=path)
        if None not in (task_id, row.task_id) and task_id != row.task_id:
            raise IllegalTransition(f"task {row.task_id} is recorded for order {key} of run {run_id}", path=path)
    here = update(orders).where(orders.c.id == bindparam("order"), in_states(orders.c.state, states))
    created = here.values(state=OrderState.CREATED.value, task_id=bindparam("task"), error=None, updated_at=now)
    said = f"not created, says {by}"
    not_created = here.values(state=OrderState.REJECTED.value, live=0, error=said, updated_at=now)
    for key, task_id in words.items():
        order = found[key].id
        if task_id is not None:
            connection.execute(created, {"order": order, "task": task_id})
        else:
            connection.execute(not_created, {"order": order})
        word = {"run_id": run_id, "order_id": order, "key": key, "created": int(task_id is not None)}
        connection.execute(insert(decisions), {**word, "task_id": task_id, "decided_by": by, "decided_at": now})
