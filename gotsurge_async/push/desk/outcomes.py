"""An order that callers of a desk wait for, and its outcome."""

import asyncio
from collections.abc import Awaitable, Container, Mapping, Sequence
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
    LIVE,
    UNDO,
    WAITING,
    WITH_DRAFT,
    LedgerError,
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
"""The source of a desk's runs, and the option by which they are recognized."""
_FIRST_PAUSE, _LAST_PAUSE = 1.0, 60.0
READING = 1.0
"""Seconds that the ledger has to return what it knows of orders that are not sent."""
LONGEST_KEY = 1000
"""The most bytes of a key: more do not fit into an index of PostgreSQL."""


def _unfit(key: str) -> str:
    """The reason why a text cannot be a key: databases would cut it off, or refuse it; "" if it can."""
    if len(key.encode(errors="replace")) > LONGEST_KEY:
        return f"a key must have at most {LONGEST_KEY} bytes"
    return "" if key.isprintable() else "a key must not contain invisible characters"


def written(
    order: OrderLike, key: str | None, now: datetime | None, max_price: Money | None
) -> tuple[Order, str, bytes, dict[str, Any]]:
    """An order for a desk, with its key, its payload, and the plain values of the payload.

    With ``now`` it is checked as `check_order` does, with ``max_price``. Raises InvalidData if it is faulty, or has no
    key; every fault with its path.
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
    """Seconds until a submitted order is sent again, after ``tries`` failed attempts."""
    return min(_LAST_PAUSE, _FIRST_PAUSE * 2.0 ** min(tries, 10))


def is_to_be_sent(recorded: Recorded, refused: Container[str] = ()) -> bool:
    """Whether a living process has an order in hand, or a desk that resumes its run will send it.

    No desk resumes a run that was undone. The waiting orders of those that are ``refused`` join another one.
    """
    row, run = recorded.row, recorded.run
    if recorded.held and row.state in _IN_HAND:
        return not row.error  # however long it takes, as after a 429
    is_finished_later = row.state in WAITING and run.id not in refused
    is_settled_later = row.state is OrderState.BROADCASTING and run.mode is Mode.TWO_PHASE
    return (is_finished_later or is_settled_later) and DESK in run.options and UNDO not in run.options


def is_over(recorded: Recorded) -> bool:
    """Whether an order needs nothing more: it has ended, or was not sent before a person undid its desk's run."""
    row, options = recorded.row, recorded.run.options
    return row.state not in LIVE or (row.state in WAITING and not recorded.held and DESK in options and UNDO in options)


def in_hand(recorded: Recorded, now: datetime) -> bool:
    """Whether a living process knows more about an order than the ledger, because it is sending it or will.

    That is False for an order that the process gave up (its error says so), and for one whose claim is too old.
    """
    row = recorded.row
    if not recorded.held or row.state not in _IN_HAND:
        return False
    is_old = row.claimed_at is not None and (now - row.claimed_at).total_seconds() > 2 * CLAIM_LIFE
    return row.state in WAITING or not (row.error or is_old)


@attrs.frozen(kw_only=True)
class Changed:
    """Nothing of this order was sent: an order with the same key and other content was sent, or may have been.

    Attributes:
        order: as it was passed.
        fields: the fields in which it differs, dotted, such as ``to_address.zip_code``; lists are one field.
        outcome: the outcome of the order that has the key.
    """

    order: Order
    fields: tuple[str, ...]
    outcome: Created[Order] | InDoubt[Order]


class TakenByAnother(NotSent):
    """Another desk has taken a submitted order meanwhile."""


class OrderChanged(UsageError, code="E909"):
    """An order was not submitted: one with the same key and other content was sent, may have been, or waits.

    Attributes:
        fields: the fields in which it differs, as in `Changed`.
        outcome: the outcome of the order that has the key; None if it waits.
    """

    def __init__(
        self, message: str = "", fields: Sequence[str] = (), outcome: "Created[Order] | InDoubt[Order] | None" = None
    ) -> None:
        super().__init__(message)
        self.fields: tuple[str, ...] = tuple(fields)
        self.outcome = outcome


Outcome: TypeAlias = Created[Order] | Refused[Order] | InDoubt[Order] | Unprocessed[Order] | Changed
"""The outcome of an order."""


