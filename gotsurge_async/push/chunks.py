"""The one loop that sends: claim a chunk, make its call, record the answer; then send the parts of a refused chunk."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from copy import copy
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import attrs

from gotsurge_async import codec
from gotsurge_async.api.endpoints import TASKS_CREATE, TASKS_GET, Endpoint
from gotsurge_async.calls.apart import apart, are_alike, share_a_name
from gotsurge_async.calls.create import (
    STOPPERS,
    Created,
    Identity,
    InDoubt,
    OrderResult,
    Refused,
    Unprocessed,
    create_chunk,
    have_own_tracking_ids,
)
from gotsurge_async.calls.outcome import MOVED, Outcome
from gotsurge_async.calls.session import Session
from gotsurge_async.clock import Clock, uninterrupted
from gotsurge_async.errors import BadRequest, CallError, GotSurgeError, NotSent, OutcomeUnknown, SignInNeeded
from gotsurge_async.ledger import (
    LedgerBusy,
    LedgerError,
    OrderOutcome,
    OrderRow,
    OrderState,
    PendingOrder,
    Run,
    Taken,
    TaskCancelling,
    TaskTaken,
)
from gotsurge_async.models.tasks import Receipt, TaskStatus
from gotsurge_async.resources.reading import task_of

if TYPE_CHECKING:
    from gotsurge_async.models.answers import CreatedTasks, Task

T = TypeVar("T")

Results = list[OrderResult[PendingOrder]]
Body = tuple[bytes, Sequence[Identity]]
"""The body of a call, and the names of its orders in the answer."""

WITH_OTHERS = "refused-with-chunk"
"""A mark in the error of an order that was refused only because its call was."""
CLAIM_LIFE = 60.0
"""Seconds that a claim is valid: the process may have been frozen since, and another process have taken over."""
BUSY_TRIES = 10
"""The number of further attempts to record an answer while the ledger is busy; each lasts as long as a write waits."""


class Claim:
    """The claim of some orders while they are sent: a call leaves only while the claim is young.

    ``leave`` and ``land`` are the ``before_send`` and ``after_send`` of `Session.call`. Make it before the claim is
    written: a process may be frozen right after the write.

    Attributes:
        may_have_acted: a try of the call is on its way, was answered, or was broken off: the service may have
            processed all of it.
        refused: a try of the call was refused, though not necessarily for all of its orders.
        status: the HTTP status of the call's answer.
    """

    def __init__(self, run: Run, clock: Clock, life: float) -> None:
        self.refused: bool = False
        self.status: int | None = None
        self._ids: Sequence[int] = ()
        self._on_its_way = False
        self._acted = False
        self._run = run
        self._clock = clock
        self._old_at = clock.monotonic() + life / 2
        self._life = life

    async def take(self, claim: Callable[[Sequence[int]], Awaitable[Sequence[int]]], ids: Sequence[int]) -> set[int]:
        """Claim orders, and return the ids that are claimed now. A cancellation releases them: nothing was sent."""
        claiming = asyncio.ensure_future(claim(ids))
        try:
            return set(await uninterrupted(claiming))
        except asyncio.CancelledError:
            if not claiming.cancelled() and claiming.exception() is None:
                await uninterrupted(self._run.release_claim(claiming.result()))
            raise

    def begin_call(self, ids: Sequence[int]) -> None:
        """Begin a call; it leaves only while these orders are claimed."""
        self._ids = ids
        self._on_its_way = self._acted = self.refused = False
        self.status = None

    async def leave(self) -> None:
        """Renew an old claim before a try leaves; LedgerError if another process has it: the try must not leave."""
        while (now := self._clock.monotonic()) > self._old_at:
            # Young from before the write, as at first: if that takes its whole life, once more.
            self._old_at = now + self._life / 2
            await uninterrupted(self._run.renew_claim(self._ids))
        self._on_its_way = True

    def land(self, outcome: Outcome, status: int | None) -> None:
        """Note how a try ended."""
        self._on_its_way = False
        self.status = status if outcome is Outcome.ANSWERED else None
        self._acted |= outcome in (Outcome.ANSWERED, Outcome.UNKNOWN)
        self.refused |= outcome is Outcome.REJECTED and status not in STOPPERS

    @property
    def may_have_acted(self) -> bool:
        return self._on_its_way or self._acted


class OnRefusedChunk(StrEnum):
    """The treatment of a chunk that the service refused as a whole.

    The API document does not say whether nothing of a refused chunk was created.
    """

    HOLD = "hold"
    """The careful choice: no order of the chunk is sent again."""
    SPLIT = "split"
    """The other orders, or halves, are sent again until the bad ones are alone; harmless with drafts."""


@attrs.define(eq=False, kw_only=True)
class ChunkSender(ABC):
    """Sends chunks of pending orders of a run. Each mode defines what is created, and what a lost answer means.

    Attributes:
        needs: all the endpoints that a run may need, checked before its first order is sent.
        created_as: the state of an order that the service accepted.
        claim_life: seconds, see `CLAIM_LIFE`.
        on_refused_chunk: the treatment of a chunk that the service refused as a whole.
        stopping: set when nothing more may be sent: an order that was not processed, and waits for another try,
            stays pending then.
        lost_drafts: keys of orders for which a draft may exist that is not recorded; none in direct mode.
        taken: ids of orders whose answer named a task that is another order's, or may be.
        withdraws: whether, in direct mode, the write that ends the claim of an order that was not processed also
            withdraws the order: its caller hears that it was not sent, so no later write may be needed for that.
        unrecorded: answers that came, and that the ledger failed to record, by the order's id.
    """

    endpoint: ClassVar["Endpoint[CreatedTasks]"]
    reads: ClassVar["Endpoint[Task]"]
    needs: ClassVar[tuple[Endpoint[Any], ...]]
    created_as: ClassVar[OrderState]
    session: Session
    run: Run
    claim_life: float
    on_refused_chunk: OnRefusedChunk
    stopping: asyncio.Event
    lost_drafts: set[str] = attrs.field(factory=set, init=False)
    taken: set[int] = attrs.field(factory=set, init=False)
    withdraws: bool = attrs.field(default=False, init=False)
    unrecorded: dict[int, OrderResult[PendingOrder]] = attrs.field(factory=dict, init=False)
    _sending: Session = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._sending = self.session.with_options(stop=self.stopping)

    async def send(self, orders: Sequence[PendingOrder], claim: Claim | None = None, *, division: int = 0) -> Results:
        """Send a chunk; its results are in the ledger on return. Orders that another run took over have no result.

        Orders that no name distinguishes are sent in different calls, so that their answers can. After a call that
        was not processed, or whose answer was lost, and when nothing more may be sent, the rest is unprocessed.

        Args:
            claim: made before all of the orders were claimed; unless given, those are claimed that wait.
            division: 1 if no call may have two orders that share a name, 2 if each order needs its own call.

        Raises:
            LedgerError: the ledger cannot be written, or is damaged; nothing is sent that is not recorded.
        """
        whole = self._body(orders)
        claimed = {order.id for order in orders}
        if claim is None:
            claim = self.new_claim()
            claimed = await claim.take(self.run.claim, [order.id for order in orders])
        part: Sequence[PendingOrder] = ()
        waiting: list[Sequence[PendingOrder]] = []
        if claimed:
            all_of_them = len(claimed) == len(orders)
            part = orders if all_of_them else [order for order in orders if order.id in claimed]
            waiting += self._apart(part, whole[1] if all_of_them else self._body(part)[1], division)
            part = ()
        results: Results = []
        answered: Results = []
        refused = False
        try:
            while waiting:
                part = waiting.pop()
                claim.begin_call([order.id for chunk in (part, *waiting) for order in chunk])
                answered, again = await self._call(claim, part, whole if len(part) == len(orders) else self._body(part))
                waiting += again
                refused |= bool(again)
                if waiting and (ended_by := self._ended_by(answered, refused)) is not None:
                    answered += [Unprocessed(order=order, error=ended_by) for chunk in waiting for order in chunk]
                    waiting.clear()
                part = ()
                results += await self._recorded(answered, claim.status)
                answered = []
        except (asyncio.CancelledError, GotSurgeError):  # a usage error, for instance, which concerns no order
            self.unrecorded.update((result.order.id, result) for result in answered)
            error = OutcomeUnknown("interrupted before the answer came", operation=self.endpoint.name)
            cut = InDoubt if claim.may_have_acted else Unprocessed
            left: Results = [cut(order=order, error=error) for order in part]
            left += [Unprocessed(order=order, error=error) for chunk in waiting for order in chunk]
            with suppress(LedgerError):  # then the process that resumes the run reads it
                await uninterrupted(self._record(left))
                await uninterrupted(self._release([*results, *answered]))
            raise
        return results

    async def finish(self, rows: Sequence[OrderRow]) -> Results:
        """Finish orders whose drafts are recorded; in direct mode there are none."""
        return []

    def new_claim(self) -> Claim:
        """Make a claim. Its life begins before it is written: a process may be frozen right after the write."""
        return Claim(self.run, self.session.clock, self.claim_life)

    def names_known_task(self, result: OrderResult[PendingOrder]) -> bool:
        """Whether an answer names a task that is recorded already, perhaps for this order, or that two orders got."""
        known = isinstance(result, Created) and self.run.knows_task(result.receipt.id)
        return known or result.order.id in self.taken

    async def read(self, task_id: str) -> "Task":
        """Read a task of the run; CallError or SignInNeeded if that fails."""
        return await self.session.call(self.reads, path={"task_id": task_id}, read=task_of(task_id))

    def _ended_by(self, answered: Results, refused: bool) -> GotSurgeError | None:
        """The error after which the rest of a chunk is not sent: the next calls would probably end in the same way.

        The search for the bad orders of a chunk that was ``refused`` continues after a lost answer: it has many calls.
        """
        for result in answered:
            if isinstance(result, Unprocessed):
                return result.error
            if isinstance(result, InDoubt) and not refused and not is_nameless(result):
                return result.error
        if self.stopping.is_set():
            return NotSent("stopped before this call was sent", operation=self.endpoint.name)
        return None

    def _apart(
        self, orders: Sequence[PendingOrder], names: Sequence[Identity], division: int
    ) -> list[Sequence[PendingOrder]]:
        if division > 1:
            return [[order] for order in reversed(orders)]
        if have_own_tracking_ids(names) and not division:
            return [orders]
        groups = apart(names, share_a_name if division else are_alike)
        return [[orders[row] for row in group] for group in reversed(groups)]  # the last one is sent first

    def _body(self, orders: Sequence[PendingOrder]) -> Body:
        text = codec.encode_batch([order.payload for order in orders])
        return text, self.run.names_in(orders, text)

    async def _call(
        self, claim: Claim, orders: Sequence[PendingOrder], body: Body
    ) -> tuple[Results, list[Sequence[PendingOrder]]]:
        """Create some orders; returns their results, and the parts of them that are to be sent again."""
        results = await create_chunk(
            self._sending,
            self.endpoint,
            orders,
            *body,
            before_send=claim.leave,
            after_send=claim.land,
            look_up=self._look_up,
        )
        return _after_refusal(results, self.on_refused_chunk)

    async def _look_up(self, receipt: Receipt) -> Receipt:
        """The task that an answer did not name for its order, with the names that a read shows, if any."""
        try:
            task = await self.read(receipt.id)
        except (CallError, SignInNeeded):
            return receipt
        return attrs.evolve(receipt, tracking_id=task.tracking_id, invoice_number=task.invoice_number)

    async def _recorded(self, results: Results, status: int | None) -> Results:
        """Record results, in one step if all are created, even if this is cancelled meanwhile."""
        created = [result for result in results if type(result) is Created]
        if created and len(created) == len(results):
            ids = [result.order.id for result in created]
            taken = Taken(ids, self.created_as, [result.receipt for result in created])
            recording = asyncio.ensure_future(self.run.record(taken, broadcast=self.created_as is OrderState.DRAFTED))
            try:
                await uninterrupted(recording)
            except (LedgerBusy, TaskTaken):
                pass  # nothing was recorded
            except asyncio.CancelledError as cancelled:
                if recording.done() and isinstance(recording.exception(), LedgerBusy | TaskTaken):
                    try:
                        await uninterrupted(self._record(results, status))
                    except LedgerError as error:
                        raise cancelled from error
                raise
            else:
                return results
        return await uninterrupted(self._record(results, status))

    async def _record(self, results: Results, status: int | None = None) -> Results:
        """Record the results of an answer, and return them; an order whose task is another order's becomes in doubt."""
        outcomes: list[OrderOutcome] = []
        lost: list[InDoubt[PendingOrder]] = []
        unprocessed: list[Unprocessed[PendingOrder]] = []
        for result in results:
            if isinstance(result, Created | Refused):
                outcomes.append(self.outcome_of(result))
            elif isinstance(result, InDoubt):
                lost.append(result)
            else:
                unprocessed.append(result)
        try:
            if outcomes:
                await self._keep(outcomes, broadcast=self.created_as is OrderState.DRAFTED)
        except TaskTaken as taken:
            if len(results) > 1:
                return [recorded for result in results for recorded in await self._record([result], status)]
            if isinstance(taken, TaskCancelling) and isinstance(results[0], Created):
                why = f"the answer names a task that may be cancelled: {taken.words}"
                error = OutcomeUnknown(why, "E608", operation=self.endpoint.name, status=status)
                doubt = InDoubt(order=results[0].order, error=error)
                await self._record_cancelling(doubt, results[0].receipt)
                return [doubt]
            why = f"the answer names a task that already belongs to another order: {taken.words}"
            error = OutcomeUnknown(why, "E404", operation=self.endpoint.name, status=status)
            doubt = InDoubt(order=results[0].order, error=error)
            # The task may be its own, and the other order may broadcast it: in no mode is it sent again.
            self.taken.add(doubt.order.id)
            await self._record_doubts([doubt])
            return [doubt]
        except LedgerBusy:  # nothing was recorded, so a task that is known may be another order's
            self.taken.update(result.order.id for result in results if self.names_known_task(result))
            raise
        if lost:
            await self._record_lost(lost)
        if unprocessed:
            await self._record_unprocessed(unprocessed)
        return results

    def outcome_of(
        self, result: Created[PendingOrder] | Refused[PendingOrder] | Unprocessed[PendingOrder]
    ) -> OrderOutcome:
        """The outcome that the ledger records for a result, except ``unprocessed``, whose claim is released."""
        if isinstance(result, Created):
            task = result.receipt
            return OrderOutcome(result.order.id, self.created_as, task.id, task.current_status)
        if isinstance(result, Refused):
            return OrderOutcome(result.order.id, OrderState.REFUSED, error=str(result.error))
        return OrderOutcome(result.order.id, OrderState.WITHDRAWN, error=f"not sent: {result.error}")

    async def _keep(self, outcomes: Sequence[OrderOutcome], *, broadcast: bool = False) -> None:
        """Record an answer, even if another process writes for longer than a write waits (an archive, a backup).

        A write that was refused as busy changed nothing, and the service does not repeat the answer.
        """
        for _ in range(BUSY_TRIES):
            with suppress(LedgerBusy):
                return await self.run.record(outcomes, broadcast=broadcast)
        return await self.run.record(outcomes, broadcast=broadcast)

    async def _record_doubts(self, doubts: Sequence[InDoubt[PendingOrder]]) -> None:
        """Record orders as in doubt: they are not sent again."""
        in_doubt = OrderState.IN_DOUBT
        await self._keep([OrderOutcome(doubt.order.id, in_doubt, error=str(doubt.error)) for doubt in doubts])

    async def _record_unprocessed(self, unprocessed: Sequence[Unprocessed[PendingOrder]]) -> None:
        """End the claim of orders that were not processed."""
        await self.run.release_claim([result.order.id for result in unprocessed])

    @abstractmethod
    async def _release(self, results: Results) -> None:
        """Release claims that were made with the record of a result, and that are not used now."""

    @abstractmethod
    async def _record_lost(self, lost: Sequence[InDoubt[PendingOrder]]) -> None:
        """End the claim of orders whose answer was lost."""

    async def _record_cancelling(self, doubt: InDoubt[PendingOrder], receipt: Receipt) -> None:
        """End the claim of an order whose answer named a task of which a cancel has begun."""
        await self._record_lost([doubt])


