"""What the refusal of a broadcast proves, and what is said of drafts that no answer settles, in two-phase mode."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from gotsurge_async.api.endpoints import DRAFTS_BROADCAST
from gotsurge_async.calls.create import InDoubt, OrderResult, Unprocessed
from gotsurge_async.calls.outcome import MOVED
from gotsurge_async.errors import BadRequest, CallError, Conflict, GotSurgeError, NotFound, OutcomeUnknown, Rejected
from gotsurge_async.ledger import OrderRow, OrderState, PendingOrder, Remark

if TYPE_CHECKING:
    from gotsurge_async.push.two_phase import Draft

REFUSALS = (BadRequest, Conflict, NotFound)
"""Refusals of a broadcast that one of its drafts may have caused."""
OF_CALL = (*MOVED, 402, 405, 406, 407, 411, 414, 415, 431)
"""Statuses of refusals that concern the call or the account, whatever the tasks are: such a call acted on none."""
_REFUSED = "the broadcast of the order was refused, perhaps because its draft had been broadcast"
"""In the ``error`` of an order: its draft is only read. A read after the set time shows whether it is a draft."""
_WITH_OTHERS = "a broadcast of the order and of others was refused, and may have acted on this one"
"""In the ``error`` of an order: until that broadcast can act no more, its draft is only read."""


def is_plain(error: CallError | None, *, with_others: bool) -> bool:
    """Whether the ``error`` of a broadcast of one draft proves that its task is a draft, if a read shows it as one.

    Any other refusal may say that a person had broadcast the draft, and the read may be older than that. Only a fault
    in the order's content concerns no other broadcast: one ``with_others`` would have met this fault, too.
    """
    return isinstance(error, BadRequest) and (error.blames_content or (error.status in OF_CALL and not with_others))


def is_over(row: OrderRow, now: datetime) -> bool:
    """Whether the broadcasts of an order have ended, as its error says, and can act no more."""
    is_left = row.state is OrderState.BROADCASTING and bool(row.error) and row.open_until is not None
    return is_left and not row.is_open(now)


def is_only_read(row: OrderRow, now: datetime) -> bool:
    """Whether the broadcast of an order was refused: a read must show its outcome before another one may leave."""
    error = row.error or ""
    return row.state is OrderState.BROADCASTING and (_REFUSED in error or (_WITH_OTHERS in error and row.is_open(now)))


def refusal_of(row: OrderRow, now: datetime) -> Rejected | None:
    """The refusal that ends an order if a read of now shows a draft; None if there is none, or a read may be older."""
    _, is_refused, why = (row.error or "").partition(f"{_REFUSED}: ")
    if not is_refused or not is_over(row, now):
        return None
    return Rejected(why.removeprefix(f"{DRAFTS_BROADCAST.name}: "), "E405", operation=DRAFTS_BROADCAST.name)


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
        is_refused = isinstance(trouble, REFUSALS)
        # A refusal, or an unknown status, of an order says nothing of the other orders.
        is_its_own = is_refused and draft.failed is None
        if stopped_by is None and not is_its_own and (not draft.status or draft.status.is_draft):
            stopped_by = error or reason
        if draft.may_be_out:
            why = f"the order may have been broadcast ({reason})"
            if is_refused and (draft.alone or draft.answered):  # answered with a denial by its name
                why = f"the broadcast of the order was refused, perhaps because its draft had been broadcast: {reason}"
            elif is_refused:
                why = f"a broadcast of the order and of others was refused, and may have acted on this one: {reason}"
            doubt = OutcomeUnknown(why, "E608", operation=DRAFTS_BROADCAST.name)
            results.append(InDoubt(order=draft.order, error=doubt))
        else:
            results.append(Unprocessed(order=draft.order, error=error or reason))
    return results, stopped_by
