"""The result of a create for each of its orders; any number of orders as a stream of results."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import attrs

from gotsurge_async.api.endpoints import DRAFTS_CREATE
from gotsurge_async.calls.outcome import Outcome, denied_receipts, denied_rows, says_no
from gotsurge_async.calls.session import Session
from gotsurge_async.calls.stream import KeysSeen, ResultStream
from gotsurge_async.codec.compiled import filler
from gotsurge_async.codec.converters import id_of
from gotsurge_async.codec.given import Faulty, OrderLike, as_read, check_limit, each_as_read, refuse_faulty
from gotsurge_async.codec.text import written_batch
from gotsurge_async.errors import (
    CallError,
    Coded,
    GotSurgeError,
    InvalidData,
    NotSent,
    OutcomeUnknown,
    Problem,
    RateLimited,
    Rejected,
    RepeatedKey,
    SignInNeeded,
)
from gotsurge_async.hooks import ChunkDone
from gotsurge_async.models.tasks import Order, Receipt
from gotsurge_async.money import Money

if TYPE_CHECKING:
    from gotsurge_async.api.endpoints import Endpoint
    from gotsurge_async.codec import Codec
    from gotsurge_async.models.answers import CreatedTasks, Task
    from gotsurge_async.transports.base import Response

__all__ = ["Created", "InDoubt", "OrderResult", "PushStream", "Refused", "Unprocessed"]

T = TypeVar("T")
Answered = TypeVar("Answered", bound="Receipt | Task")

STOPPERS = (401, 403)
"""Statuses that say nothing about the orders: every later chunk would meet them too."""

Identity = tuple[str | None, str | None]
"""The names of an order in the answer of its create: its tracking id and its invoice number."""


@attrs.frozen(kw_only=True)
class Created(Generic[T]):
    """GotSurge has the order; ``receipt`` names its task.

    ``replayed`` says that nothing was sent now: a desk had the outcome of an earlier call.
    """

    order: T
    receipt: Receipt
    replayed: bool = False


@attrs.frozen(kw_only=True)
class Refused(Generic[T]):
    """GotSurge said no, to the order or to the chunk it was in."""

    order: T
    error: CallError


@attrs.frozen(kw_only=True)
class InDoubt(Generic[T]):
    """The order was sent, and it is not known whether GotSurge has it. Never send it again blindly.

    ``replayed`` says that nothing was sent now: a desk had the outcome of an earlier call.
    """

    order: T
    error: CallError
    replayed: bool = False


@attrs.frozen(kw_only=True)
class Unprocessed(Generic[T]):
    """This order was certainly not created: no connection, no sign-in, too many requests, or it cannot be sent.

    In the last case ``error`` is an `InvalidData`, and ``order`` the value from the stream. If it is a `RepeatedKey`,
    an earlier order of the stream has the same tracking id, and GotSurge may have that one: do not push this one again.
    """

    order: T
    error: GotSurgeError


OrderResult = Created[T] | Refused[T] | InDoubt[T] | Unprocessed[T]

_all_created = filler(Created, "order", "receipt")


def results_of_error(orders: Sequence[T], error: GotSurgeError) -> list[OrderResult[T]]:
    """The result of each order of a chunk whose create has failed; raises an error that says nothing about orders."""
    if isinstance(error, OutcomeUnknown):
        return [InDoubt(order=order, error=error) for order in orders]
    if isinstance(error, NotSent | RateLimited | SignInNeeded) or stops_all(error):
        return [Unprocessed(order=order, error=error) for order in orders]
    if isinstance(error, Rejected):
        return [Refused(order=order, error=error) for order in orders]
    raise error


def stops_all(error: GotSurgeError) -> bool:
    """Whether an error would meet every later chunk too: a person must act first."""
    return isinstance(error, SignInNeeded) or (isinstance(error, Rejected) and error.status in STOPPERS)


def results_of_receipts(
    orders: Sequence[T],
    identities: Sequence[Identity],
    receipts: Sequence[Receipt],
    operation: str = "",
    status: int | None = None,
    *,
    denied: Mapping[str, str] = {},
    shared_by_place: bool = True,
) -> list[OrderResult[T]]:
    """The results of a chunk whose create was answered; an order without a task, or with two, is in doubt."""
    if not denied and is_in_order(identities, receipts):
        created: list[OrderResult[T]] = _all_created(orders, receipts)
        return created
    tasks, doubts = match_alone(identities, receipts, operation, status, denied=denied, shared_by_place=shared_by_place)
    return [
        InDoubt(order=order, error=doubts[row]) if receipt is None else Created(order=order, receipt=receipt)
        for row, (order, receipt) in enumerate(zip(orders, tasks, strict=True))
    ]


def match_alone(
    identities: Sequence[Identity],
    answered: Sequence[Answered],
    operation: str,
    status: int | None = None,
    *,
    denied: Mapping[str, str] = {},
    whole: bool = True,
    shared_by_place: bool = True,
) -> tuple[list[Answered | None], dict[int, OutcomeUnknown]]:
    """Match orders as `match`, but give none to an order for which the answer names more than one task, or says no.

    ``denied`` has the reasons of tasks to which the answer says no, by their ids, see `calls.outcome`.

    Returns the task of each order, None for an order in doubt; and the error of each order in doubt, by its index.
    """
    matched = match(identities, answered, whole=whole, shared_by_place=shared_by_place)
    taken = {task.id for task in matched if task is not None}
    left = [task for task in answered if task.id not in taken]
    also: dict[int, list[str]] = {}
    for other, rows in zip(left, orders_named(identities, left), strict=True):
        if len(rows) == 1:
            also.setdefault(rows[0], []).append(other.id)
    doubts: dict[int, OutcomeUnknown] = {}
    for row, task in enumerate(matched):
        if task is None:
            why = "no task in the answer is certainly for this order"
        elif row in also:
            why = f"the answer names more than one task for this order: {', '.join([task.id, *also[row]])}"
        elif task.id in denied:
            why = f"the answer says no: {denied[task.id]}"
        else:
            continue
        doubts[row] = OutcomeUnknown(why, "E404", operation=operation, status=status)
        matched[row] = None
    return matched, doubts


def match(
    identities: Sequence[Identity],
    receipts: Sequence[Answered],
    *,
    whole: bool = True,
    shared_by_place: bool = True,
) -> list[Answered | None]:
    """Find the receipt of each order.

    The document promises neither the order of the answer nor that it is whole. So an order is matched if a receipt
    names this order alone: see `orders_named`. Else it is matched by position: if the counts agree, nothing was left
    out of the answer (``whole``), no match by name is in another position, and no receipt names another order than the
    one in its position. Unless ``shared_by_place``, a receipt that names several orders is not matched by position.
    """
    whole = whole and getattr(receipts, "whole", True) and len(identities) == len(receipts)
    receipts = _distinct(receipts)
    if is_in_order(identities, receipts):
        return list(receipts)
    named = orders_named(identities, receipts)
    matched: list[Answered | None] = [None] * len(identities)
    for receipt, rows in zip(receipts, named, strict=True):
        if len(rows) == 1 and matched[rows[0]] is None:
            matched[rows[0]] = receipt
    if (
        whole
        and len(identities) == len(receipts)
        and all(mine is None or mine is receipt for mine, receipt in zip(matched, receipts, strict=True))
        and all(not rows or row in rows for row, rows in enumerate(named))
        and not any(map(other_name, identities, map(named_by, receipts)))
    ):
        return [
            receipt if shared_by_place or len(rows) < 2 else None for receipt, rows in zip(receipts, named, strict=True)
        ]
    return matched


def orders_named(identities: Sequence[Identity], receipts: "Sequence[Receipt | Task]") -> list[list[int]]:
    """The indices of the orders that each receipt may name: by tracking id, else by invoice number.

    A name that several orders have identifies none of them, unless the receipt's other name does.
    """
    groups: tuple[dict[str | None, list[int]], ...] = ({}, {})
    for row, identity in enumerate(identities):
        for group, name in zip(groups, identity, strict=True):
            if name:
                group.setdefault(name, []).append(row)
    orders: list[list[int]] = []
    for receipt in receipts:
        named = named_by(receipt)
        rows: list[int] = []
        for group, name in zip(groups, named, strict=True):
            rows = rows or [row for row in group.get(name, ()) if not other_name(identities[row], named)]
        exact = [row for row in rows if identities[row] == named] if all(named) else rows
        orders.append(exact or rows)
    return orders


def is_in_order(identities: Sequence[Identity], receipts: "Sequence[Receipt | Task]") -> bool:
    """Whether each receipt is of another task, and names the order in its position, and no other: nearly always."""
    named = [(receipt.tracking_id, receipt.invoice_number) for receipt in receipts]
    if named != list(identities) or len({receipt.id for receipt in receipts}) != len(named):
        return False
    return have_own_tracking_ids(identities)


def _distinct(receipts: Sequence[Answered]) -> Sequence[Answered]:
    """The receipts that can be matched: a task that is repeated counts once if its tracking id is always the same."""
    if len({receipt.id for receipt in receipts}) == len(receipts):
        return receipts
    by_task: dict[str, list[Answered]] = {}
    for receipt in receipts:
        by_task.setdefault(receipt.id, []).append(receipt)
    return [
        same[0]
        for same in by_task.values()
        if len(same) == 1 or (same[0].tracking_id is not None and len({receipt.tracking_id for receipt in same}) == 1)
    ]


def named_by(task: "Receipt | Task") -> Identity:
    """The names that the service has for a task's order."""
    return task.tracking_id, task.invoice_number


