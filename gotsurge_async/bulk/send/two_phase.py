"""Two-phase mode, for platform partners: drafts first, then a broadcast of the recorded drafts. Exactly once.

A lost answer to a draft create costs an unused draft: the order is drafted anew, and only the recorded draft is ever
broadcast. A lost answer to a broadcast is settled by reading the task: whatever is past draft is done, and what is
still a draft is broadcast again, by the same id, which acts on drafts only. Once a broadcast may have left, nothing but
such a read settles its orders: when it fails as well they stay ``broadcasting``, in doubt, until somebody can read.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import NamedTuple

import attrs

from gotsurge_async import codec
from gotsurge_async.api.endpoints import CHUNK, DRAFTS_BROADCAST, DRAFTS_CREATE, PLATFORM_TASKS_GET
from gotsurge_async.bulk.ledger import LedgerError, OrderRow, OrderState, Outcome, PendingOrder, Remark, Run
from gotsurge_async.bulk.send.claims import Claim, claim_pending, claim_whole, record_told_apart, whole
from gotsurge_async.bulk.send.direct import Results
from gotsurge_async.bulk.send.refusals import OnRefusedChunk, held, parts_to_send
from gotsurge_async.calls.create import Created, InDoubt, OrderResult, Refused, Unsent, create_chunk, stops_all
from gotsurge_async.calls.retry import backoff
from gotsurge_async.calls.session import Session
from gotsurge_async.calls.stream import chunks_of
from gotsurge_async.config import RetryPolicy
from gotsurge_async.errors import (
    BadRequest,
    CallError,
    Conflict,
    GotSurgeError,
    NotFound,
    OutcomeUnknown,
    SignInNeeded,
)
from gotsurge_async.models.platform import BroadcastRequest
from gotsurge_async.models.tasks import Receipt, TaskStatus
from gotsurge_async.resources.reading import read_task

_REFUSALS = (BadRequest, Conflict, NotFound)
"""Refusals of a broadcast that may be due to one draft of it."""


class Draft(NamedTuple):
    """An order, its recorded draft, and the status in which that was."""

    order: PendingOrder
    task_id: str
    status: str | None = None

    def is_told_past(self, status: TaskStatus) -> bool:
        """Whether a status says that the draft was broadcast.

        One that nobody knows says so only where the draft itself was in one that is known: it has changed since.
        """
        drafted = None if self.status is None else TaskStatus(self.status)
        return status.is_past_draft or (
            drafted is not None and drafted.is_draft and not status.is_draft and status.strip() != ""
        )


class Settled(NamedTuple):
    """What became of a draft: for the caller, and for the ledger."""

    result: OrderResult[PendingOrder]
    outcome: Outcome


class TwoPhaseSender:
    """Sends orders of a run as drafts and broadcasts them, a chunk at a time.

    Attributes:
        lost_drafts: keys of orders for which a draft may exist that is not recorded.
        stopped_by: the error that kept broadcasts from being settled: more of them would meet it too.

    Args:
        policy: how often a draft create or a broadcast whose answer was lost is tried anew, and how it waits.
        claim_life: seconds, see `claims.CLAIM_LIFE`.
        on_refused_chunk: what becomes of a chunk of drafts that the service refused as a whole.
        find_drafts: looks up the task ids of drafts that exist for some keys of a run, and are not recorded.
    """

    def __init__(
        self,
        session: Session,
        *,
        policy: RetryPolicy,
        claim_life: float,
        on_refused_chunk: OnRefusedChunk,
        find_drafts: Callable[[Run, Collection[str]], Awaitable[Mapping[str, str]]],
        random: Random | None = None,
    ) -> None:
        self.lost_drafts: set[str] = set()
        self.stopped_by: GotSurgeError | None = None
        self._session = session
        self._policy = policy
        self._claim_life = claim_life
        self._on_refused_chunk = on_refused_chunk
        self._find_drafts = find_drafts
        self._random = random or Random()  # noqa: S311 - spreads retries in time, guards nothing

    async def send(self, run: Run, orders: Sequence[PendingOrder]) -> Results:
        """Draft a chunk of pending orders, and broadcast the drafts; its results are in the ledger on return."""
        claim = Claim(run, self._session.clock, self._claim_life)
        orders = await claim_pending(run, orders)
        claim.ids = [order.id for order in orders]
        results, drafts = await self._draft(run, claim, orders)
        return [*results, *await self.broadcast(run, drafts)]

    async def finish(self, run: Run, rows: Sequence[OrderRow]) -> Results:
        """Bring orders to their end that were left drafted or broadcast, or in doubt with a task that can be read."""
        results: Results = []
        known = [(row.state, Draft(_order(row), row.task_id, row.status)) for row in rows if row.task_id]
        async for part in chunks_of(known, CHUNK):
            to_read = [draft for state, draft in part if state is not OrderState.DRAFTED]
            if to_read:
                begun = self._session.clock.monotonic()
                claimed = set(await whole(run.claim_to_read([draft.order.id for draft in to_read])))
                to_read = [draft for draft in to_read if draft.order.id in claimed]
                results += await self._settle(run, to_read, _Tried({draft.task_id for draft in to_read}, begun=begun))
            results += await self.broadcast(run, [draft for state, draft in part if state is OrderState.DRAFTED])
        return results

    # --- drafts -----------------------------------------------------------------------------------------------------

    async def _draft(self, run: Run, claim: Claim, orders: Sequence[PendingOrder]) -> tuple[Results, list[Draft]]:
        """Make drafts of claimed orders, anew while answers are lost; what has no draft in the end has a result."""
        results: Results = []
        drafts: list[Draft] = []
        waiting: Sequence[PendingOrder] = orders
        tries = 0
        try:
            while waiting:
                tries += 1
                settled = await self._adopt(run, await self._draft_part(claim, waiting))
                waiting = [each.order for each in settled if isinstance(each, InDoubt)]
                claim.ids = [order.id for order in waiting]
                claim.may_have_acted = False  # all that came of it is noted now
                self.lost_drafts.update(order.key for order in waiting)
                settled = await whole(_record_drafts(run, settled))
                lost = [each for each in settled if isinstance(each, InDoubt)]
                waiting = [each.order for each in lost]
                claim.ids = [order.id for order in waiting]
                self.lost_drafts.update(order.key for order in waiting)
                drafts += [
                    Draft(each.order, each.receipt.id, each.receipt.current_status)
                    for each in settled
                    if isinstance(each, Created)
                ]
                results += [each for each in settled if isinstance(each, Refused | Unsent)]
                if lost and tries >= self._policy.attempts:
                    await whole(run.release_claim(claim.ids))
                    results += [Unsent(order=each.order, error=each.error) for each in lost]
                    break
                if lost:
                    await self._session.clock.sleep(backoff(self._policy, tries, self._random.random()))
        except (asyncio.CancelledError, GotSurgeError):
            # Whatever was on its way is an unused draft at the most.
            with suppress(LedgerError):  # then whoever takes the run up settles them
                if claim.on_its_way or claim.may_have_acted:
                    self.lost_drafts.update(order.key for order in waiting)
                    await whole(run.lose_drafts(claim.ids))
                await whole(run.release_claim(claim.ids))
            raise
        return results, drafts

    async def _draft_part(self, claim: Claim, orders: Sequence[PendingOrder]) -> Results:
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
                before_send=claim.leave,
                after_send=claim.land,
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
        except (CallError, SignInNeeded):
            found = {}
        return [
            Created(order=each.order, receipt=Receipt(id=found[each.order.key])) if each.order.key in found else each
            for each in results
        ]

    # --- broadcasts ---------------------------------------------------------------------------------------------------

    async def broadcast(self, run: Run, drafts: Sequence[Draft]) -> Results:
        """Broadcast recorded drafts, until each is known to be past draft."""
        if not drafts:
            return []
        begun = self._session.clock.monotonic()
        claimed = await claim_whole(run, run.claim_broadcast([draft.order.id for draft in drafts]))
        mine = [draft for draft in drafts if draft.order.id in claimed]
        return await self._settle(run, mine, _Tried(begun=begun))

    async def _settle(self, run: Run, drafts: Sequence[Draft], tried: "_Tried") -> Results:
        """Bring claimed drafts to their end: broadcast what is a draft, read what the answer does not prove."""
        left = list(drafts)
        results: Results = []
        try:
            error = await self._settle_all(run, left, results, tried)
        except (asyncio.CancelledError, GotSurgeError):
            with suppress(LedgerError):  # then whoever takes the run up settles them
                await whole(run.release_claim([draft.order.id for draft in left if not tried.may_have(draft)]))
            raise
        return results if error is None else [*results, *await self._give_up(run, left, tried, error)]

    async def _settle_all(self, run: Run, left: list[Draft], results: Results, tried: "_Tried") -> GotSurgeError | None:
        """Take drafts out of ``left`` as their ``results`` are known; the error is what kept some from it."""
        errors: dict[str, CallError | SignInNeeded] = {}
        # Where an earlier broadcast of them may have acted they are read first, before the first try.
        for tries in range(0 if tried.acted else 1, self._policy.attempts + 1):
            if tries > 1:
                await self._session.clock.sleep(backoff(self._policy, tries - 1, self._random.random()))
            # One bad draft may have refused its whole chunk.
            one_by_one = any(isinstance(error, _REFUSALS) for error in errors.values())
            proven: dict[str, TaskStatus] = {}
            errors = {}
            if tries:
                async for part in chunks_of(tuple(left), 1 if one_by_one else CHUNK):
                    failed = await self._broadcast_call(run, part, proven, tried)
                    if failed is not None:
                        if stops_all(failed):
                            return failed
                        errors.update((draft.task_id, failed) for draft in part)
            refusals = errors if one_by_one else {}
            looks = await asyncio.gather(*(self._look(draft, proven, refusals, tried) for draft in left))
            settled = [each for each in looks if isinstance(each, Settled)]
            await whole(_record_settled(run, settled, left, results))
            for draft, look in zip(tuple(left), [each for each in looks if not isinstance(each, Settled)], strict=True):
                if look is not None:
                    if stops_all(look):
                        return look
                    errors.setdefault(draft.task_id, look)
            if not left:
                return None
        still = OutcomeUnknown("the task is still a draft after its broadcast", operation=DRAFTS_BROADCAST.name)
        return next(iter(errors.values()), still)

    async def _broadcast_call(
        self, run: Run, drafts: Sequence[Draft], proven: dict[str, TaskStatus], tried: "_Tried"
    ) -> CallError | SignInNeeded | None:
        """Broadcast once; tasks that the answer shows past draft are put into ``proven``.

        What may have been processed is put into ``tried``, also when this is cancelled.
        """
        claim = Claim(run, self._session.clock, self._claim_life, begun=tried.begun)
        claim.ids = [draft.order.id for draft in drafts]
        task_ids = tuple(draft.task_id for draft in drafts)
        try:
            answer = await self._session.call(
                DRAFTS_BROADCAST,
                body=BroadcastRequest(task_ids=task_ids),
                before_send=claim.leave,
                after_send=claim.land,
            )
        except (CallError, SignInNeeded) as error:
            return error
        finally:
            if claim.may_have_acted or claim.on_its_way:
                tried.acted.update(task_ids)
            elif claim.refused:
                tried.refused.update(task_ids)
        for task in answer.updated_tasks:
            if task.current_status is not None and TaskStatus(task.current_status).is_past_draft:
                proven[task.id] = TaskStatus(task.current_status)
        return None

    async def _look(
        self,
        draft: Draft,
        proven: Mapping[str, TaskStatus],
        refusals: Mapping[str, CallError | SignInNeeded],
        tried: "_Tried",
    ) -> Settled | CallError | SignInNeeded | None:
        """What became of a draft, read unless the broadcast's answer proved it.

        None if it is a draft still; the error if it could not be read.
        """
        order, task_id = draft.order, draft.task_id
        status = proven.get(task_id)
        if status is None:
            try:
                task = await read_task(self._session, PLATFORM_TASKS_GET, task_id)
            except NotFound as gone:
                outcome = Outcome(order.id, OrderState.IN_DOUBT, error=f"its draft is gone: {gone}")
                return Settled(InDoubt(order=order, error=gone), outcome)
            except (CallError, SignInNeeded) as error:
                return error
            status = task.current_status
        if status == TaskStatus.CANCELLED:
            said = "cancelled at the service"
            outcome = Outcome(order.id, OrderState.CANCELLED, status=status, error=said)
            return Settled(Refused(order=order, error=Conflict(said, operation=DRAFTS_BROADCAST.name)), outcome)
        if status is None or not (status.is_draft or draft.is_told_past(status)):
            told = "does not say where it stands" if status is None else f"is {status}, which nobody knows"
            return OutcomeUnknown(f"its task {told}", operation=PLATFORM_TASKS_GET.name)
        if not status.is_draft:
            receipt = Receipt(id=task_id, current_status=status)
            outcome = Outcome(order.id, OrderState.CREATED, task_id=task_id, status=status)
            return Settled(Created(order=order, receipt=receipt), outcome)
        tried.refused.discard(task_id)  # a draft still: the refusal was of this one, too
        refusal = refusals.get(task_id)
        # Nothing acted, then, unless an earlier broadcast is on its way somewhere.
        if isinstance(refusal, _REFUSALS) and task_id not in tried.acted:
            said_no = f"its draft stays unused: {refusal}"
            outcome = Outcome(order.id, OrderState.REJECTED, status=TaskStatus.DRAFT, error=said_no)
            return Settled(Refused(order=order, error=refusal), outcome)
        return None

    async def _give_up(self, run: Run, drafts: Sequence[Draft], tried: "_Tried", error: GotSurgeError) -> Results:
        """Leave drafts to a later resume: as drafts where certainly nothing left, else to be read by their ids."""
        self.stopped_by = error
        unsent = [draft.order for draft in drafts if not tried.may_have(draft)]
        doubtful = [draft.order for draft in drafts if tried.may_have(draft)]
        doubt = OutcomeUnknown(f"its broadcast may have acted: {error}", operation=DRAFTS_BROADCAST.name)
        if unsent:
            await whole(run.release_claim([order.id for order in unsent]))
        remarks = [Remark(order.id, OrderState.BROADCASTING, error=str(doubt)) for order in doubtful]
        await whole(run.remark(remarks))
        return [
            *(Unsent(order=order, error=error) for order in unsent),
            *(InDoubt(order=order, error=doubt) for order in doubtful),
        ]


@attrs.frozen
class _Tried:
    """Which tasks broadcasts may have acted on, and when their claim was begun, by the clock.

    Attributes:
        acted: a broadcast of them was answered or broken off; it may act even after they were read as drafts.
        refused: a broadcast of them and others was refused, perhaps for the others, and they were not read since.
    """

    acted: set[str] = attrs.field(factory=set)
    refused: set[str] = attrs.field(factory=set)
    begun: float = attrs.field(kw_only=True)

    def may_have(self, draft: Draft) -> bool:
        """Whether a driver may know of it."""
        return draft.task_id in self.acted or draft.task_id in self.refused


async def _record_settled(run: Run, settled: Sequence[Settled], left: list[Draft], results: Results) -> None:
    if settled:
        await run.record([each.outcome for each in settled])
        results += [each.result for each in settled]
        done = {each.outcome.id for each in settled}
        left[:] = [draft for draft in left if draft.order.id not in done]


async def _record_drafts(run: Run, results: Results) -> Results:
    """Record results; they are returned, with those lost whose draft turned out to be another order's."""
    told = [result for result in results if isinstance(result, Created | Refused)]
    if told:
        kept = await record_told_apart(run, told, _draft_outcome)
        results = [*kept, *(result for result in results if isinstance(result, Unsent | InDoubt))]
    unsent = [result.order.id for result in results if isinstance(result, Unsent)]
    if unsent:
        await run.release_claim(unsent)
    lost = [result.order.id for result in results if isinstance(result, InDoubt)]
    if lost:
        await run.lose_drafts(lost)
    return results


def _draft_outcome(result: Created[PendingOrder] | Refused[PendingOrder]) -> Outcome:
    if isinstance(result, Refused):
        return Outcome(result.order.id, OrderState.REJECTED, error=str(result.error))
    receipt = result.receipt
    return Outcome(result.order.id, OrderState.DRAFTED, task_id=receipt.id, status=receipt.current_status)


def _order(row: OrderRow) -> PendingOrder:
    return PendingOrder(row.id, row.line, row.key, row.payload)
