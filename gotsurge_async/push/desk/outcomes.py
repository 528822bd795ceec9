"""An order that callers of a desk wait for, and its outcome."""

import asyncio
from collections.abc import Mapping, Sequence
from copy import copy
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from gotsurge_async import codec
from gotsurge_async.calls.create import Created, InDoubt, OrderResult, Refused, Unprocessed
from gotsurge_async.codec.given import Faulty, OrderLike, as_read, refuse_faulty
from gotsurge_async.errors import (
    BadRequest,
    Coded,
    GotSurgeError,
    InvalidData,
    NotSent,
    OutcomeUnknown,
    Problem,
    UsageError,
)
from gotsurge_async.ledger import (
    CLAIMED,
    FREE,
    WAITING,
    WITH_DRAFT,
    Mode,
    OrderRow,
    OrderState,
    Recorded,
    Run,
    Submitted,
)
from gotsurge_async.models.tasks import Order, Receipt, TaskStatus
from gotsurge_async.money import Money
from gotsurge_async.push.changes import differing
from gotsurge_async.push.chunks import CLAIM_LIFE, WITH_OTHERS
from gotsurge_async.push.load import key_of

if TYPE_CHECKING:
    from collections.abc import Callable

OPERATION = "desk.create"
_IN_HAND = CLAIMED | WAITING


DESK = "desk"
"""The source of a desk's runs, and the option by which they are known."""
_FIRST_PAUSE, _LAST_PAUSE = 1.0, 60.0
LONGEST_KEY = 1000
"""Bytes of a key: more do not fit into an index of PostgreSQL."""


def _unfit(key: str) -> str:
    """Why a text cannot be a key: databases would cut it off, or refuse it; "" if it can."""
    if len(key.encode(errors="replace")) > LONGEST_KEY:
        return f"a key has at most {LONGEST_KEY} bytes"
    return "" if key.isprintable() else "a key has no characters that cannot be seen"


def written(
    order: OrderLike, key: str | None, now: datetime | None, max_price: Money | None
) -> tuple[Order, str, bytes, dict[str, Any]]:
    """An order that a desk was given, with its key, its payload and the values of that.

    Args:
        key: its tracking id unless given.
        now: if given, the order is checked as `check_order` does, with ``max_price``.

    Raises:
        InvalidData: the order is faulty, or has no key; every fault with its path.
    """
    made = as_read(order)
    if isinstance(made, Faulty):
        raise made.error
    own = made.tracking_id if key is None else key
    if not own or (isinstance(own, str) and not own.strip()):
        why = Coded("the order has no key: give it a tracking_id, or pass key=", "E229")
        raise InvalidData("", [Problem("tracking_id", why)])
    own = key_of(made, lambda _: own, "the desk", 1)
    if problem := _unfit(own):
        raise InvalidData("", [Problem("key", Coded(problem, "E903"), own)])
    if now is not None:
        try:
            refuse_faulty([made], now, max_price)
        except InvalidData as error:
            problems = [Problem(path.removeprefix("orders[0]."), *why) for path, *why in error.problems]
            raise InvalidData("", problems) from None
    return made, own, *codec.encode_order(made)


def pause_after(tries: int) -> float:
    """Seconds until a submitted order is sent again that so many attempts did not send."""
    return min(_LAST_PAUSE, _FIRST_PAUSE * 2.0 ** min(tries, 10))


def is_to_be_sent(recorded: Recorded) -> bool:
    """Whether a living process has an order in hand, or a desk will that finds its run."""
    row, is_desks = recorded.row, DESK in recorded.run.options
    if recorded.held and row.state in _IN_HAND:
        return not row.error  # however long it takes, as after a 429
    is_finished_later = row.state in WAITING or (
        row.state is OrderState.BROADCASTING and recorded.run.mode is Mode.TWO_PHASE
    )
    return is_desks and is_finished_later


def in_hand(recorded: Recorded, now: datetime) -> bool:
    """Whether a living process knows more of an order than the ledger: it waits there, or is being sent.

    An order that it gave up (whose error says so) is not, nor one whose claim is too old to be sent.
    """
    row = recorded.row
    if not recorded.held or row.state not in _IN_HAND:
        return False
    is_old = row.claimed_at is not None and (now - row.claimed_at).total_seconds() > 2 * CLAIM_LIFE
    return row.state in WAITING or not (row.error or is_old)


@attrs.frozen(kw_only=True)
class Changed:
    """Nothing of this order was sent: its key was sent, or may have been, with another content.

    Attributes:
        order: as it was passed.
        fields: those in which it differs, dotted, such as ``to_address.zip_code``; lists are one field.
        outcome: what became of the order that has the key.
    """

    order: Order
    fields: tuple[str, ...]
    outcome: Created[Order] | InDoubt[Order]


class TakenByAnother(NotSent):
    """Another desk has taken a submitted order meanwhile."""


class OrderChanged(UsageError, code="E909"):
    """An order was not submitted: its key was sent, may have been, or waits, with another content.

    Attributes:
        fields: those in which it differs, as in `Changed`.
        outcome: what became of the order that has the key; None if it waits.
    """

    def __init__(
        self, message: str = "", fields: Sequence[str] = (), outcome: "Created[Order] | InDoubt[Order] | None" = None
    ) -> None:
        super().__init__(message)
        self.fields: tuple[str, ...] = tuple(fields)
        self.outcome = outcome


Outcome: TypeAlias = Created[Order] | Refused[Order] | InDoubt[Order] | Unprocessed[Order] | Changed
"""What became of an order."""