def other_name(identity: Identity, named: Identity) -> str:
    """A description of a name that shows that the service's task is of another order; "" if none does."""
    # Written out: this runs for every order, and as a loop it cost more than all else of the matching.
    mine, theirs = identity[0], named[0]
    if mine and theirs and mine != theirs:
        return f"its tracking_id is {theirs}"
    mine, theirs = identity[1], named[1]
    return f"its invoice_number is {theirs}" if mine and theirs and mine != theirs else ""


def have_own_tracking_ids(identities: Sequence[Identity]) -> bool:
    """Whether each order has a tracking id that no other of them has: nearly always."""
    tracking_ids = {tracking_id for tracking_id, _ in identities}
    return len(tracking_ids) == len(identities) and None not in tracking_ids


async def create_chunk(
    session: Session,
    endpoint: "Endpoint[CreatedTasks]",
    orders: Sequence[T],
    body: bytes,
    identities: Sequence[Identity],
    *,
    before_send: Callable[[], Awaitable[None]] | None = None,
    after_send: Callable[[Outcome, int | None], None] | None = None,
    look_up: Callable[[Receipt], Awaitable[Receipt]] | None = None,
) -> list[OrderResult[T]]:
    """Create one chunk; returns a result for each order.

    Args:
        orders: any values that identify the orders for the caller; each is in its result.
        body: the JSON text of all of them, as `codec.encode_batch` makes it.
        before_send, after_send: see `Session.call`.
        look_up: reads the task of a receipt that does not certainly name its order. Without it, or if a read does not
            show the order either, the position decides; but after reads not between orders that share a name.
    """
    status: int | None = None
    denied: Mapping[str, str] = {}
    denials: Sequence[Receipt] = ()
    # A draft that was made of a denied order does no harm: it is never broadcast.
    are_drafts = look_up is not None and endpoint.name == DRAFTS_CREATE.name

    def read(reading: "Codec", answer: "Response") -> list[Receipt]:
        nonlocal status, denied, denials
        status = answer.status
        receipts = reading.decode_receipts(answer.body, says_no if are_drafts else None)
        denied, denials = denied_receipts(answer, receipts), receipts.denials
        return receipts

    try:
        receipts = await session.call(
            cast("Endpoint[list[Receipt]]", endpoint),
            body=body,
            read=read,
            before_send=before_send,
            after_send=after_send,
        )
    except GotSurgeError as error:
        return results_of_error(orders, error)
    if look_up is not None and not is_in_order(identities, receipts):
        receipts = await _looked_up(identities, receipts, look_up)
    by_place = look_up is None
    results = results_of_receipts(
        orders, identities, receipts, endpoint.name, status, denied=denied, shared_by_place=by_place
    )
    if are_drafts and (denied or denials):
        items = [*receipts, *denials]
        is_lone = len(orders) == len(items) == 1 and not other_name(identities[0], named_by(items[0]))
        for row, why in denied_rows(items, [[0]] if is_lone else orders_named(identities, items)).items():
            refusal = Rejected(f"the answer says no: {why}", "E404", operation=endpoint.name, status=status)
            results[row] = Refused(order=orders[row], error=refusal)
    return results


