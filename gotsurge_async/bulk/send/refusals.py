"""A chunk that the service refused: which of its orders are to blame, and what becomes of the others.

The document does not say whether a refusal means that nothing of the chunk was created. Holding is the careful answer:
nothing of the chunk is sent again. Splitting sends the others, or halves, until the bad rows are alone; with drafts it
is harmless, since an unused draft calls no driver.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import TypeVar

from gotsurge_async.calls.create import OrderResult, Refused
from gotsurge_async.errors import BadRequest

T = TypeVar("T")

HELD = "refused-with-chunk"
"""How the error of an order begins that was refused only because its chunk was."""


class OnRefusedChunk(StrEnum):
    """What becomes of a chunk that the service refused as a whole."""

    HOLD = "hold"
    SPLIT = "split"


def after_refusal(
    results: list[OrderResult[T]], choice: OnRefusedChunk
) -> tuple[list[OrderResult[T]], list[Sequence[T]]]:
    """The results of a chunk, and the parts of it that are to be sent again instead; one of the two may be empty."""
    first = results[0]
    if len(results) == 1 or not isinstance(first, Refused) or not isinstance(first.error, BadRequest):
        return results, []
    error = first.error
    orders = [result.order for result in results]
    named = _named(error, len(orders))
    to_blame: list[OrderResult[T]] = [result for index, result in enumerate(results) if index in named]
    others = [order for index, order in enumerate(orders) if index not in named]
    if choice is OnRefusedChunk.HOLD:
        held = _held_error(error, bool(named))
        return [*to_blame, *(Refused(order=order, error=held) for order in others)], []
    if named:
        return to_blame, [others]
    middle = len(orders) // 2
    return [], [orders[middle:], orders[:middle]]


def _named(error: BadRequest, count: int) -> frozenset[int]:
    """The rows of a chunk that a refusal names; none if it names one that does not exist, or all."""
    rows = frozenset(error.rows)
    return rows if rows and len(rows) < count and all(0 <= row < count for row in rows) else frozenset()


def _held_error(error: BadRequest, others_are_named: bool) -> BadRequest:
    whose = (
        "other orders of the chunk were named"
        if others_are_named
        else "which order of the chunk is to blame is not said"
    )
    return BadRequest(
        f"{HELD}: {whose}",
        operation=error.operation,
        status=error.status,
        service_message=error.service_message,
        request_id=error.request_id,
        rows=error.rows,
    )
