"""Two-phase mode, for platform partners: drafts first, then a broadcast of the recorded drafts. Exactly once.

A lost answer to a draft create costs an unused draft: the order is drafted anew, and only the recorded draft is ever
broadcast. A broadcast acts on drafts only, so it may be repeated, by the same id. Once it may have acted, only a read
of its task as no draft settles an order: until then the order stays ``broadcasting``, in doubt. A read may be out of
date, so one that shows a draft proves something only after the time in which the broadcast may act.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from itertools import count
from random import random
from typing import Any, ClassVar

import attrs

from gotsurge_async import codec
from gotsurge_async.api.endpoints import DRAFTS_BROADCAST, DRAFTS_CREATE, PLATFORM_TASKS_GET, Endpoint
from gotsurge_async.calls.create import (
    Created,
    Identity,
    InDoubt,
    OrderResult,
    Refused,
    Unprocessed,
    other_name,
    stops_all,
)
from gotsurge_async.calls.outcome import denial, says_no
from gotsurge_async.calls.tries import backoff
from gotsurge_async.clock import uninterrupted
from gotsurge_async.errors import (
    BadRequest,
    CallError,
    Conflict,
    GotSurgeError,
    NotFound,
    OutcomeUnknown,
    Rejected,
    SignInNeeded,
)
from gotsurge_async.ledger import IllegalTransition, LedgerError, OrderOutcome, OrderRow, OrderState, PendingOrder, Run
from gotsurge_async.ledger.errors import ELSEWHERE
from gotsurge_async.models.platform import UpdatedTask
from gotsurge_async.models.tasks import ENDED_EARLY, Receipt, TaskStatus
from gotsurge_async.push.chunks import Body, ChunkSender, Claim, Results, is_nameless
from gotsurge_async.push.doubts import (
    OF_CALL,
    REFUSALS,
    is_only_read,
    is_over,
    is_plain,
    left_with,
    refusal_of,
    remarks_of,
    stay_in_doubt,
)

_EACH_ALONE = 2
"""The division of a chunk in which each order has its own call, whose answer needs no names."""


@attrs.define(eq=False)
class Draft:
    """An order, its recorded draft, and what is known of its broadcast.

    Attributes:
        first_status: the status in which it was recorded.
        may_have_acted: a broadcast of it was answered or broken off, or refused as if it were no draft: a broadcast may
            act even after a read showed a draft, or have acted before an old read.
        acted_now: that is so of a broadcast that this process made.
        with_others: whether a broadcast of it and of others was refused, and may have acted on it.
        is_over: no earlier broadcast of it can act any more: if a read shows a draft before the next one, none did.
        refusal: the refusal that ends the order if a read shows a draft.
        refused: a broadcast of it was refused, and it was not read since.
        updated: the answer to a broadcast named it as updated, and not as a draft; and none said no.
        denied: the answer to a broadcast said no to it.
        alone: its last broadcast had no other draft.
        answered: its last broadcast was answered.
        status: the status in an answer since the last broadcast, "" if it has none; None without an answer.
        gone: the answer that there is no such task.
        not_its_own: a read of it named another order.
        elsewhere: the description of another task that an answer to a broadcast named for its order; else "".
        trouble: the reason why it had no result after the last broadcast.
        failed: the error of its last broadcast or read, if that is none of its own.
        result: its outcome, which the ledger has, too.
    """

    order: PendingOrder
    task_id: str
    first_status: str | None = None
    may_have_acted: bool = False
    acted_now: bool = False
    with_others: bool = False
    is_over: bool = False
    refusal: Rejected | None = None
    refused: bool = False
    updated: bool = False
    denied: bool = False
    alone: bool = False
    answered: bool = False
    status: TaskStatus | None = None
    gone: NotFound | None = None
    not_its_own: OutcomeUnknown | None = None
    elsewhere: str = ""
    trouble: CallError | None = None
    failed: CallError | SignInNeeded | None = None
    result: OrderResult[PendingOrder] | None = None

    @property
    def may_be_out(self) -> bool:
        """Whether drivers may know of the draft."""
        return self.may_have_acted or self.refused or self.with_others

    @property
    def is_called_faulty(self) -> bool:
        """Whether its last broadcast was refused, and probably would be again; and a read shows its task."""
        return self.status is not None and isinstance(self.trouble, BadRequest)

    def other_name(self, named: Identity) -> str:
        """The description of a name by which an answer names another order; "" if it does not."""
        return other_name(codec.decode_names(self.order.payload), named)

    def note(self, task: UpdatedTask) -> None:
        """Note what the answer to its broadcast says of it."""
        status = task.current_status
        if why := denial(task.extra):  # but the call was answered, and may have acted on it nevertheless
            self.denied, self.updated = True, False
            text = f"the answer says no: {why}"
            self.trouble = BadRequest(text, explain_code="E404", operation=DRAFTS_BROADCAST.name)
        elif not self.other_name((task.tracking_id, None)):
            self.updated |= not self.denied and (status is None or not status.is_draft)
            if status is not None and status.is_past_draft:
                self.status = status

    def note_other(self, task: UpdatedTask) -> None:
        """Note another task that the answer to its broadcast shows, if it names this order."""
        if task.tracking_id and task.tracking_id == codec.decode_names(self.order.payload)[0]:
            self.elsewhere = f"{ELSEWHERE}: {task.id}"

    def conclude(self, *, alone: bool) -> OrderOutcome | None:
        """Set the result if an answer shows the order's outcome, and return the outcome for the ledger.

        Args:
            alone: whether its last broadcast had no other draft, so that a refusal concerns this one.
        """
        order, status = self.order, self.status
        if self.gone is not None:
            self.result = InDoubt(order=order, error=self.gone)
            return OrderOutcome(order.id, OrderState.IN_DOUBT, error=f"the draft of the order is gone: {self.gone}")
        if self.not_its_own is not None:
            self.result = InDoubt(order=order, error=self.not_its_own)
            return OrderOutcome(order.id, OrderState.IN_DOUBT, error=str(self.not_its_own))
        if self.elsewhere and (status is None or not status.is_past_draft):
            self.result = InDoubt(
                order=order, error=OutcomeUnknown(self.elsewhere, "E608", operation=DRAFTS_BROADCAST.name)
            )
            return OrderOutcome(order.id, OrderState.IN_DOUBT, error=self.elsewhere)
        if status is None:
            return None
        if status in ENDED_EARLY:  # whether it was ever broadcast or not: no driver has it, and none will
            why = "expired at GotSurge" if status == TaskStatus.EXPIRED else "cancelled at GotSurge"
            self.result = Refused(order=order, error=Conflict(why, "E608", operation=DRAFTS_BROADCAST.name))
            return OrderOutcome(order.id, OrderState.CANCELLED, status=status, error=why)
        # An unknown status may mean that the draft was cancelled. It proves something only if it has changed since, and
        # a broadcast was answered.
        was_draft = TaskStatus(self.first_status or "").is_draft
        is_new = self.updated and was_draft and status.strip() and not (status.is_draft or says_no({"status": status}))
        if status.is_past_draft or is_new:
            self.result = Created(order=order, receipt=Receipt(id=self.task_id, current_status=status))
            return OrderOutcome(order.id, OrderState.CREATED, task_id=self.task_id, status=status)
        if not status.is_draft:
            why = (
                f"the task has the status {status}, which this version does not know"
                if status
                else "the answer does not show the task's status"
            )
            self.trouble = OutcomeUnknown(why, "E608", operation=PLATFORM_TASKS_GET.name)
            return None
        self.refused = False
        if self.answered and self.trouble is None:
            why = "the task is still a draft after its broadcast"
            self.trouble = OutcomeUnknown(why, "E608", operation=DRAFTS_BROADCAST.name)
        is_final = alone and not self.may_have_acted and is_plain(self.trouble, with_others=self.with_others)
        refusal = self.trouble if is_final else self.refusal
        if refusal is None:
            return None
        self.result = Refused(order=order, error=refusal)
        why = f"the draft of the order stays unused: {refusal}"
        return OrderOutcome(order.id, OrderState.REFUSED, status=TaskStatus.DRAFT, error=why)


@attrs.define(eq=False, kw_only=True)
class TwoPhaseSender(ChunkSender):
    """Creates drafts of orders, and broadcasts the drafts.

    Attributes:
        find_drafts: returns the task ids of drafts that exist for some keys of a run, and are not recorded.
        stop: called with the error that ended the broadcasts: further ones would fail in the same way.
    """

    endpoint = DRAFTS_CREATE
    reads = PLATFORM_TASKS_GET
    needs: ClassVar[tuple[Endpoint[Any], ...]] = (DRAFTS_CREATE, DRAFTS_BROADCAST, PLATFORM_TASKS_GET)
    created_as = OrderState.DRAFTED
    find_drafts: Callable[[Run, Collection[str]], Awaitable[Mapping[str, str]]]
    stop: Callable[[GotSurgeError], None]

    async def send(self, orders: Sequence[PendingOrder], claim: Claim | None = None, *, division: int = 0) -> Results:
        """Draft a chunk of pending orders, and broadcast the drafts; its results are in the ledger on return."""
        results: Results = []
        drafted: list[Created[PendingOrder]] = []
        again: list[InDoubt[PendingOrder] | Unprocessed[PendingOrder]] = []
        # The record of a draft is the claim of its broadcast, too, which is as old as the first of them may be.
        broadcast = self.new_claim()
        try:
            for tries in count(1):  # again while answers are lost
                answered = await super().send(orders, claim, division=division)
                claim = None
                again = []
                nameless = False
                for result in answered:
                    if isinstance(result, Created):
                        drafted.append(result)
                    elif isinstance(result, InDoubt) and result.order.id not in self.taken:
                        again.append(result)
                        nameless |= is_nameless(result)
                    elif isinstance(result, Unprocessed) and isinstance(result.error, OutcomeUnknown):
                        again.append(result)  # the rest of the chunk after a call whose answer was lost
                    else:
                        results.append(result)
                # Where names tell nothing, smaller calls do, also if a failed call is not tried again.
                finer = nameless and division < _EACH_ALONE
                if not again or (tries >= self.session.policy.attempts and not finer):
                    break
                await self._pause(tries)
                orders = [result.order for result in again]
                division += finer
        except (asyncio.CancelledError, GotSurgeError):
            with suppress(LedgerError):  # then the process that resumes the run reads it
                await uninterrupted(self._release([*drafted]))
            raise
        results += [Unprocessed(order=result.order, error=result.error) for result in again]
        drafts = [Draft(result.order, result.receipt.id, result.receipt.current_status) for result in drafted]
        return [*results, *await self._bring_to_end(broadcast, drafts)]

    async def _release(self, results: Results) -> None:
        """Make claimed drafts that are not broadcast now ``drafted`` again, for the process that resumes the run."""
        for result in results:
            if isinstance(result, Created) and result.order.id not in self.taken:  # that one must not be drafted again
                with suppress(IllegalTransition):  # the record of its answer was refused
                    await self.run.release_claim([result.order.id])

    async def finish(self, rows: Sequence[OrderRow]) -> Results:
        """Finish at most a chunk of orders whose drafts are recorded, and may have been broadcast."""
        now = self.session.clock.now()
        drafts = [
            Draft(
                PendingOrder(row.id, row.line, row.key, row.payload),
                row.task_id,
                row.status,
                may_have_acted=row.state is not OrderState.DRAFTED,
                is_over=is_over(row, now),
                refusal=refusal_of(row, now),
                elsewhere=(row.error or "") if (row.error or "").startswith(ELSEWHERE) else "",
            )
            for row in rows
            if row.task_id
        ]
        refused = {row.id: row.error or "" for row in rows if is_only_read(row, now)}
        broadcast = [draft for draft in drafts if draft.may_have_acted]
        drafted = [draft for draft in drafts if not draft.may_have_acted]
        claim = self.new_claim()
        claimed = (
            await uninterrupted(self.run.claim_to_read([draft.order.id for draft in broadcast])) if broadcast else []
        )
        broadcast = [draft for draft in broadcast if draft.order.id in claimed]
        results = await self._look_only([draft for draft in broadcast if draft.order.id in refused], refused)
        results += await self._bring_to_end(claim, [draft for draft in broadcast if draft.order.id not in refused])
        return [*results, *await self._broadcast(drafted)]

    async def _look_only(self, drafts: Sequence[Draft], errors: Mapping[int, str]) -> Results:
        """Read drafts that were refused; those that no read settles stay in doubt as they are."""
        failed = [error for error in await asyncio.gather(*map(self._look, drafts)) if error is not None]
        await self._conclude(drafts, alone=False)
        lasting = [error for error in failed if stops_all(error) or not isinstance(error, Rejected)]
        if lasting:
            self.stop(next(filter(stops_all, lasting), lasting[0]))
        return stay_in_doubt(drafts, errors)

    async def _call(
        self, claim: Claim, orders: Sequence[PendingOrder], body: Body
    ) -> tuple[Results, list[Sequence[PendingOrder]]]:
        """Create drafts; if a second draft is refused, adopt the first one, whose answer was lost."""
        results, again = await super()._call(claim, orders, body)
        refused = [result.order.id for result in results if isinstance(result, Refused)]
        if refused and (keys := await self.run.lost_of(refused)):
            drafts: Mapping[str, str] = {}
            with suppress(CallError, SignInNeeded):
                drafts = await self.find_drafts(self.run, keys)
            results = [
                Created(order=result.order, receipt=Receipt(id=drafts[result.order.key]))
                if result.order.key in drafts
                else result
                for result in results
            ]
        return results, again

    async def _record_lost(self, lost: Sequence[InDoubt[PendingOrder]]) -> None:
        """Make orders whose answer was lost pending again: a draft that was made of one stays unused."""
        self.lost_drafts.update(result.order.key for result in lost)
        ids = [result.order.id for result in lost]
        await self.run.lose_drafts(ids)
        await self.run.release_claim(ids)

    # --- broadcasts -------------------------------------------------------------------------------------------------

    async def _broadcast(self, drafts: Sequence[Draft]) -> Results:
        """Broadcast drafts that were certainly never broadcast."""
        if not drafts:
            return []
        claim = self.new_claim()
        claimed = await claim.take(self.run.claim_broadcast, [draft.order.id for draft in drafts])
        return await self._bring_to_end(claim, [draft for draft in drafts if draft.order.id in claimed])

    async def _bring_to_end(self, claim: Claim, drafts: Sequence[Draft]) -> Results:
        """Give each claimed draft its result, and record it."""
        if not drafts:
            return []
        try:
            error = await self._broadcast_and_read(claim, drafts)
        except (asyncio.CancelledError, GotSurgeError):
            left = [draft.order.id for draft in drafts if draft.result is None and not draft.may_be_out]
            with suppress(LedgerError):  # then the process that resumes the run reads it
                if left:
                    await uninterrupted(self.run.release_claim(left))
                await self._conclude(
                    [draft for draft in drafts if draft.result is None and draft.elsewhere], alone=False
                )
            raise
        if error is not None:
            await uninterrupted(self._give_up([draft for draft in drafts if draft.result is None], error))
        return [draft.result for draft in drafts if draft.result is not None]

    async def _broadcast_and_read(self, claim: Claim, drafts: Sequence[Draft]) -> GotSurgeError | None:
        """Broadcast drafts, and read those that may be none any more; returns the error that left some unsettled."""
        left = drafts
        # Where an earlier broadcast may have acted they are read first, before the first try.
        first = 0 if any(draft.may_have_acted for draft in drafts) else 1
        for tries in range(first, self.session.policy.attempts + 1):
            if tries > 1:
                await self._pause(tries - 1)
            # One bad draft may be why the whole chunk was refused, now or before.
            is_divided = any(draft.is_over or isinstance(draft.trouble, REFUSALS) for draft in left)
            one_by_one = len(left) == 1 or is_divided
            if tries and not first:  # if this process ends before the answer, nobody knows when they left
                first = 1
                await uninterrupted(self.run.renew_claim([draft.order.id for draft in left]))
            errors: list[CallError | SignInNeeded | None] = []
            for part in ([[draft] for draft in left] if one_by_one else [left]) if tries else []:
                error = await self._broadcast_call(claim, part)
                if error is not None and stops_all(error):
                    # Earlier answers of this round count; no read would be answered now.
                    answered = [
                        draft
                        for draft in left
                        if draft.elsewhere or (draft.status is not None and draft.status.is_past_draft)
                    ]
                    await self._conclude(answered, alone=one_by_one)
                    return error
                errors.append(error)
            unproven = [draft for draft in left if draft.may_be_out and draft.status is None]
            errors += await asyncio.gather(*map(self._look, unproven))
            await self._conclude(left, alone=one_by_one)
            left = [draft for draft in left if draft.result is None]
            if one_by_one and (faulty := [draft for draft in left if draft.is_called_faulty]):
                # Every further call would be refused, too.
                await uninterrupted(self._give_up(faulty, None))
                left = [draft for draft in left if draft.result is None]
            if not left:
                return None
            for draft in left if not tries else ():
                if draft.is_over and draft.status is not None and draft.status.is_draft:
                    draft.may_have_acted = False
            failed = [error for error in errors if error is not None]
            # Each was tried as often as a call is; but a read that was refused is tried once more with the others.
            lasting = [error for error in failed if stops_all(error) or not isinstance(error, Rejected)]
            put_off = self.stopping.is_set() and not any(draft.may_be_out for draft in left)
            if lasting or (failed and (put_off or tries == self.session.policy.attempts)):
                return next(filter(stops_all, lasting), [*lasting, *failed][0])
        await uninterrupted(self._give_up(left, None))
        return None

    async def _conclude(self, drafts: Sequence[Draft], *, alone: bool) -> None:
        """Record the outcomes that answers show."""
        if outcomes := [outcome for draft in drafts if (outcome := draft.conclude(alone=alone)) is not None]:
            await uninterrupted(self._keep(outcomes))

    async def _broadcast_call(self, claim: Claim, drafts: Sequence[Draft]) -> CallError | SignInNeeded | None:
        """Broadcast once, by the recorded ids; returns the error, unless one of the drafts may have caused it.

        The drafts note whether they may have been processed, also when this is cancelled.
        """
        claim.begin_call([draft.order.id for draft in drafts])
        by_task = {draft.task_id: draft for draft in drafts}
        for draft in drafts:
            draft.status = draft.trouble = draft.failed = None
            draft.alone, draft.answered = len(drafts) == 1, False
        proves_nothing = False
        try:
            answer = await self._sending.call(
                DRAFTS_BROADCAST,
                body={"task_ids": [*by_task]},
                before_send=claim.leave,
                after_send=claim.land,
            )
        except REFUSALS as error:
            # The others of the chunk may be broadcast nevertheless; and one that is refused may be no draft any more.
            proves_nothing = len(drafts) == 1 and not is_plain(error, with_others=drafts[0].with_others)
            for draft in drafts:
                draft.trouble = error
                draft.with_others |= len(drafts) > 1 and error.status not in OF_CALL
            return None
        except (CallError, SignInNeeded) as error:
            for draft in drafts:
                draft.failed = error
            return error
        finally:
            for draft in drafts:
                acted = claim.may_have_acted or proves_nothing
                draft.acted_now |= acted
                draft.may_have_acted |= acted
                draft.refused |= claim.refused
        for draft in drafts:
            draft.answered = True
        for task in answer.updated_tasks:
            if (own := by_task.get(task.id)) is not None:
                own.note(task)
                continue
            for draft in drafts:
                draft.note_other(task)
        return None

    async def _look(self, draft: Draft) -> CallError | SignInNeeded | None:
        """Read the task of a draft that the answer to its broadcast did not show past draft; returns an error."""
        try:
            task = await self.read(draft.task_id)
        except NotFound as gone:
            draft.gone = gone
        except (CallError, SignInNeeded) as error:
            draft.failed = error
            return error
        else:
            if other := draft.other_name((task.tracking_id, None)):  # people may have changed its invoice number
                why = f"task {task.id} belongs to another order: {other}"
                draft.not_its_own = OutcomeUnknown(why, "E608", operation=PLATFORM_TASKS_GET.name)
            else:
                draft.status = task.current_status or TaskStatus("")
        return None

    async def _give_up(self, drafts: Sequence[Draft], error: GotSurgeError | None) -> None:
        """Leave drafts to a later resume: as drafts if certainly nothing was sent, else to be read by their ids.

        Each has the reason that it had itself, as a refusal; else the ``error`` that ended the broadcasts.
        """
        results, stopped_by = left_with(drafts, error)
        if stopped_by is not None:
            self.stop(stopped_by)
        if unsent := [draft.order.id for draft in drafts if not draft.may_be_out]:
            await self.run.release_claim(unsent)
        if acted := [draft.order.id for draft in drafts if draft.acted_now or draft.with_others]:
            await self.run.renew_claim(acted)  # how long the broadcast may act counts from the end of its call
        await self.run.remark(remarks_of(results))
        for draft, result in zip(drafts, results, strict=True):
            draft.result = result

    async def _pause(self, tries: int) -> None:
        """Wait before the next try."""
        await self.session.clock.sleep(backoff(self.session.policy, tries, random()))  # noqa: S311 - no secret
