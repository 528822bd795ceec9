"""Two-phase mode, for platform partners: drafts first, then a broadcast of the recorded drafts. Exactly once.

A lost answer to a draft create costs an unused draft: the order is drafted anew, and only the recorded draft is ever
broadcast. A lost answer to a broadcast is settled by reading the task: whatever is past draft is done, and what is
still a draft is broadcast again, which acts on drafts only.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from random import Random
from typing import NamedTuple

from gotsurge_async import codec
from gotsurge_async.batcher import chunks_of
from gotsurge_async.bulk.claims import whole
from gotsurge_async.bulk.direct import Results
from gotsurge_async.bulk.ledger import OrderRow, OrderState, Outcome, PendingOrder, Run
from gotsurge_async.bulk.refusals import OnRefusedChunk, held, parts_to_send
from gotsurge_async.config import RetryPolicy
from gotsurge_async.creates import Created, InDoubt, OrderResult, Refused, Unsent, create_chunk, stops_all
from gotsurge_async.endpoints import CHUNK, DRAFTS_BROADCAST, DRAFTS_CREATE, PLATFORM_TASKS_GET
from gotsurge_async.errors import BadRequest, CallError, Conflict, GotSurgeError, NotFound, OutcomeUnknown
from gotsurge_async.models.platform import BroadcastRequest
from gotsurge_async.models.tasks import Receipt, TaskStatus
from gotsurge_async.retry import backoff
from gotsurge_async.session import Session

_REFUSALS = (BadRequest, Conflict, NotFound)
"""Refusals of a broadcast that may be due to one draft of it."""


class Draft(NamedTuple):
    """An order and its recorded draft."""

    order: PendingOrder
    task_id: str


class TwoPhaseSender:
    """Sends orders of a run as drafts and broadcasts them, a chunk at a time.

    Attributes:
        lost_drafts: keys of orders for which a draft may exist that is not recorded.

    Args:
        policy: how often a draft create or a broadcast whose answer was lost is tried anew, and how it waits.
        on_refused_chunk: what becomes of a chunk of drafts that the service refused as a whole.
        find_drafts: looks up the task ids of drafts that exist for some keys of a run, and are not recorded.
    """

    def __init__(
        self,
        session: Session,
        *,
        policy: RetryPolicy,
        on_refused_chunk: OnRefusedChunk,
        find_drafts: Callable[[Run, Collection[str]], Awaitable[Mapping[str, str]]],
        random: Random | None = None,
    ) -> None:
        self.lost_drafts: set[str] = set()
        self._session = session
        self._policy = policy
        self._on_refused_chunk = on_refused_chunk
        self._find_drafts = find_drafts
        self._random = random or Random()  # noqa: S311 - spreads retries in time, guards nothing

    async def send(self, run: Run, orders: Sequence[PendingOrder]) -> Results:
        """Draft a chunk of pending orders, and broadcast the drafts; its results are in the ledger on return."""
        claimed = set(await whole(run.claim([order.id for order in orders])))
        orders = [order for order in orders if order.id in claimed]  # the others were taken over meanwhile
        results, drafts = await self._draft(run, orders)
        return [*results, *await self.broadcast(run, drafts)]

    async def finish(self, run: Run, rows: Sequence[OrderRow]) -> Results:
        """Bring orders to their end that an earlier process left drafted, or in the middle of their broadcast."""
        results: Results = []
        known = [Draft(_order(row), row.task_id) for row in rows if row.task_id]
        on_their_way = {row.id for row in rows if row.state is OrderState.BROADCASTING}
        async for part in chunks_of(known, CHUNK):
            waiting = [draft for draft in part if draft.order.id not in on_their_way]
            claimed = [draft for draft in part if draft.order.id in on_their_way]
            if claimed:
                results += await self._settle(run, claimed)
            results += await self.broadcast(run, waiting)
        return results

    # --- drafts -----------------------------------------------------------------------------------------------------

    async def _draft(self, run: Run, orders: Sequence[PendingOrder]) -> tuple[Results, list[Draft]]:
        """Make drafts of claimed orders, anew while answers are lost; what has no draft in the end has a result."""
        results: Results = []
        drafts: list[Draft] = []
        waiting: list[Sequence[PendingOrder]] = [orders] if orders else []
        tries = 0
        while waiting:
            tries += 1
            lost: list[PendingOrder] = []
            error: GotSurgeError | None = None
            for part in waiting:
                settled = await self._adopt(run, await self._draft_part(part))
                await whole(_record_drafts(run, settled))
                drafts += [Draft(each.order, each.receipt.id) for each in settled if isinstance(each, Created)]
                results += [each for each in settled if isinstance(each, Refused | Unsent)]
                lost += [each.order for each in settled if isinstance(each, InDoubt)]
                error = next((each.error for each in settled if isinstance(each, InDoubt)), error)
            self.lost_drafts.update(order.key for order in lost)
            waiting = [lost] if lost else []
            if lost and error is not None:
                if tries >= self._policy.attempts:
                    await whole(run.release_claim([order.id for order in lost]))
                    results += [Unsent(order=order, error=error) for order in lost]
                    break
                await self._session.clock.sleep(backoff(self._policy, tries, self._random.random()))
        return results, drafts

    async def _draft_part(self, orders: Sequence[PendingOrder]) -> Results:
        """One draft create, and its parts again where the service refused it as a whole and splitting is wanted."""
        done: Results = []
        waiting: list[Sequence[PendingOrder]] = [orders]
        while waiting:
            part = waiting.pop()
            results = await create_chunk(
                self._session,
                DRAFTS_CREATE,
                part,
                codec.encode_batch([order.payload for order in part]),
                [codec.decode_names(order.payload) for order in part],
            )
            settled, again = parts_to_send(results, self._on_refused_chunk)
            done += settled
            waiting += again
        return held(done, self._on_refused_chunk)

    async def _adopt(self, run: Run, results: Results) -> Results:
        """Take a draft whose answer was lost for the order's own, where the service refused to make a second one."""
        keys = {each.order.key for each in results if isinstance(each, Refused)} & self.lost_drafts
        if not keys:
            return results
        try:
            found = await self._find_drafts(run, keys)
        except CallError:
            found = {}
        return [
            Created(order=each.order, receipt=Receipt(id=found[each.order.key])) if each.order.key in found else each
            for each in results
        ]

    # --- broadcasts ---------------------------------------------------------------------------------------------------

    async def broadcast(self, run: Run, drafts: Sequence[Draft]) -> Results:
        """Broadcast recorded drafts, until each is known to be past draft."""
        claimed = set(await whole(run.claim_broadcast([draft.order.id for draft in drafts])))
        return await self._settle(run, [draft for draft in drafts if draft.order.id in claimed], read_first=False)

    async def _settle(self, run: Run, drafts: Sequence[Draft], *, read_first: bool = True) -> Results:
        """Bring claimed drafts to their end: broadcast what is a draft, read what the answer does not prove."""
        results: Results = []
        left = list(drafts)
        errors: dict[str, CallError] = {}
        one_by_one = False
        for tries in range(1, self._policy.attempts + 1):
            proven: dict[str, TaskStatus] = {}
            errors.clear()
            if not (read_first and tries == 1):
                async for part in chunks_of(left, 1 if one_by_one else CHUNK):
                    error = await self._broadcast_call(part, proven)
                    if error is not None and stops_all(error):
                        return [*results, *await self._give_up(run, left, error)]
                    errors.update({draft.task_id: error for draft in part if error is not None})
            refusals = errors if one_by_one else {}
            looked_up = await asyncio.gather(*(self._look(draft, proven, refusals) for draft in left))
            settled = [result for result in looked_up if result is not None]
            await whole(run.record([_outcome(result) for result in settled]))
            results += settled
            left = [draft for draft, result in zip(left, looked_up, strict=True) if result is None]
            if not left:
                return results
            # One bad draft may have refused its whole chunk.
            one_by_one = any(isinstance(error, _REFUSALS) for error in errors.values())
            await self._session.clock.sleep(backoff(self._policy, tries, self._random.random()))
        still = OutcomeUnknown("the task is still a draft after its broadcast", operation=DRAFTS_BROADCAST.name)
        return [*results, *await self._give_up(run, left, next(iter(errors.values()), still))]

    async def _broadcast_call(self, drafts: Sequence[Draft], proven: dict[str, TaskStatus]) -> CallError | None:
        """Broadcast once; tasks that the answer shows past draft are put into ``proven``."""
        request = BroadcastRequest(task_ids=tuple(draft.task_id for draft in drafts))
        try:
            answer = await self._session.call(DRAFTS_BROADCAST, body=request)
        except CallError as error:
            return error
        for task in answer.updated_tasks:
            if task.current_status is not None and not TaskStatus(task.current_status).is_draft:
                proven[task.id] = TaskStatus(task.current_status)
        return None

    async def _look(
        self, draft: Draft, proven: Mapping[str, TaskStatus], refusals: Mapping[str, CallError]
    ) -> OrderResult[PendingOrder] | None:
        """What became of a draft, read unless the broadcast's answer proved it; None if it is not settled yet."""
        status = proven.get(draft.task_id)
        if status is None:
            try:
                task = await self._session.call(PLATFORM_TASKS_GET, path={"task_id": draft.task_id})
            except NotFound as gone:
                return InDoubt(order=draft.order, error=gone)
            except CallError:
                return None
            status = task.current_status
        if status is not None and not status.is_draft:
            return Created(order=draft.order, receipt=Receipt(id=draft.task_id, current_status=status))
        error = refusals.get(draft.task_id)
        return Refused(order=draft.order, error=error) if isinstance(error, _REFUSALS) else None

    async def _give_up(self, run: Run, drafts: Sequence[Draft], error: GotSurgeError) -> Results:
        """Leave drafts as they are: recorded, to be broadcast by a later resume."""
        await whole(run.release_claim([draft.order.id for draft in drafts]))
        return [Unsent(order=draft.order, error=error) for draft in drafts]


