"""What is asked of the ledger: each function reads, and runs on a connection of its own."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen
from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    and_,
    case,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
)

from gotsurge_async.bulk.ledger.sql import schema
from gotsurge_async.bulk.ledger.sql.fast_path import ROWS, among, bundle
from gotsurge_async.bulk.ledger.sql.runs import counts_of
from gotsurge_async.bulk.ledger.sql.schema import decisions, in_states, is_live, orders, payloads, runs, unused_drafts
from gotsurge_async.bulk.ledger.states import (
    DOUBTFUL,
    FREE,
    OWNED_ELSEWHERE,
    Counts,
    Decision,
    OrderState,
    Similar,
    UnusedDraft,
    from_microseconds,
)
from gotsurge_async.bulk.ledger.upkeep.integrity import text

SIMILAR_LIMIT = 1000
"""How many pairs of similar orders one look lists."""
RIVALS_AT_ONCE = 500

owner: FromClause = orders.alias("owner")
_IS_ANOTHERS = in_states(orders.c.state, OWNED_ELSEWHERE)
_IS_FREE = in_states(orders.c.state, FREE)
OWNER = and_(
    or_(_IS_ANOTHERS, _IS_FREE),
    owner.c.environment == orders.c.environment,
    owner.c.key == orders.c.key,
    is_live(owner.c.live),
)
"""The order that has the key of one that is another run's, or that was refused or cancelled and pushed again."""
_IS_OWNED = owner.c.id.is_not(None)


def as_owned(name: str) -> ColumnElement[Any]:
    return case((or_(_IS_ANOTHERS, _IS_OWNED), owner.c[name]), else_=orders.c[name]).label(name)


def _named(state: OrderState) -> ColumnElement[str]:
    return literal_column(f"'{state.value}'")


def _text_of(order: ColumnElement[int]) -> ColumnElement[bytes]:
    text = payloads.alias()
    return select(text.c.payload).where(text.c.order_id == order).scalar_subquery()


# A row that was taken over was perhaps mended on the way: what was created there is then not what it says.
_IS_CHANGED = or_(
    in_states(orders.c.state, (OrderState.CHANGED,)),
    and_(
        or_(in_states(orders.c.state, (OrderState.SUPERSEDED,)), _IS_FREE),
        _text_of(orders.c.id) != _text_of(owner.c.id),
    ),
)
STATE = case(
    (and_(not_(_IS_ANOTHERS), not_(_IS_OWNED)), orders.c.state),
    (
        in_states(owner.c.state, (OrderState.CREATED,)),
        case((_IS_CHANGED, _named(OrderState.CHANGED)), else_=_named(OrderState.ALREADY_PUSHED)),
    ),
    (in_states(owner.c.state, DOUBTFUL), _named(OrderState.IN_DOUBT)),
    else_=_named(OrderState.SUPERSEDED),
).label("state")
ERROR = case(
    (and_(_IS_FREE, _IS_OWNED), literal("pushed again by run ").concat(owner.c.run_id)),
    (
        and_(_IS_ANOTHERS, not_(_IS_OWNED)),
        literal("its key is free again, and may be pushed; it was ").concat(
            func.coalesce(orders.c.error, "taken over")
        ),
    ),
    else_=orders.c.error,
).label("error")


def standing(connection: Connection, run_id: str) -> Counts:
    """The same, where an order whose key another run owns counts as what became of it there."""
    found = connection.execute(
        select(STATE, func.count())
        .select_from(orders.outerjoin(owner, OWNER))
        .where(orders.c.run_id == run_id)
        .group_by(STATE)
    )
    return counts_of(found)


def similar(connection: Connection, run_id: str) -> list[Similar]:
    """Orders of a run whose fingerprint another live key carries."""
    mine, other = orders.alias("mine"), orders.alias("other")
    found = connection.execute(
        select(mine.c.key, mine.c.line, other.c.key, other.c.run_id, other.c.line, other.c.state)
        .select_from(mine)
        .join(
            other,
            and_(
                other.c.fingerprint == mine.c.fingerprint,
                other.c.fingerprint.is_not(None),
                is_live(other.c.live),
                other.c.environment == mine.c.environment,
                other.c.key != mine.c.key,
                # Of two orders of the same run, the later one names the earlier one.
                or_(other.c.run_id != mine.c.run_id, other.c.id < mine.c.id),
            ),
        )
        .where(
            mine.c.run_id == run_id,
            mine.c.fingerprint.is_not(None),
            in_states(mine.c.state, (OrderState.LOADING, OrderState.PENDING)),
        )
        .limit(SIMILAR_LIMIT)
    )
    return [
        Similar(
            key=key,
            line=line,
            other_key=other_key,
            other_run=other_run,
            other_line=other_line,
            other_state=OrderState(other_state),
        )
        for key, line, other_key, other_run, other_line, other_state in found
    ]


