"""Direct mode: one call creates and broadcasts. At most once, and what is unknown is named."""

import asyncio
from collections.abc import Sequence

from gotsurge_async import codec
from gotsurge_async.api.endpoints import TASKS_CREATE
from gotsurge_async.bulk.ledger import OrderState, Outcome, PendingOrder, Run
from gotsurge_async.bulk.send.claims import Claim, claim_pending, record_told_apart, whole
from gotsurge_async.bulk.send.refusals import OnRefusedChunk, held, parts_to_send
from gotsurge_async.calls.create import Created, InDoubt, OrderResult, Refused, Unsent, create_chunk
from gotsurge_async.calls.session import Session
from gotsurge_async.errors import GotSurgeError, NotSent, OutcomeUnknown

Results = list[OrderResult[PendingOrder]]


class DirectSender:
    """Sends pending orders of a run, a chunk at a time: claim, send, record.

    Args:
        claim_life: seconds, see `claims.CLAIM_LIFE`.
        on_refused_chunk: what becomes of a chunk that the service refused as a whole.
    """

    def __init__(self, session: Session, *, claim_life: float, on_refused_chunk: OnRefusedChunk) -> None:
        self._session = session
        self._claim_life = claim_life
        self._on_refused_chunk = on_refused_chunk

    async def send(self, run: Run, orders: Sequence[PendingOrder]) -> Results:
        """Send a chunk; its results are in the ledger on return. Orders that another run took over have none."""
        # Its life begins before it is written: a process may be frozen right after the write.
        claim = Claim(run, self._session.clock, self._claim_life)
        orders = await claim_pending(run, orders)
        if not orders:
            return []
        claim.ids = [order.id for order in orders]
        return await whole(_record(run, await self._send_claimed(run, claim, orders)))

    async def _send_claimed(self, run: Run, claim: Claim, orders: Sequence[PendingOrder]) -> Results:
        """Send one claimed chunk, and parts of it again if that is wanted; in the ledger all are claimed meanwhile."""
        done: Results = []
        waiting: list[Sequence[PendingOrder]] = [orders]
        part: Sequence[PendingOrder] = ()
        try:
            while waiting:
                part = waiting.pop()
                results = await self._create(claim, part)
                settled, again = parts_to_send(results, self._on_refused_chunk)
                done += settled
                waiting += again
        except (asyncio.CancelledError, GotSurgeError):  # a usage error, for instance, which says nothing of orders
            unsent = [order for each in waiting for order in each]
            await whole(_record(run, [*done, *_unfinished(claim, part), *_never_sent(unsent)]))
            raise
        return held(done, self._on_refused_chunk)

    async def _create(self, claim: Claim, orders: Sequence[PendingOrder]) -> Results:
        return await create_chunk(
            self._session,
            TASKS_CREATE,
            orders,
            codec.encode_batch([order.payload for order in orders]),
            [codec.decode_names(order.payload) for order in orders],
            before_send=claim.leave,
            after_send=claim.land,
        )


def _unfinished(claim: Claim, orders: Sequence[PendingOrder]) -> Results:
    """What an interruption means for the part of a chunk that was being sent."""
    if claim.on_its_way:
        error = OutcomeUnknown("interrupted before the answer came", operation=TASKS_CREATE.name)
        return [InDoubt(order=order, error=error) for order in orders]
    return _never_sent(orders)


def _never_sent(orders: Sequence[PendingOrder]) -> Results:
    return [Unsent(order=order, error=NotSent("interrupted", operation=TASKS_CREATE.name)) for order in orders]


async def _record(run: Run, results: Results) -> Results:
    """Record results; they are returned, with those in doubt whose task turned out to be another order's."""
    unsent = [result for result in results if isinstance(result, Unsent)]
    sent = [result for result in results if not isinstance(result, Unsent)]
    told: Results = []
    if sent:
        told = await record_told_apart(run, sent, _outcome)
        doubts = [now for before, now in zip(sent, told, strict=True) if now is not before]
        if doubts:
            await run.record([_outcome(doubt) for doubt in doubts])
    if unsent:
        await run.release_claim([result.order.id for result in unsent])
    return [*told, *unsent]


def _outcome(result: OrderResult[PendingOrder]) -> Outcome:
    match result:
        case Created(order=order, receipt=receipt):
            return Outcome(order.id, OrderState.CREATED, task_id=receipt.id, status=receipt.current_status)
        case Refused(order=order, error=error):
            return Outcome(order.id, OrderState.REJECTED, error=str(error))
        case InDoubt(order=order, error=error):
            return Outcome(order.id, OrderState.IN_DOUBT, error=str(error))
        case Unsent():
            raise AssertionError("what was not sent has no outcome: its claim is released")
