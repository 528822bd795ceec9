"""What is asked of all the orders of a run: page after page, so that memory stays flat over millions.

A row of the database that cannot be one of ours is damage: every value is decoded by its type.
"""

import sqlite3
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Annotated, Any

import msgspec
from attrs import frozen
from msgspec import Meta
from sqlalchemy import BigInteger, ColumnElement, Connection, bindparam, func, select, tuple_

from gotsurge_async.bulk.ledger.sql.fast_path import outgoing, prepared, unbundle
from gotsurge_async.bulk.ledger.sql.queries import ERROR, OWNER, STATE, as_owned, owner
from gotsurge_async.bulk.ledger.sql.schema import in_states, orders, payloads
from gotsurge_async.bulk.ledger.sql.store import Store
from gotsurge_async.bulk.ledger.states import OrderRow, OrderState, PendingOrder, ResultRow, from_microseconds

FIRST_PAGE = 100
"""Orders that are read at first, when their size is not known."""
PAGE_BYTES = 8 * 1024 * 1024
"""What the orders of a page may have together, if they are like those before."""

_Number = Annotated[int, Meta(ge=0)]
_Time = Annotated[int, Meta(ge=0, le=253_402_300_799_999_999)]
_Text = str | None
_PLACE = (orders.c.line, orders.c.id)


@frozen
class _Page:
    """What is read of each order: plain columns, which begin with its place, those of bytes, and the types of a row.

    The row as JSON has the lengths of the bytes last.
    """

    plain: Sequence[ColumnElement[Any]]
    binary: Sequence[ColumnElement[bytes]]
    row: Any


_PENDING = _Page((*_PLACE, orders.c.key), (payloads.c.payload,), tuple[_Number, _Number, str, int])
_RESULTS = _Page(
    (*_PLACE, STATE, as_owned("task_id"), as_owned("status"), ERROR),
    (func.coalesce(payloads.c.source_row, payloads.c.payload).label("source"),),
    tuple[_Number, _Number, OrderState, _Text, _Text, _Text, int],
)
_WHOLE = _Page(
    (*_PLACE, *(orders.c[name] for name in ("key", "state", "task_id", "status", "error", "claimed_at", "updated_at"))),
    (payloads.c.payload, payloads.c.source_row),
    tuple[_Number, _Number, str, OrderState, _Text, _Text, _Text, _Time | None, _Time, int, int | None],
)


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
        for line, order_id, key, state, task_id, status, error, claimed_at, updated_at, payload, source_row in page:
            yield OrderRow(
                id=order_id,
                line=line,
                key=key,
                state=state,
                payload=payload,
                source_row=source_row,
                task_id=task_id,
                status=status,
                error=error,
                claimed_at=None if claimed_at is None else from_microseconds(claimed_at),
                updated_at=from_microseconds(updated_at),
            )


async def _pages(
    store: Store, what: _Page, run_id: str, states: Iterable[OrderState] | None, batch: int
) -> AsyncIterator[list[list[Any]]]:
    """Page after page, each beginning after a place (``line``, ``id``) that the index finds: no page costs more.

    A page is one row of the database, with the bytes of all its orders in one value, so it has ``batch`` orders only
    where they are of a usual size.
    """
    if batch < 1:
        raise ValueError(f"a batch has at least 1 order, not {batch}")
    page = (
        select(*what.plain, *what.binary)
        # An order without a payload is damage that must be seen, not an order less.
        .select_from(orders.outerjoin(payloads, payloads.c.order_id == orders.c.id).outerjoin(owner, OWNER))
        .where(orders.c.run_id == run_id, tuple_(*_PLACE) > tuple_(bindparam("after_line"), bindparam("after_id")))
        .order_by(*_PLACE)
        .limit(bindparam("size", type_=BigInteger))
    )
    if states is not None:
        page = page.where(in_states(orders.c.state, states))
    execute = prepared(outgoing(page, [column.name for column in what.plain], [column.name for column in what.binary]))
    decode = msgspec.json.Decoder(list[what.row]).decode  # type: ignore[name-defined]

    def read(parameters: Mapping[str, int], connection: Connection) -> tuple[list[list[Any]], int] | None:
        """The rows of a page, and the bytes of their columns of bytes; None if it is too large for the database."""
        try:
            row = execute(connection, parameters).fetchone()
        except sqlite3.Error as error:
            if parameters["size"] > 1 and error.sqlite_errorname == "SQLITE_TOOBIG":
                return None
            raise
        return unbundle(row, len(what.binary), decode), sum(len(whole or b"") for whole in row[1:])

    line, order_id, size = -1, -1, min(batch, FIRST_PAGE)
    while True:
        found = await store.read(partial(read, {"after_line": line, "after_id": order_id, "size": size}))
        if found is None:
            size = (size + 1) // 2
            continue
        rows, weight = found
        rows.sort(key=itemgetter(0, 1))  # as they most likely are: a bundle promises no order
        if rows:
            yield rows
        if len(rows) < size:
            return
        line, order_id = rows[-1][:2]
        size = min(batch, max(1, size * PAGE_BYTES // max(1, weight)))
