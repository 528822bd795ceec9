"""What is asked of the ledger: each function reads, and runs on a connection of its own."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, TypeVar

from attrs import frozen
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    tuple_,
)

from gotsurge_async.bulk.ledger.errors import NoSuchRun
from gotsurge_async.bulk.ledger.records import (
    Counts,
    Decision,
    OrderRow,
    PendingOrder,
    ResultRow,
    RunInfo,
    Similar,
    UnusedDraft,
)
from gotsurge_async.bulk.ledger.sql.bundles import ROWS, among, bundle, outgoing, unbundle
from gotsurge_async.bulk.ledger.sql.prepared import Prepared
from gotsurge_async.bulk.ledger.sql.reading import (
    counts_of,
    decision_of,
    order_of,
    pending_rows,
    readable,
    result_rows,
    run_of,
    whole_order_rows,
)
from gotsurge_async.bulk.ledger.sql.schema import decisions, in_states, is_live, orders, payloads, runs, unused_drafts
from gotsurge_async.bulk.ledger.sql.store import Store
from gotsurge_async.bulk.ledger.states import DOUBTFUL, OWNED_ELSEWHERE, OrderState

T = TypeVar("T")

SIMILAR_LIMIT = 1000
"""How many pairs of similar orders one look lists."""

FIRST_PAGE = 100
"""Orders that are read at first, when their size is not known."""
PAGE_BYTES = 8 * 1024 * 1024
"""What the orders of a page may have together, if they are like those before."""

_Columns = tuple[Sequence[ColumnElement[Any]], Sequence[ColumnElement[bytes]], Callable[[Any], Any]]
"""The columns of a page, which begin with its order: the plain ones, those of bytes, and what reads both."""

_PLACE = (orders.c.line, orders.c.id)
_PENDING: _Columns = (*_PLACE, orders.c.key), (payloads.c.payload,), pending_rows

_owner = orders.alias("owner")
_IS_ANOTHERS = in_states(orders.c.state, OWNED_ELSEWHERE)
_IS_FREE = in_states(orders.c.state, (OrderState.REJECTED, OrderState.CANCELLED))
_OWNER = and_(
    or_(_IS_ANOTHERS, _IS_FREE),
    _owner.c.environment == orders.c.environment,
    _owner.c.key == orders.c.key,
    is_live(_owner.c.live),
)
"""The order that has the key of one that is another run's, or that was refused or cancelled and pushed again."""
_IS_OWNED = _owner.c.id.is_not(None)


def _as_owned(name: str) -> ColumnElement[Any]:
    return case((or_(_IS_ANOTHERS, _IS_OWNED), _owner.c[name]), else_=orders.c[name]).label(name)


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
        _text_of(orders.c.id) != _text_of(_owner.c.id),
    ),
)
_STATE = case(
    (and_(not_(_IS_ANOTHERS), not_(_IS_OWNED)), orders.c.state),
    (
        in_states(_owner.c.state, (OrderState.CREATED,)),
        case((_IS_CHANGED, _named(OrderState.CHANGED)), else_=_named(OrderState.ALREADY_PUSHED)),
    ),
    (in_states(_owner.c.state, DOUBTFUL), _named(OrderState.IN_DOUBT)),
    else_=_named(OrderState.SUPERSEDED),
).label("state")
_ERROR = case(
    (and_(_IS_FREE, _IS_OWNED), literal("pushed again by run ").concat(_owner.c.run_id)),
    (
        and_(_IS_ANOTHERS, not_(_IS_OWNED)),
        literal("its key is free again, and may be pushed; it was ").concat(
            func.coalesce(orders.c.error, "taken over")
        ),
    ),
    else_=orders.c.error,
).label("error")
_RESULTS: _Columns = (
    (*_PLACE, _STATE, _as_owned("task_id"), _as_owned("status"), _ERROR),
    (func.coalesce(payloads.c.source_row, payloads.c.payload).label("source"),),
    result_rows,
)
_WHOLE: _Columns = (
    (*_PLACE, *(orders.c[name] for name in ("key", "state", "task_id", "status", "error", "claimed_at", "updated_at"))),
    (payloads.c.payload, payloads.c.source_row),
    whole_order_rows,
)


def run_info(connection: Connection, run_id: str, path: str) -> RunInfo:
    """One run; raises NoSuchRun."""
    with readable():
        row = connection.execute(select(runs).where(runs.c.id == run_id)).one_or_none()
        if row is not None:
            return run_of(row)
    raise NoSuchRun(f"has no run {run_id}", path=path)


def all_runs(connection: Connection, limit: int | None) -> list[RunInfo]:
    """The runs, newest first: as they came into the ledger, whatever the clock said then."""
    newest_first = select(runs).order_by(literal_column("runs.rowid").desc()).limit(limit)
    return [run_of(row) for row in connection.execute(newest_first)]


def counts(connection: Connection, run_id: str) -> Counts:
    """How many orders of a run are in each state."""
    found = connection.execute(
        select(orders.c.state, func.count()).where(orders.c.run_id == run_id).group_by(orders.c.state)
    )
    return counts_of(found)


