"""What the refusal of a broadcast proves, and what is said of drafts that no answer settles, in two-phase mode."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from gotsurge_async.api.endpoints import DRAFTS_BROADCAST
from gotsurge_async.calls.create import InDoubt, OrderResult, Unprocessed
from gotsurge_async.errors import BadRequest, CallError, Conflict, GotSurgeError, NotFound, OutcomeUnknown
from gotsurge_async.ledger import OrderRow, OrderState, PendingOrder, Remark

if TYPE_CHECKING:
    from gotsurge_async.push.two_phase import Draft

REFUSALS = (BadRequest, Conflict, NotFound)
"""Refusals of a broadcast that one of its drafts may have caused."""
_REFUSED = "a broadcast of the order was refused, but an earlier one may act"
"""In the ``error`` of an order: until no broadcast can act any more, its draft is only read."""


def is_own(error: CallError, with_others: CallError | None) -> bool:
    """Whether the ``error`` of a broadcast of one draft is its refusal, and shows that no broadcast acted on it.

    It does if no other broadcast left, or if that of the draft ``with_others`` was refused for the very same reason:
    had that one acted on this draft, it would be none now, and be refused for another reason.
    """
    if with_others is None:
        return isinstance(error, REFUSALS)
    both = isinstance(error, BadRequest) and isinstance(with_others, BadRequest) and bool(error.service_message)
    return both and (error.status, error.service_message) == (with_others.status, with_others.service_message)


def is_over(row: OrderRow, now: datetime) -> bool:
    """Whether the broadcasts of an order have ended, as its error says, and can act no more."""
    is_left = row.state is OrderState.BROADCASTING and bool(row.error) and row.open_until is not None
    return is_left and not row.is_open(now)


def is_only_read(row: OrderRow, now: datetime) -> bool:
    """Whether the last broadcast of an order was refused, and an earlier one may act yet: a read must show it."""
    return row.state is OrderState.BROADCASTING and _REFUSED in (row.error or "") and row.is_open(now)


def stay_in_doubt(drafts: Sequence["Draft"], errors: Mapping[int, str]) -> list[OrderResult[PendingOrder]]:
    """The results of drafts that were only read; one without an outcome stays in doubt, with the error that it has."""
    results: list[OrderResult[PendingOrder]] = []
    for draft in drafts:
        why = errors[draft.order.id].removeprefix(f"{DRAFTS_BROADCAST.name}: ")
        doubt = OutcomeUnknown(why, "E608", operation=DRAFTS_BROADCAST.name)
        results.append(draft.result or InDoubt(order=draft.order, error=doubt))
    return results


def remarks_of(results: Sequence[OrderResult[PendingOrder]]) -> list[Remark]:
    """The notes on those of some results that are in doubt."""
    doubts = [result for result in results if isinstance(result, InDoubt)]
    return [Remark(doubt.order.id, OrderState.BROADCASTING, error=str(doubt.error)) for doubt in doubts]


def left_with(
    drafts: Sequence["Draft"], error: GotSurgeError | None
) -> tuple[list[InDoubt[PendingOrder] | Unprocessed[PendingOrder]], GotSurgeError | None]:
    """The results of drafts without an outcome, and the error that further broadcasts would meet, too, if any.

    Each result has the draft's own reason, such as a refusal; else the ``error`` that ended the broadcasts.
    """
    unknown = OutcomeUnknown("no answer shows the outcome of the broadcast", "E608", operation=DRAFTS_BROADCAST.name)
    results: list[InDoubt[PendingOrder] | Unprocessed[PendingOrder]] = []
    stopped_by: GotSurgeError | None = None
    for draft in drafts:
        trouble = draft.trouble if draft.alone or error is None else None
        reason = trouble or draft.failed or error or unknown
        is_refused = isinstance(trouble, REFUSALS) and not draft.answered
        # A refusal, or an unknown status, of an order says nothing of the other orders.
        is_its_own = isinstance(trouble, REFUSALS) and draft.failed is None
        if stopped_by is None and not is_its_own and (not draft.status or draft.status.is_draft):
            stopped_by = error or reason
        if draft.may_be_out:
            why = f"the order may have been broadcast ({reason})"
            if is_refused:
                why = f"a broadcast of the order was refused, but an earlier one may act ({reason})"
            doubt = OutcomeUnknown(why, "E608", operation=DRAFTS_BROADCAST.name)
            results.append(InDoubt(order=draft.order, error=doubt))
        else:
            results.append(Unprocessed(order=draft.order, error=error or reason))
    return results, stopped_by
