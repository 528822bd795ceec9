"""Letting the orders of a run in: all at once, or none.

One transaction, which excludes every other writer, decides for each key of the run who owns it. The runs whose rows
are taken over or given up are locked meanwhile, so none of them can wake up in between: whoever holds a lock is
alive, and keeps its orders.
"""

from collections.abc import Callable, Iterable

from sqlalchemy import ColumnElement, Connection, and_, func, literal, select, update
from sqlalchemy.sql.dml import Update

from .records import Admission, Doubled
from .schema import in_states, is_live, orders, runs
from .states import OrderState, RunState, sources

DOUBLED_LIMIT = 1000
"""How many repeated keys one admission lists."""

CRASHED = "the process ended before the answer was recorded"
"""What an order in doubt after a crash says in its ``error``."""

_ours = orders.alias("ours")
_theirs = orders.alias("theirs")

_CRASHED = sources(OrderState.IN_DOUBT)
"""With nobody alive to tell, something may exist of these."""

_HARMLESS = sources(OrderState.SUPERSEDED)
"""With nobody alive to broadcast it, nothing of these ever calls a driver: at most an unused draft is left."""

_UNDECIDED = _CRASHED | _HARMLESS
"""Only the holder of their run may know what these mean: it may be sending at this moment."""


def admit(connection: Connection, run_id: str, environment: str, now: int, take: Callable[[str], None]) -> Admission:
    """Admit the loading orders of a run.

    ``take`` locks another run until the transaction is over, or raises RunHeld.
    """
    doubled = _doubled(connection, run_id)
    if doubled:
        return Admission(doubled=doubled)
    superseded = already = in_doubt = 0
    rivals = _rivals(connection, run_id, environment)
    states = {state for _, state in rivals}
    for rival in sorted({rival for rival, state in rivals if state in _UNDECIDED}):
        take(rival)
    if states & _CRASHED:
        _give_up_crashed(connection, run_id, environment, now)
    if states & _HARMLESS:
        superseded = _take_over(connection, run_id, environment, now)
    if states & (_CRASHED | {OrderState.IN_DOUBT}):
        in_doubt = _stand_back(connection, run_id, environment, now, OrderState.IN_DOUBT)
    if OrderState.CREATED in states:
        already = _stand_back(connection, run_id, environment, now, OrderState.CREATED)
    pending = connection.execute(
        update(orders)
        .where(orders.c.run_id == run_id, in_states(orders.c.state, (OrderState.LOADING,)))
        .values(state=OrderState.PENDING.value, live=1, updated_at=now)
    ).rowcount
    connection.execute(update(runs).where(runs.c.id == run_id).values(state=RunState.READY.value))
    return Admission(pending=pending, already_pushed=already + in_doubt, in_doubt=in_doubt, superseded=superseded)


def _doubled(connection: Connection, run_id: str) -> tuple[Doubled, ...]:
    loading = and_(orders.c.run_id == run_id, in_states(orders.c.state, (OrderState.LOADING,)))
    repeated = (
        select(
            orders.c.key,
            func.min(orders.c.id).label("first_id"),
            func.min(orders.c.line).label("first_line"),
        )
        .where(loading)
        .group_by(orders.c.key)
        .having(func.count() > 1)
        .cte("repeated")
    )
    found = connection.execute(
        select(orders.c.key, repeated.c.first_line, orders.c.line)
        .join(repeated, repeated.c.key == orders.c.key)
        .where(loading, orders.c.id > repeated.c.first_id)
        .order_by(orders.c.line, orders.c.id)
        .limit(DOUBLED_LIMIT)
    )
    return tuple(Doubled(key=row.key, first_line=row.first_line, line=row.line) for row in found)


def _rivals(connection: Connection, run_id: str, environment: str) -> set[tuple[str, OrderState]]:
    """The runs that own a key of ours, each with the states of these orders."""
    live_at_all = select(literal(1)).where(orders.c.environment == environment, is_live(orders.c.live)).limit(1)
    if connection.scalar(live_at_all) is None:  # the first run of a ledger: spare it a million look-ups
        return set()
    found = connection.execute(
        select(_theirs.c.run_id, _theirs.c.state)
        .select_from(_ours)
        .join(_theirs, _same_key(environment))
        .where(_ours.c.run_id == run_id, in_states(_ours.c.state, (OrderState.LOADING,)))
        .distinct()
    )
    return {(row.run_id, OrderState(row.state)) for row in found}


def _same_key(environment: str) -> ColumnElement[bool]:
    return and_(_theirs.c.environment == environment, _theirs.c.key == _ours.c.key, is_live(_theirs.c.live))


def _rows_in_our_way(run_id: str, environment: str, states: Iterable[OrderState]) -> Update:
    """An update of the live rows of other runs that own a key of ours, in one of ``states``."""
    return update(orders).where(
        orders.c.environment == environment,
        orders.c.key == _ours.c.key,
        is_live(orders.c.live),
        in_states(orders.c.state, states),
        _ours.c.run_id == run_id,
        in_states(_ours.c.state, (OrderState.LOADING,)),
    )


def _give_up_crashed(connection: Connection, run_id: str, environment: str, now: int) -> None:
    connection.execute(
        _rows_in_our_way(run_id, environment, _CRASHED).values(
            state=OrderState.IN_DOUBT.value, error=CRASHED, updated_at=now
        )
    )


def _take_over(connection: Connection, run_id: str, environment: str, now: int) -> int:
    return connection.execute(
        _rows_in_our_way(run_id, environment, _HARMLESS).values(
            state=OrderState.SUPERSEDED.value, live=0, error=f"taken over by run {run_id}", updated_at=now
        )
    ).rowcount


def _stand_back(connection: Connection, run_id: str, environment: str, now: int, owned: OrderState) -> int:
    """Leave those of our orders alone whose key another run owns in the state ``owned``."""
    known = owned is OrderState.CREATED
    status: ColumnElement[str] = func.coalesce(_theirs.c.status, owned.value) if known else literal(owned.value)
    said = "created by run " if known else "in doubt in run "
    return connection.execute(
        update(orders)
        .where(
            orders.c.run_id == run_id,
            in_states(orders.c.state, (OrderState.LOADING,)),
            _theirs.c.environment == environment,
            _theirs.c.key == orders.c.key,
            is_live(_theirs.c.live),
            in_states(_theirs.c.state, (owned,)),
        )
        .values(
            state=OrderState.ALREADY_PUSHED.value,
            task_id=_theirs.c.task_id,
            status=status,
            error=literal(said).concat(_theirs.c.run_id),
            updated_at=now,
        )
    ).rowcount
