"""Two-phase mode, for platform partners: drafts first, then a broadcast of the recorded drafts. Exactly once.

A lost answer to a draft create costs an unused draft: the order is drafted anew, and only the recorded draft is ever
broadcast.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from itertools import count

from gotsurge_async.api.endpoints import DRAFTS_CREATE
from gotsurge_async.bulk.ledger import OrderRow, OrderState, PendingOrder, Run
from gotsurge_async.bulk.send.broadcast import Broadcaster, Draft, pause
from gotsurge_async.bulk.send.chunks import ChunkSender, Results
from gotsurge_async.bulk.send.claims import Claim
from gotsurge_async.bulk.send.refusals import OnRefusedChunk
from gotsurge_async.calls.create import Created, InDoubt, Refused, Unsent
from gotsurge_async.calls.session import Session
from gotsurge_async.errors import CallError, GotSurgeError, SignInNeeded
from gotsurge_async.models.tasks import Receipt


class TwoPhaseSender(ChunkSender):
    """Creates drafts of orders, and broadcasts those.

    Args:
        find_drafts: looks up the task ids of drafts that exist for some keys of a run, and are not recorded.
        stop: is told the error for which broadcasts were given up: more of them would meet it too.
    """

    endpoint = DRAFTS_CREATE
    created_as = OrderState.DRAFTED

    def __init__(
        self,
        session: Session,
        run: Run,
        *,
        claim_life: float,
        on_refused_chunk: OnRefusedChunk,
        find_drafts: Callable[[Run, Collection[str]], Awaitable[Mapping[str, str]]],
        stop: Callable[[GotSurgeError], None],
    ) -> None:
        super().__init__(session, run, claim_life=claim_life, on_refused_chunk=on_refused_chunk)
        self._find_drafts = find_drafts
        self._broadcaster = Broadcaster(session, run, claim_life=claim_life, stop=stop)

    async def send(self, orders: Sequence[PendingOrder]) -> Results:
        """Draft a chunk of pending orders, and broadcast the drafts; its results are in the ledger on return."""
        results, drafts = await self._draft(orders)
        return [*results, *await self._broadcaster.broadcast(drafts)]

    async def finish(self, rows: Sequence[OrderRow]) -> Results:
        """Bring at most a chunk of orders to their end that have a draft, which may have been broadcast."""
        drafts = [
            Draft(
                PendingOrder(row.id, row.line, row.key, row.payload),
                row.task_id,
                row.status,
                may_have_acted=row.state is not OrderState.DRAFTED,
            )
            for row in rows
            if row.task_id
        ]
        results = await self._broadcaster.go_on([draft for draft in drafts if draft.may_have_acted])
        return [*results, *await self._broadcaster.broadcast([draft for draft in drafts if not draft.may_have_acted])]

    async def _draft(self, orders: Sequence[PendingOrder]) -> tuple[Results, list[Draft]]:
        """Make drafts, anew while answers are lost; an order that has no draft in the end has a result."""
        results: Results = []
        drafts: list[Draft] = []
        for tries in count(1):
            answered = await super().send(orders)
            drafts += [
                Draft(each.order, each.receipt.id, each.receipt.current_status)
                for each in answered
                if isinstance(each, Created)
            ]
            results += [each for each in answered if isinstance(each, Refused | Unsent)]
            lost = [each for each in answered if isinstance(each, InDoubt)]
            if not lost or tries >= self._session.policy.attempts:
                break
            await pause(self._session, tries)
            orders = [each.order for each in lost]
        return [*results, *(Unsent(order=each.order, error=each.error) for each in lost)], drafts

    async def _call(self, claim: Claim, orders: Sequence[PendingOrder]) -> tuple[Results, list[Sequence[PendingOrder]]]:
        results, again = await super()._call(claim, orders)
        return await self._adopt(results), again

    async def _adopt(self, results: Results) -> Results:
        """Take a draft whose answer was lost for the order's own, where the service refused to make a second one."""
        keys = {each.order.key for each in results if isinstance(each, Refused)} & self.lost_drafts
        if not keys:
            return results
        try:
            found = await self._find_drafts(self._run, keys)
        except (CallError, SignInNeeded):
            found = {}
        return [
            Created(order=each.order, receipt=Receipt(id=found[each.order.key])) if each.order.key in found else each
            for each in results
        ]

    async def _record_lost(self, lost: Sequence[InDoubt[PendingOrder]]) -> None:
        """They wait again: whatever was made of them is an unused draft."""
        self.lost_drafts.update(each.order.key for each in lost)
        ids = [each.order.id for each in lost]
        await self._run.lose_drafts(ids)
        await self._run.release_claim(ids)