@attrs.define(eq=False, kw_only=True)
class DirectSender(ChunkSender):
    """Direct mode: one call creates and broadcasts. An order whose answer was lost is in doubt, and not sent again.

    So is one whose answer calls its task cancelled: the task is recorded, and a read of it settles the order.
    """

    endpoint = TASKS_CREATE
    reads = TASKS_GET
    needs: ClassVar[tuple[Endpoint[Any], ...]] = (TASKS_CREATE, TASKS_GET)
    created_as = OrderState.CREATED
    _cancelled: dict[int, Receipt] = attrs.field(factory=dict, init=False)

    async def _release(self, results: Results) -> None:
        """Do nothing: a created order has no claim."""

    async def _call(
        self, claim: Claim, orders: Sequence[PendingOrder], body: Body
    ) -> tuple[Results, list[Sequence[PendingOrder]]]:
        results, again = await super()._call(claim, orders, body)
        for place, result in enumerate(results):
            if isinstance(result, Created) and result.receipt.current_status == TaskStatus.CANCELLED:
                why = f"the answer shows this order's task, {result.receipt.id}, as cancelled"
                error = OutcomeUnknown(why, "E608", operation=self.endpoint.name, status=claim.status)
                results[place] = InDoubt(order=result.order, error=error)
                self._cancelled[result.order.id] = result.receipt
        return results, again

    async def _record_lost(self, lost: Sequence[InDoubt[PendingOrder]]) -> None:
        left: list[InDoubt[PendingOrder]] = []
        for doubt in lost:
            task = self._cancelled.pop(doubt.order.id, None)
            try:
                if task is None:
                    left.append(doubt)
                else:
                    where = task.id, task.current_status, str(doubt.error)
                    await self._keep([OrderOutcome(doubt.order.id, OrderState.IN_DOUBT, *where)])
            except TaskTaken:
                left.append(doubt)
        if left:
            await self._record_doubts(left)

    async def _record_cancelling(self, doubt: InDoubt[PendingOrder], receipt: Receipt) -> None:
        where = receipt.id, receipt.current_status, str(doubt.error)
        try:
            await self._keep([OrderOutcome(doubt.order.id, OrderState.CANCELLING, *where)])
        except TaskTaken:
            await self._record_doubts([doubt])

    async def _record_unprocessed(self, unprocessed: Sequence[Unprocessed[PendingOrder]]) -> None:
        if not self.withdraws:
            return await super()._record_unprocessed(unprocessed)
        why = self.outcome_of(unprocessed[0]).error or ""
        return await self.run.withdraw_claimed([result.order.id for result in unprocessed], why)