def standing(connection: Connection, run_id: str) -> Counts:
    """The same, where an order whose key another run owns counts as what became of it there."""
    found = connection.execute(
        select(_STATE, func.count())
        .select_from(orders.outerjoin(_owner, _OWNER))
        .where(orders.c.run_id == run_id)
        .group_by(_STATE)
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


def rivals(connection: Connection, run_id: str, states: Iterable[OrderState], after: int, limit: int) -> list[Rival]:
    """Orders of a run in some states, by id, whose key another order has that was sent with another text."""
    theirs = payloads.alias("their_payload")
    found = connection.execute(
        select(
            orders.c.id,
            orders.c.line,
            orders.c.key,
            payloads.c.payload,
            _owner.c.id,
            _owner.c.run_id,
            _owner.c.state,
            theirs.c.payload,
            _owner.c.task_id,
        )
        .select_from(
            orders.join(payloads, payloads.c.order_id == orders.c.id)
            .join(_owner, _OWNER)
            .join(theirs, theirs.c.order_id == _owner.c.id)
        )
        .where(
            orders.c.run_id == run_id,
            in_states(orders.c.state, states),
            orders.c.id > after,
            payloads.c.payload != theirs.c.payload,
        )
        .order_by(orders.c.id)
        .limit(limit)
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
    known = (
        select(func.count())
        .where(unused_drafts.c.run_id == orders.c.run_id, unused_drafts.c.key == orders.c.key)
        .scalar_subquery()
    )
    lost = select(orders.c.key).where(
        orders.c.run_id == run_id,
        orders.c.lost_drafts > literal_column("0"),
        orders.c.lost_drafts > known,
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
        in_states(orders.c.state, (OrderState.REJECTED,)),
        orders.c.task_id.is_not(None),
        orders.c.task_id.not_in(select(unused_drafts.c.task_id).where(unused_drafts.c.run_id == run_id)),
    )
    found = connection.execute(noted.union_all(refused))
    return [UnusedDraft(key, task_id, cancelled_at is not None) for key, task_id, cancelled_at in found]


async def pending_pages(store: Store, run_id: str, batch: int) -> AsyncIterator[list[PendingOrder]]:
    """The pending orders of a run, page by page."""
    async for page in _pages(store, _PENDING, run_id, (OrderState.PENDING,), batch):
        yield [PendingOrder(order_id, line, key, payload) for line, order_id, key, payload in page]


async def result_pages(store: Store, run_id: str, batch: int) -> AsyncIterator[list[ResultRow]]:
    """What became of the orders of a run, page by page."""
    async for page in _pages(store, _RESULTS, run_id, None, batch):
        yield list(map(ResultRow._make, page))


async def whole_rows(
    store: Store, run_id: str, states: Iterable[OrderState] | None, batch: int
) -> AsyncIterator[OrderRow]:
    """The orders of a run in some states."""
    async for page in _pages(store, _WHOLE, run_id, states, batch):
        for row in page:
            yield order_of(row)


async def _pages(
    store: Store,
    columns: _Columns,
    run_id: str,
    states: Iterable[OrderState] | None,
    batch: int,
) -> AsyncIterator[list[list[Any]]]:
    """Page after page, each beginning after a place (``line``, ``id``) that the index finds: no page costs more.

    A page is one row of the database, with the bytes of all its orders in one value, so it has ``batch`` orders only
    where they are of a usual size.
    """
    if batch < 1:
        raise ValueError(f"a batch has at least 1 order, not {batch}")
    plain, binary, decode = columns
    page = (
        select(*plain, *binary)
        # An order without a payload is damage that must be seen, not an order less.
        .select_from(orders.outerjoin(payloads, payloads.c.order_id == orders.c.id).outerjoin(_owner, _OWNER))
        .where(
            orders.c.run_id == run_id,
            tuple_(orders.c.line, orders.c.id) > tuple_(bindparam("after_line"), bindparam("after_id")),
        )
        .order_by(orders.c.line, orders.c.id)
        .limit(bindparam("size", type_=BigInteger))
    )
    if states is not None:
        page = page.where(in_states(orders.c.state, states))
    statement = Prepared(outgoing(page, [column.name for column in plain], [column.name for column in binary]))
    line, order_id, size = -1, -1, min(batch, FIRST_PAGE)
    while True:
        parameters = {"after_line": line, "after_id": order_id, "size": size}
        page_read = await store.read(partial(_one, statement, parameters, partial(_rows, len(binary), decode)))
        if page_read is None:
            size = (size + 1) // 2
            continue
        rows, found = page_read
        rows.sort(key=itemgetter(0, 1))  # as they most likely are: a bundle promises no order
        if rows:
            yield rows
        if len(rows) < size:
            return
        line, order_id = rows[-1][:2]
        size = min(batch, max(1, size * PAGE_BYTES // max(1, found)))


def _one(
    statement: Prepared, parameters: Mapping[str, int], read: Callable[[Sequence[Any]], T], connection: Connection
) -> T | None:
    """The row of a page, as ``read`` has it; None if it is larger than the database can give."""
    try:
        row: Sequence[Any] = statement.run(connection, parameters).fetchone()
    except sqlite3.Error as error:
        if parameters["size"] > 1 and error.sqlite_errorname == "SQLITE_TOOBIG":
            return None
        raise
    return read(row)


def _rows(binary: int, decode: Callable[[Any], Any], row: Sequence[Any]) -> tuple[list[list[Any]], int]:
    """The rows of a page, and how many bytes their columns of bytes have together."""
    return unbundle(row, binary, decode), sum(len(whole or b"") for whole in row[1:])