@attrs.define(eq=False)
class Entry:
    """An order that callers of a desk wait for.

    Attributes:
        submitted: the submitted order that waits in the ledger, if it was submitted.
        begun: whether it may be in the ledger.
        failed: whether the ledger failed when the order was written.
        tried: whether the failure was in a commit, so that the order may be in the ledger.
        promised: whether a caller left with the answer that it may still be sent: then it is not withdrawn.
        withdrawn: whether it was not begun, and is not sent any more.
        waiters: the number of those who wait for its result.
        retriers: the number of waiters that ask again later, and so need not wait for another process.
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
    withdrawn: bool = False
    waiters: int = 0
    retriers: int = 0
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
        """Set the result: the order was sent, or may have been."""
        error = OutcomeUnknown(why, "E907", operation=OPERATION, body=self.payload)
        self.end(InDoubt(order=self.order, error=error))

    def end_elsewhere(self) -> None:
        """Set the result: another process has the order in hand, and no caller waits for it any more."""
        why = "another process is still working on the order"
        if self.retriers:
            self.end_unprocessed(TakenByAnother(why, "E906", operation=OPERATION))
        self.end_in_doubt(why)

    def end_by_ledger(self, error: GotSurgeError) -> None:
        """Set an error as the result: nothing was sent, unless the ledger may have the order from an earlier write."""
        if self.tried:
            self.end_in_doubt(f"the ledger failed, and may or may not have recorded the order: {error}")
        else:
            own = copy(error)
            own.sent = "nothing"
            self.end(own)

    def end_unprocessed(self, error: GotSurgeError) -> None:
        """Set the result: the order was certainly not sent, or only as a draft, which no driver sees."""
        if error.sent == "perhaps":
            error = NotSent(f"no driver sees this order, because a call failed: {error}", "E906", operation=OPERATION)
        self.end(Unprocessed(order=self.order, error=error))

    def withdraw(self) -> bool:
        """Withdraw the order if it was not begun, and its last caller leaves; returns whether it is withdrawn now."""
        if self.begun or self.tried or self.promised or self.result or self.waiters > 1:
            return False
        self.withdrawn = True
        self.end_in_doubt("no caller waits for the order any more")  # no caller gets that
        return True

    def not_begun(self, known: "Mapping[str, Recorded] | None", why: str) -> Outcome:
        """The outcome of an order that was not begun, and that is not sent any more.

        Args:
            known: what `Leaving.known` returned of its key: an earlier call may have sent it.
        """
        self.withdrawn = True
        if known is None:
            return InDoubt(order=self.order, error=self.what_is_known(why))
        if (recorded := known.get(self.key)) is not None:
            return replayed(self, recorded)
        error = NotSent(f"{why}; this call did not send the order", "E906", operation=OPERATION)
        return Unprocessed(order=self.order, error=error)

    def what_is_known(self, why: str) -> NotSent | OutcomeUnknown:
        """The error for a caller that leaves now: what is certain about the order, and why the caller leaves."""
        if not isinstance(self.result, Created | InDoubt | None):
            return NotSent(f"{why}; the order was not sent", "E906", operation=OPERATION)
        text = f"{why}; the desk may still send the order: to learn the outcome, repeat the call with the same key"
        if self.withdrawn:
            text = (
                f"{why}; this call did not send the order, but an earlier one may have: to learn the outcome, repeat "
                "the call with the same key"
            )
        return OutcomeUnknown(text, "E907", operation=OPERATION, body=self.payload)


class Leaving:
    """Reads what the ledger knows of orders whose callers leave: one reading for all that leave at the same time."""

    def __init__(self, read: "Callable[[Sequence[str]], Awaitable[Mapping[str, Recorded]]]") -> None:
        self._read = read
        self._keys: list[str] = []
        self._next: asyncio.Task[Mapping[str, Recorded] | None] | None = None
        """The reading that has not begun, to which keys are added."""
        self._last: asyncio.Task[Mapping[str, Recorded] | None] | None = None

    async def known(self, keys: Sequence[str]) -> "Mapping[str, Recorded] | None":
        """The recorded orders of at least these keys, by key; None if the ledger cannot be read in a second."""
        if self._next is None:
            self._last = self._next = asyncio.create_task(self._read_together(self._last))
        self._keys += keys
        return await asyncio.shield(self._next)

    async def _read_together(self, earlier: "asyncio.Task[Any] | None") -> "Mapping[str, Recorded] | None":
        if earlier is not None:
            await asyncio.wait([earlier])
        keys, self._keys, self._next = self._keys, [], None
        try:
            async with asyncio.timeout(READING):
                return await self._read(keys)
        except (LedgerError, TimeoutError):
            return None


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


def replayed(entry: Entry, recorded: Recorded, *, is_own: bool = False) -> Outcome:
    """The outcome to return for an order whose key is already recorded; ``is_own``: in the run of this desk."""
    row, run, order = recorded.row, recorded.run, entry.order
    outcome: Created[Order] | InDoubt[Order]
    if row.state is OrderState.CREATED and row.task_id is not None:
        status = None if row.status is None else TaskStatus(row.status)
        receipt = Receipt(id=row.task_id, tracking_id=order.tracking_id, current_status=status)
        outcome = Created(order=order, receipt=receipt, replayed=True)
    else:
        why = row.error or (
            "another process is still working on the order"
            if recorded.held and not is_own
            else "the order may have been sent, but its outcome was not recorded"
        )
        error = OutcomeUnknown(f"{why} (run {run.id})", "E907", operation=OPERATION, body=row.payload)
        outcome = InDoubt(order=order, error=error, replayed=True)
    fields = _differing(entry, row)
    return Changed(order=order, fields=tuple(fields), outcome=outcome) if fields else outcome


def settled(entry: Entry, recorded: Recorded) -> Outcome:
    """The outcome of an order that was submitted, even if its key is free again."""
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
        not_there = NotSent(
            f"{why} (run {recorded.run.id}: GotSurge does not have the order)", "E906", operation=OPERATION
        )
        return Unprocessed(order=order, error=not_there)
    if row.state in WAITING:
        waits = NotSent(
            f"the order was not sent, because run {recorded.run.id} was undone"
            if UNDO in recorded.run.options
            else f"the order waits in run {recorded.run.id}, which no process is sending",
            "E906",
            operation=OPERATION,
        )
        return Unprocessed(order=order, error=waits)
    return replayed(entry, recorded)
