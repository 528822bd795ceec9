"""Claimed chunks: who may send them, until when, and what must not be left half done."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from gotsurge_async.bulk.ledger import Outcome as Recorded
from gotsurge_async.bulk.ledger import PendingOrder, Run, TaskTaken
from gotsurge_async.calls.create import STOPPERS, InDoubt, OrderResult
from gotsurge_async.calls.outcome import Outcome
from gotsurge_async.clock import Clock
from gotsurge_async.errors import OutcomeUnknown

T = TypeVar("T")

CLAIM_LIFE = 60.0
"""Seconds that a claim is good for: the process may have been frozen since, and another one have taken over."""


class Claim:
    """A claimed chunk while it is sent: it leaves only while its claim is young, and knows what may have come of it.

    ``leave`` and ``land`` are the ``before_send`` and ``after_send`` of `Session.call`. Make it before the claim is
    written: a process may be frozen right after the write.

    Args:
        begun: by the clock, before the claim was written; now, unless it is given.

    Attributes:
        ids: the orders that are claimed.
        on_its_way: a try left, and has not ended.
        may_have_acted: a try was answered, or broken off: the service may have processed all of it.
        refused: a try was refused, which need not mean all of its orders.
    """

    def __init__(self, run: Run, clock: Clock, life: float, *, begun: float | None = None) -> None:
        self.ids: Sequence[int] = ()
        self.on_its_way: bool = False
        self.may_have_acted: bool = False
        self.refused: bool = False
        self._run = run
        self._clock = clock
        self._old_at = (clock.monotonic() if begun is None else begun) + life / 2
        self._life = life

    async def leave(self) -> None:
        """A try is about to leave. An old claim is renewed first, which the ledger refuses if it is another's by now.

        Raises:
            LedgerError: it must not leave.
        """
        while (now := self._clock.monotonic()) > self._old_at:
            # Young from before the write, as at first: if that takes its whole life, once more.
            self._old_at = now + self._life / 2
            await whole(self._run.renew_claim(self.ids))
        self.on_its_way = True

    def land(self, outcome: Outcome, status: int | None) -> None:
        """The try has ended."""
        self.on_its_way = False
        self.may_have_acted |= outcome in (Outcome.ANSWERED, Outcome.UNKNOWN)
        self.refused |= outcome is Outcome.REJECTED and status not in STOPPERS


async def record_told_apart(
    run: Run, results: Sequence[OrderResult[PendingOrder]], outcome: Callable[[Any], Recorded]
) -> list[OrderResult[PendingOrder]]:
    """Record the outcomes of results, all at once; one whose task another order has is not recorded, and in doubt."""
    try:
        await run.record([outcome(result) for result in results])
    except TaskTaken:
        if len(results) > 1:
            return [each for result in results for each in await record_told_apart(run, [result], outcome)]
        (result,) = results
        error = OutcomeUnknown("the answer gives it a task that another order has already", status=200)
        return [InDoubt(order=result.order, error=error)]
    return list(results)


async def claim_pending(run: Run, orders: Sequence[PendingOrder]) -> list[PendingOrder]:
    """Claim orders that wait; those that are claimed now are returned, the others were taken over meanwhile."""
    claimed = await claim_whole(run, run.claim([order.id for order in orders]))
    return [order for order in orders if order.id in claimed]


async def claim_whole(run: Run, claim: Awaitable[Sequence[int]]) -> set[int]:
    """Await a claim of what is to be sent; a cancellation gives it back, since nothing was sent."""
    claiming = asyncio.ensure_future(claim)
    try:
        return set(await whole(claiming))
    except asyncio.CancelledError:
        if not claiming.cancelled() and claiming.exception() is None:
            await whole(run.release_claim(claiming.result()))
        raise


async def whole(work: Awaitable[T]) -> T:
    """Await something that must not be left half done: a cancellation waits for its end, and is raised then."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
