"""What is asked of the ledger: each function reads, and runs on a connection of its own."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, bindparam, func, or_, select, tuple_

from .errors import NoSuchRun
from .records import Counts, Decision, Holder, OrderRow, PendingOrder, RunInfo, Similar
from .schema import decisions, in_states, is_live, orders, payloads, runs
from .states import Mode, OrderState, RunState
from .store import Store
from .times import from_microseconds

SIMILAR_LIMIT = 1000
"""How many pairs of similar orders one look lists."""

_PENDING = (orders.c.id, orders.c.line, orders.c.key, payloads.c.payload)
_WHOLE = (
    orders.c.id,
    orders.c.line,
    orders.c.key,
    orders.c.state,
    payloads.c.payload,
    payloads.c.source_row,
    orders.c.task_id,
    orders.c.status,
    orders.c.error,
    orders.c.claimed_at,
    orders.c.updated_at,
)


def run_info(connection: Connection, run_id: str, path: str) -> RunInfo:
    """One run; raises NoSuchRun."""
    row = connection.execute(select(runs).where(runs.c.id == run_id)).one_or_none()
    if row is None:
        raise NoSuchRun(f"has no run {run_id}", path=path)
    return _info(row)


def all_runs(connection: Connection, limit: int | None) -> list[RunInfo]:
    """The runs, newest first."""
    newest_first = select(runs).order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(limit)
    return [_info(row) for row in connection.execute(newest_first)]


def counts(connection: Connection, run_id: str) -> Counts:
    """How many orders of a run are in each state."""
    found = connection.execute(
        select(orders.c.state, func.count()).where(orders.c.run_id == run_id).group_by(orders.c.state)
    )
    return Counts(**{str(state): int(n) for state, n in found})


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


def decided(connection: Connection, run_id: str) -> list[Decision]:
    """The operators' words about a run, oldest first."""
    found = connection.execute(select(decisions).where(decisions.c.run_id == run_id).order_by(decisions.c.id))
    return [
        Decision(row.run_id, row.key, bool(row.created), row.task_id, row.decided_by, from_microseconds(row.decided_at))
        for row in found
    ]


async def pending_pages(store: Store, run_id: str, batch: int) -> AsyncIterator[list[PendingOrder]]:
    """The pending orders of a run, page by page."""
    async for page in _pages(store, _page_of(_PENDING, run_id, (OrderState.PENDING,), batch), batch):
        yield [PendingOrder(row.id, row.line, row.key, row.payload) for row in page]


async def whole_rows(
    store: Store, run_id: str, states: Iterable[OrderState] | None, batch: int
) -> AsyncIterator[OrderRow]:
    """The orders of a run in some states."""
    async for page in _pages(store, _page_of(_WHOLE, run_id, states, batch), batch):
        for row in page:
            yield _order(row)


def _page_of(
    columns: Sequence[Any], run_id: str, states: Iterable[OrderState] | None, batch: int
) -> Select[*tuple[Any, ...]]:
    """One page, of the rows after a place (``line``, ``id``), which the index finds: the last costs as the first."""
    if batch < 1:
        raise ValueError(f"a batch has at least 1 order, not {batch}")
    page = (
        select(*columns)
        .join(payloads, payloads.c.order_id == orders.c.id)
        .where(
            orders.c.run_id == run_id,
            tuple_(orders.c.line, orders.c.id) > tuple_(bindparam("after_line"), bindparam("after_id")),
        )
        .order_by(orders.c.line, orders.c.id)
        .limit(batch)
    )
    return page if states is None else page.where(in_states(orders.c.state, states))


def _page(statement: Select[*tuple[Any, ...]], place: Mapping[str, int], connection: Connection) -> Sequence[Row[Any]]:
    return connection.execute(statement, place).all()


async def _pages(store: Store, statement: Select[*tuple[Any, ...]], batch: int) -> AsyncIterator[Sequence[Row[Any]]]:
    place = {"after_line": -1, "after_id": -1}
    while True:
        page = await store.read(partial(_page, statement, place))
        if page:
            yield page
        if len(page) < batch:
            return
        place = {"after_line": page[-1].line, "after_id": page[-1].id}


def _order(row: Row[Any]) -> OrderRow:
    return OrderRow(
        id=row.id,
        line=row.line,
        key=row.key,
        state=OrderState(row.state),
        payload=row.payload,
        source_row=row.source_row,
        task_id=row.task_id,
        status=row.status,
        error=row.error,
        claimed_at=None if row.claimed_at is None else from_microseconds(row.claimed_at),
        updated_at=from_microseconds(row.updated_at),
    )


def _info(row: Row[Any]) -> RunInfo:
    holder = None
    if row.holder_pid is not None:
        holder = Holder(row.holder_pid, row.holder_host, from_microseconds(row.holder_since))
    return RunInfo(
        id=row.id,
        created_at=from_microseconds(row.created_at),
        state=RunState(row.state),
        environment=row.environment,
        mode=Mode(row.mode),
        source=row.source,
        source_sha256=row.source_sha256,
        columns=None if row.columns is None else tuple(row.columns),
        options=row.options or {},
        holder=holder,
        finished_at=None if row.finished_at is None else from_microseconds(row.finished_at),
    )