async def _looked_up(
    identities: Sequence[Identity], receipts: list[Receipt], look_up: Callable[[Receipt], Awaitable[Receipt]]
) -> list[Receipt]:
    """The receipts of an answer, with the names that reads show where a receipt does not name one order."""
    if len(identities) == len(receipts) == 1:
        return receipts
    unclear = [
        place
        for place, rows in enumerate(orders_named(identities, receipts))
        if len(rows) > 1 or not (rows or receipts[place].tracking_id)
    ]
    for place, receipt in zip(unclear, await asyncio.gather(*[look_up(receipts[at]) for at in unclear]), strict=True):
        receipts[place] = receipt
    return receipts


class PushStream(ResultStream[OrderLike, OrderResult[Order]]):
    """The results of a push without a ledger, one for each order, as they arrive.

    An order whose tracking id was in the stream already is not sent, but `Unprocessed` with `RepeatedKey`. For this
    alone the stream remembers tracking ids, see `KeysSeen`; orders without one cannot be compared.

    ``async for result in stream``; in an ``async with`` block it also ends cleanly when the loop is left early. Then,
    or when it is cancelled, ``in_flight`` holds the orders whose outcome is not known.

    When the service no longer accepts the account's token, no more chunks are sent; the orders of those that met it are
    `Unprocessed`, and the error is raised after the last result.

    Args:
        size: orders in a call, 1 to 20.
        concurrency: the most chunks in flight, by default the client's own limit.
    """

    def __init__(
        self,
        session: Session,
        endpoint: "Endpoint[CreatedTasks]",
        orders: Iterable[OrderLike] | AsyncIterable[OrderLike],
        *,
        size: int,
        concurrency: int | None,
        validate: bool,
        max_price: Money | None = None,
    ) -> None:
        check_limit(validate, max_price)
        self._keys = KeysSeen()
        read = cast("Iterable[OrderLike]", each_as_read(orders, self._read))
        super().__init__(read, size=size, concurrency=session.limiter.at_most(concurrency), clock=session.clock)
        self._session = session
        self._endpoint = endpoint
        self._validate = validate
        self._max_price = max_price

    def _read(self, value: Any) -> Order | Faulty:
        order = as_read(value)
        key = sent_names(order)[0] if isinstance(order, Order) else None
        if not key or self._keys.add(key):
            return order
        why = Coded(f"{key:.60} was already in this stream, so this order was not sent", "E229")
        return Faulty(value, RepeatedKey("", [Problem("tracking_id", why, key)]))

    async def _send(self, items: Sequence[OrderLike]) -> list[OrderResult[Order]]:
        started = self._session.clock.monotonic()
        chunk: Sequence[OrderLike | Faulty] = items
        faulty = {number: item for number, item in enumerate(chunk) if isinstance(item, Faulty)}
        fit = [item for item in chunk if not isinstance(item, Faulty)]
        try:
            orders, body = self._written(fit)
        except InvalidData:  # an order that cannot be sent keeps no other of its chunk from being sent
            faulty |= {number: fault for number, item in enumerate(chunk) if (fault := self._faulty(item)) is not None}
            fit = [item for number, item in enumerate(items) if number not in faulty]
            orders, body = self._written(fit)
        unfit = {
            number: Unprocessed(order=cast("Order", faulty[number].given), error=faulty[number].error)
            for number in sorted(faulty)
        }
        if not fit:
            return list(unfit.values())
        names = [sent_names(order) for order in orders]
        results = await create_chunk(self._session, self._endpoint, orders, body, names)
        for number, result in unfit.items():
            results.insert(number, result)
        first = next(result for number, result in enumerate(results) if number not in unfit)
        if isinstance(first, Unprocessed) and stops_all(first.error):
            self.stop(first.error)
        report_chunk(self._session, map(type, results), started)
        return results

    def _faulty(self, item: OrderLike | Faulty) -> Faulty | None:
        if isinstance(item, Faulty):
            return item
        try:
            self._written([item])
        except InvalidData as error:
            own = [Problem(path.removeprefix("orders[0]").lstrip("."), *why) for path, *why in error.problems]
            return Faulty(item, InvalidData("", own))
        return None

    @property
    def in_flight(self) -> list[OrderLike]:
        """The orders that are in a call, or whose result has not been yielded."""
        return [item for item in super().in_flight if not isinstance(item, Faulty)]

    def _written(self, items: Sequence[OrderLike]) -> tuple[tuple[Order, ...], bytes]:
        orders, body = written_batch(items)
        if self._validate:
            refuse_faulty(orders, self._session.clock.now(), self._max_price)
        return orders, body


def sent_names(order: Order) -> Identity:
    """The names with which an order is sent. A name that is not text is in ``extra``."""
    extra = order.extra
    if not extra:
        return order.tracking_id, order.invoice_number
    return (
        order.tracking_id or id_of(extra.get("tracking_id")),
        order.invoice_number or id_of(extra.get("invoice_number")),
    )


def report_chunk(session: Session, results: Iterable[type[Any]], started: float) -> None:
    """Emit the event of a chunk that has ended, whose call began at ``started`` by the session's clock."""
    if not session.hooks.watched:
        return
    counts = Counter(results)
    session.hooks.emit(
        ChunkDone(
            created=counts[Created],
            refused=counts[Refused],
            in_doubt=counts[InDoubt],
            unprocessed=counts[Unprocessed],
            seconds=session.clock.monotonic() - started,
            account=session.account,
        )
    )
