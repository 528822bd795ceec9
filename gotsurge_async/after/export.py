"""All orders of a ledger as JSON Lines, for other programs: ``gotsurge ledger export``."""

from collections.abc import AsyncIterator
from typing import IO

import msgspec
from msgspec import Struct, field

from gotsurge_async.calls.stream import chunks_of
from gotsurge_async.ledger import Ledger, OrderRow, RunInfo, RunState
from gotsurge_async.ledger.errors import reading_payload

_BLOCK = 500
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Exported(Struct, frozen=True, kw_only=True):
    """The result of an export.

    Attributes:
        orders: the number of lines, one for each order.
        runs: the number of their runs.
        archived: the runs that were not written, each with the file that has its orders.
    """

    orders: int = 0
    runs: int = 0
    archived: dict[str, str] = field(default_factory=dict)


async def export(ledger: Ledger, to: IO[bytes]) -> Exported:
    """Write all admitted orders, the oldest run first, one object a line; memory stays flat.

    Each order is as it is when it is read; a push may continue meanwhile. An object has ``run``, ``environment``,
    ``line``, ``key``, ``state`` (a word of `OrderState`), ``task_id``, ``status`` and ``error`` or null, ``claimed_at``
    or null and ``updated_at`` as UTC times, and ``payload``, the order as it is sent.

    Raises:
        LedgerUnusable: an order is damaged; the error names it.
    """
    orders = runs = 0
    archived: dict[str, str] = {}
    for info in reversed(await ledger.runs()):
        if info.archived_in is not None:
            archived[info.id] = info.archived_in
        elif info.state is not RunState.LOADING:
            runs += 1
            async for lines in _lines(ledger, info):
                orders += len(lines)
                to.write(b"".join(lines))
    return Exported(orders=orders, runs=runs, archived=archived)


async def _lines(ledger: Ledger, info: RunInfo) -> AsyncIterator[list[bytes]]:
    async for rows in chunks_of(ledger.rows(info.id), _BLOCK):
        yield [_line(ledger.path, info, row) for row in rows]


def _line(path: str, info: RunInfo, row: OrderRow) -> bytes:
    with reading_payload(path, row):
        payload = _object(row.payload)
        row.payload.decode()
    order = {
        "run": info.id,
        "environment": info.environment,
        "line": row.line,
        "key": row.key,
        "state": row.state.value,
        "task_id": row.task_id,
        "status": row.status,
        "error": row.error,
        "claimed_at": row.claimed_at,
        "updated_at": row.updated_at,
        "payload": payload,
    }
    return msgspec.json.encode(order) + b"\n"