async def _record_drafts(run: Run, results: Results) -> None:
    outcomes = [_draft_outcome(result) for result in results if isinstance(result, Created | Refused)]
    if outcomes:
        await run.record(outcomes)
    unsent = [result.order.id for result in results if isinstance(result, Unsent)]
    if unsent:
        await run.release_claim(unsent)


def _draft_outcome(result: Created[PendingOrder] | Refused[PendingOrder]) -> Outcome:
    if isinstance(result, Refused):
        return Outcome(result.order.id, OrderState.REJECTED, error=str(result.error))
    receipt = result.receipt
    return Outcome(result.order.id, OrderState.DRAFTED, task_id=receipt.id, status=receipt.current_status)


def _outcome(result: object) -> Outcome:
    match result:
        case Created(order=order, receipt=receipt):
            return Outcome(order.id, OrderState.CREATED, task_id=receipt.id, status=receipt.current_status)
        case Refused(order=order, error=error):
            return Outcome(
                order.id, OrderState.REJECTED, status=TaskStatus.DRAFT, error=f"its draft stays unused: {error}"
            )
        case InDoubt(order=order, error=error):
            return Outcome(order.id, OrderState.IN_DOUBT, error=f"its draft is gone: {error}")
    raise AssertionError(f"no outcome: {result!r}")


def _order(row: OrderRow) -> PendingOrder:
    return PendingOrder(row.id, row.line, row.key, row.payload)