def is_nameless(doubt: InDoubt[PendingOrder]) -> bool:
    """Whether an answer came, and was read, but has no task that is certainly for the order."""
    return doubt.error.explain_code == "E404"


def _after_refusal(results: Results, choice: OnRefusedChunk) -> tuple[Results, list[Sequence[PendingOrder]]]:
    """The results of a chunk, and the parts of it that are to be sent again instead; either may be empty."""
    first = results[0]
    if len(results) == 1 or not isinstance(first, Refused) or not isinstance(first.error, BadRequest):
        return results, []
    if first.error.status in MOVED:  # no order is to blame, and each part would be sent to the wrong place again
        return results, []
    rows = frozenset(first.error.rows)
    if len(rows) == len(results) or not rows <= frozenset(range(len(results))):
        rows = frozenset()  # blaming all of them, or one that does not exist, proves nothing
    blamed = [result for row, result in enumerate(results) if row in rows]
    others = [result.order for row, result in enumerate(results) if row not in rows]
    if choice is OnRefusedChunk.HOLD:
        which = "named other orders of the chunk" if blamed else "did not say which order of the chunk it refused"
        held = copy(first.error)
        held.args = (f"{WITH_OTHERS} (GotSurge {which})",)
        held.with_others = True
        return [*blamed, *(Refused(order=order, error=held) for order in others)], []
    middle = 0 if blamed else len(others) // 2
    return blamed, [part for part in (others[middle:], others[:middle]) if part]