@attrs.define(eq=False)
class Entry:
    """An order that callers of a desk wait for.

    Attributes:
        plain: the values of its payload.
        submitted: what waits in the ledger, if it was submitted.
        begun: whether it may be in the ledger.
        failed: whether the ledger failed when it was written.
        tried: whether that was in a commit, so that it may be in the ledger.
        promised: whether a caller left who heard that it may still be sent: it stays.
        waiters: the number of callers that wait for it.
        ended: called once, when its result is set.
        result: its outcome, or the error that its callers get; None until it is known.
    """

    order: Order
    key: str
    payload: bytes
    plain: Mapping[str, Any]
    ended: "Callable[[Entry], None]"
    submitted: Submitted | None = None
    begun: bool = False
    failed: bool = False
    tried: bool = False
    promised: bool = False
    waiters: int = 0
    result: Outcome | GotSurgeError | None = None
    _futures: "set[asyncio.Future[None]]" = attrs.field(factory=set, init=False)

    async def known(self) -> None:
        """Return when the result is set."""
        if self.result is None:
            future = asyncio.get_running_loop().create_future()
            self._futures.add(future)
            try:
                await future
            finally:
                self._futures.discard(future)

    def end(self, result: Outcome | GotSurgeError) -> None:
        """Set the result, unless it is set."""
        if self.result is not None:
            return
        self.ended(self)
        self.result = result
        for future in self._futures:
            if not future.done():  # else its caller was cancelled
                future.set_result(None)

    def end_in_doubt(self, why: str) -> None:
        """Set the result: it was sent, or may have been."""
        error = OutcomeUnknown(why, "E907", operation=OPERATION, body=self.payload)
        self.end(InDoubt(order=self.order, error=error))

    def end_by_ledger(self, error: GotSurgeError) -> None:
        """Set the result: an error by which nothing was sent, unless the ledger may have it from an earlier write."""
        if self.tried:
            self.end_in_doubt(f"the ledger failed, and may have it: {error}")
        else:
            own = copy(error)
            own.sent = "nothing"
            self.end(own)

    def end_unprocessed(self, error: GotSurgeError) -> None:
        """Set the result: it was certainly not sent, or a draft of it was, which calls no driver."""
        if error.sent == "perhaps":
            error = NotSent(str(error), "E906", operation=OPERATION)
        self.end(Unprocessed(order=self.order, error=error))

    def what_is_known(self, why: str) -> NotSent | OutcomeUnknown:
        """What is certain of it for a caller that leaves now, and why the caller leaves."""
        if not isinstance(self.result, Created | InDoubt | None):
            return NotSent(f"{why}, and it was not sent", "E906", operation=OPERATION)
        text = f"{why}, and the desk may still send it: ask again with the same key"
        return OutcomeUnknown(text, "E907", operation=OPERATION, body=self.payload)


def with_order(result: OrderResult[Any], order: Order) -> Outcome:
    """The result of a call, with the order as its caller passed it."""
    if isinstance(result, Created):
        return Created(order=order, receipt=result.receipt)
    if isinstance(result, Refused):
        return Refused(order=order, error=result.error)
    if isinstance(result, Unprocessed):
        return Unprocessed(order=order, error=result.error)
    return InDoubt(order=order, error=result.error)


def continues_draft(run: Run, entry: Entry, recorded: Recorded) -> bool:
    """Whether the recorded order has a draft in this run and the same content, so that it can be finished."""
    row, is_own = recorded.row, recorded.run.id == run.id
    has_draft = row.task_id is not None and row.state in WITH_DRAFT and run.info.mode is Mode.TWO_PHASE
    return is_own and has_draft and not _differing(entry, row)


def _differing(entry: Entry, row: OrderRow) -> list[str]:
    """The fields in which an order differs from a recorded one, whose text may not be known."""
    known_to_differ = row.payload not in (b"", entry.payload)
    return differing(entry.payload, row.payload, f"key {row.key}") if known_to_differ else []


def replayed(entry: Entry, recorded: Recorded) -> Outcome:
    """The outcome to return for an order whose key is already recorded."""
    row, run, order = recorded.row, recorded.run, entry.order
    outcome: Created[Order] | InDoubt[Order]
    if row.state is OrderState.CREATED and row.task_id is not None:
        status = None if row.status is None else TaskStatus(row.status)
        receipt = Receipt(id=row.task_id, tracking_id=order.tracking_id, current_status=status)
        outcome = Created(order=order, receipt=receipt, replayed=True)
    else:
        why = row.error or ("another process has it in hand" if recorded.held else "its outcome was not recorded")
        error = OutcomeUnknown(f"{why} (run {run.id})", "E907", operation=OPERATION, body=row.payload)
        outcome = InDoubt(order=order, error=error, replayed=True)
    fields = _differing(entry, row)
    return Changed(order=order, fields=tuple(fields), outcome=outcome) if fields else outcome


def settled(entry: Entry, recorded: Recorded) -> Outcome:
    """The outcome of an order that was submitted, also if its key is free again."""
    row, order = recorded.row, entry.order
    why = row.error or row.state.value
    if row.state is OrderState.REFUSED:
        with_others = WITH_OTHERS in why
        error = BadRequest(
            f"{why} (refused in run {recorded.run.id})",
            with_others=with_others,
            explain_code="E405",
            operation=OPERATION,
        )
        return Refused(order=order, error=error)
    if row.state in FREE:
        not_there = NotSent(f"{why} (not there since run {recorded.run.id})", "E906", operation=OPERATION)
        return Unprocessed(order=order, error=not_there)
    if row.state in WAITING:
        waits = NotSent(
            f"it waits in run {recorded.run.id}, which no process is sending now", "E906", operation=OPERATION
        )
        return Unprocessed(order=order, error=waits)
    return replayed(entry, recorded)