def recorded(connection: Connection, environment: str, task_ids: Sequence[str]) -> dict[str, int]:
    """Which of some tasks are recorded, each with the id of its order."""
    found = connection.execute(
        select(orders.c.task_id, orders.c.id).where(
            orders.c.environment == environment,
            among(orders.c.task_id),
            # What only repeats the task of another run's order does not own it.
            not_(_IS_ANOTHERS),
        ),
        {ROWS: bundle(list(task_ids))},
    )
    return {row.task_id: row.id for row in found}


def decided(connection: Connection, run_id: str) -> list[Decision]:
    """The operators' words about a run, oldest first."""
    found = connection.execute(select(decisions).where(decisions.c.run_id == run_id).order_by(decisions.c.id))
    return [decision_of(row) for row in found]


@frozen
class Rival:
    """An order of a run, and the order that its key was pushed with, by whatever run."""

    id: int
    line: int
    key: str
    payload: bytes
    other_id: int
    other_run: str
    other_state: OrderState
    other_payload: bytes
    task_id: str | None


def rivals(connection: Connection, run_id: str, states: Iterable[OrderState], after: int) -> list[Rival]:
    """Orders of a run in some states, by id, whose key another order has that was sent with another text."""
    theirs = payloads.alias("their_payload")
    found = connection.execute(
        select(
            orders.c.id,
            orders.c.line,
            orders.c.key,
            payloads.c.payload,
            owner.c.id,
            owner.c.run_id,
            owner.c.state,
            theirs.c.payload,
            owner.c.task_id,
        )
        .select_from(
            orders.join(payloads, payloads.c.order_id == orders.c.id)
            .join(owner, OWNER)
            .join(theirs, theirs.c.order_id == owner.c.id)
        )
        .where(
            orders.c.run_id == run_id,
            in_states(orders.c.state, states),
            orders.c.id > after,
            payloads.c.payload != theirs.c.payload,
        )
        .order_by(orders.c.id)
        .limit(RIVALS_AT_ONCE)
    )
    return [Rival(*row[:6], OrderState(row[6]), *row[7:]) for row in found]


def pushed(connection: Connection, environment: str, keys: Sequence[str]) -> dict[str, tuple[str, OrderState, bytes]]:
    """The orders that some keys were pushed with: the run, the state there, and the text that was or will be sent."""
    found = connection.execute(
        select(orders.c.key, orders.c.run_id, orders.c.state, payloads.c.payload)
        .join(payloads, payloads.c.order_id == orders.c.id)
        .where(orders.c.environment == environment, is_live(orders.c.live), among(orders.c.key)),
        {ROWS: bundle(list(keys))},
    )
    return {key: (run_id, OrderState(state), payload) for key, run_id, state, payload in found}


def adoptable(connection: Connection, run_id: str, drafts: Mapping[str, str]) -> dict[str, str]:
    """See `Run.adoptable`."""
    environment = select(runs.c.environment).where(runs.c.id == run_id).scalar_subquery()
    one_text = connection.scalars(
        select(orders.c.key)
        .join(payloads, payloads.c.order_id == orders.c.id)
        .where(orders.c.environment == environment, among(orders.c.key))
        .group_by(orders.c.key)
        .having(func.min(payloads.c.payload) == func.max(payloads.c.payload)),
        {ROWS: bundle(list(drafts))},
    )
    free = list(one_text)
    taken = set(connection.scalars(select(unused_drafts.c.task_id).where(unused_drafts.c.task_id.in_(drafts.values()))))
    taken |= set(connection.scalars(select(orders.c.task_id).where(orders.c.task_id.in_(drafts.values()))))
    return {key: drafts[key] for key in free if drafts[key] not in taken}


def lost_drafts(connection: Connection, run_id: str) -> list[str]:
    """The keys of orders of which more drafts may exist than are known; those that went over to another run are its."""
    lost = select(orders.c.key).where(
        orders.c.run_id == run_id,
        orders.c.lost_drafts > literal_column("0"),
        schema.lost_drafts(orders) > literal_column("0"),
        orders.c.state != OrderState.SUPERSEDED.value,
    )
    return list(connection.scalars(lost))


def unused(connection: Connection, run_id: str) -> list[UnusedDraft]:
    """The drafts of a run that no order will be broadcast by: those that were noted, and those of refused orders."""
    noted = select(unused_drafts.c.key, unused_drafts.c.task_id, unused_drafts.c.cancelled_at).where(
        unused_drafts.c.run_id == run_id
    )
    refused = select(orders.c.key, orders.c.task_id, literal_column("NULL")).where(
        orders.c.run_id == run_id,
        in_states(orders.c.state, (OrderState.REFUSED,)),
        orders.c.task_id.is_not(None),
        orders.c.task_id.not_in(select(unused_drafts.c.task_id).where(unused_drafts.c.run_id == run_id)),
    )
    found = connection.execute(noted.union_all(refused))
    return [UnusedDraft(key, task_id, cancelled_at is not None) for key, task_id, cancelled_at in found]


def decision_of(row: Row[Any]) -> Decision:
    """An operator's word, from a row of its table."""
    return Decision(
        text(row.run_id),
        text(row.key),
        bool(row.created),
        None if row.task_id is None else text(row.task_id),
        text(row.decided_by),
        from_microseconds(row.decided_at),
    )
