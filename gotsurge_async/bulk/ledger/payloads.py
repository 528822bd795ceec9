"""The JSON that the ledger keeps of an order, read with the suspicion that its disk may have changed it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import msgspec

from gotsurge_async.bulk.ledger import LedgerUnusable, OrderRow, PendingOrder, ResultRow
from gotsurge_async.bulk.ledger.errors import RESCUE
from gotsurge_async.errors import InvalidData

_whole = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@contextmanager
def reading_payload(path: str, order: PendingOrder | OrderRow | ResultRow) -> Iterator[None]:
    """Around the decoding of what the ledger keeps of an order.

    Raises:
        LedgerUnusable: it cannot be decoded; the order is named.
    """
    try:
        yield
    except (InvalidData, ValueError, TypeError) as error:
        key = "" if isinstance(order, ResultRow) else f", key {order.key}"
        raise unreadable(f"order {order.id}, line {order.line}{key}", path) from error


def unreadable(which: str, path: str = "") -> LedgerUnusable:
    """The error for an order of the ledger at a path whose JSON is none any more; ``which`` names it."""
    return LedgerUnusable(f"is damaged (table payloads, {which}: no JSON of an order). {RESCUE}", path=path)


def check_payloads(path: str, orders: Iterable[PendingOrder]) -> None:
    """Refuse orders whose JSON is none any more, before they are claimed: their chunk would be refused for them.

    Raises:
        LedgerUnusable: the first such order.
    """
    for order in orders:
        try:
            _whole(order.payload)
        except ValueError:
            with reading_payload(path, order):
                raise
