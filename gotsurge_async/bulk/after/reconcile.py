"""Orders in doubt, settled by evidence. What is not proven stays in doubt; nothing is ever sent here."""

from collections.abc import Collection, Sequence
from enum import StrEnum

import attrs

from gotsurge_async.bulk.after.evidence import (
    SETTLE,
    Doubt,
    Evidence,
    Findings,
    RecordedTasks,
    Sighting,
    TaskList,
    listed,
)
from gotsurge_async.bulk.ledger import (
    DOUBTFUL,
    Ledger,
    Mode,
    OrderRow,
    OrderState,
    Outcome,
    Remark,
    Run,
    TaskTaken,
    UnusedDraft,
)
from gotsurge_async.bulk.send.claims import whole
from gotsurge_async.client import GotSurge
from gotsurge_async.models.tasks import TaskStatus

_BLOCK = 500
_ENDED_EARLY = frozenset((TaskStatus.CANCELLED, TaskStatus.EXPIRED))


class Absent(StrEnum):
    """What it means that an order was not found."""

    IN_DOUBT = "in_doubt"
    """Nothing: absence proves nothing."""
    NOT_CREATED = "not_created"
    """That it was not created, if a whole list was read twice with time between. Its key may be pushed again."""


@attrs.frozen(kw_only=True)
class Settled:
    """An order that is no longer in doubt."""

    key: str
    task_id: str | None = None
    status: str | None = None


@attrs.frozen(kw_only=True)
class Unsettled:
    """An order that stays in doubt, and why.

    Attributes:
        task_ids: the tasks that were seen for it.
        doubled: it was created more than once. Cancel all tasks but one, and look again.
    """

    key: str
    reason: str
    task_ids: tuple[str, ...] = ()
    doubled: bool = False


@attrs.frozen(kw_only=True)
class Reconciled:
    """What became of the orders in doubt of a run.

    Attributes:
        created: they exist, also where the task has expired since.
        cancelled: their task was cancelled; their keys may be pushed again.
        drafted: their recorded draft is a draft still, and may be broadcast at any time: resume the run, which does.
        not_created: taken for not created, because that was asked for; their keys may be pushed again.
        in_doubt: they stay in doubt.
        troubles: what kept the evidence from looking, or from looking to the end.
    """

    run: str
    created: tuple[Settled, ...] = ()
    cancelled: tuple[Settled, ...] = ()
    drafted: tuple[Settled, ...] = ()
    not_created: tuple[Settled, ...] = ()
    in_doubt: tuple[Unsettled, ...] = ()
    troubles: tuple[str, ...] = ()

    @property
    def doubled(self) -> tuple[Unsettled, ...]:
        """Orders that were created more than once; they are in doubt too."""
        return tuple(order for order in self.in_doubt if order.doubled)


class Reconciler:
    """Settles orders in doubt::

        result = await Reconciler(gs, ledger).reconcile(run_id)

    Args:
        evidence: where to look, in this order; each is asked for what those before it left open. Unless given: the
            recorded tasks, then the platform's Task List.
        absent: what it means that an order was not found.
        settle: seconds between the two scans of the Task List.
    """

    def __init__(
        self,
        gs: GotSurge,
        ledger: Ledger,
        *,
        evidence: Sequence[Evidence] | None = None,
        absent: Absent | str = Absent.IN_DOUBT,
        settle: float = SETTLE,
    ) -> None:
        self._ledger = ledger
        self._evidence = (RecordedTasks(gs), TaskList(gs, ledger, settle=settle)) if evidence is None else evidence
        self._absent = Absent(absent)

    async def reconcile(self, run_id: str) -> Reconciled:
        """Settle what can be settled of a run, which is held meanwhile.

        Raises:
            RunHeld: another process has it.
            NoSuchRun, LedgerError: there is no such run, or the ledger fails.
            CallError: the account's token is no longer taken.
        """
        async with await self._ledger.hold(run_id) as run:
            return await self.reconcile_held(run)

    async def reconcile_held(self, run: Run) -> Reconciled:
        """The same for a run that is held already."""
        await run.recover()
        rows = {row.id: row async for row in run.rows(DOUBTFUL)}
        findings = await self._look(run, [Doubt.of(row, run.path) for row in rows.values()])
        verdicts = [_judge(run.info.mode, row, findings, self._absent) for row in rows.values()]
        outcomes = [verdict for verdict in verdicts if isinstance(verdict, Outcome)]
        remarks = {
            row.id: Remark(row.id, row.state, error=verdict.reason)
            for row, verdict in zip(rows.values(), verdicts, strict=True)
            if isinstance(verdict, Unsettled)
        }
        changes = [each for each in outcomes if each.state is not rows[each.id].state]
        taken: dict[int, Unsettled] = {}
        for start in range(0, len(changes), _BLOCK):
            for each in await whole(_record(run, changes[start : start + _BLOCK])):
                reason = f"its task {each.task_id} is recorded for another order"
                taken[each.id] = Unsettled(key=rows[each.id].key, reason=reason, task_ids=(each.task_id or "",))
                remarks[each.id] = Remark(each.id, rows[each.id].state, error=reason)
        outcomes = [each for each in outcomes if each.id not in taken]
        await whole(run.remark(list(remarks.values())))
        await whole(run.finish())

        def settled(state: OrderState) -> tuple[Settled, ...]:
            return tuple(
                Settled(key=rows[each.id].key, task_id=each.task_id, status=each.status)
                for each in outcomes
                if each.state is state
            )

        return Reconciled(
            run=run.id,
            created=settled(OrderState.CREATED),
            cancelled=settled(OrderState.CANCELLED),
            drafted=settled(OrderState.BROADCASTING),
            not_created=settled(OrderState.REJECTED),
            in_doubt=(*(verdict for verdict in verdicts if isinstance(verdict, Unsettled)), *taken.values()),
            troubles=(findings.trouble,) if findings.trouble else (),
        )

    async def _look(self, run: Run, doubts: Sequence[Doubt]) -> Findings:
        """Ask one evidence after the other, each for what is still open."""
        seen: dict[int, Sequence[Sighting]] = {}
        unclear: dict[int, str] = {}
        absent: set[int] = set()
        troubles: list[str] = []
        left = list(doubts)
        for evidence in self._evidence:
            if not left:
                break
            found = await evidence.look(run.info, left)
            seen.update(found.seen)
            unclear.update(found.unclear)
            absent |= found.absent
            if found.trouble:
                troubles.append(found.trouble)
            left = [doubt for doubt in left if doubt.id not in found.seen]
        # What one evidence has seen, another one's not seeing it does not take away.
        absent -= seen.keys() | unclear.keys()
        return Findings(seen=seen, unclear=unclear, absent=frozenset(absent), trouble="; ".join(troubles))


async def _record(run: Run, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Record outcomes; those are returned, and not recorded, whose task is another order's."""
    try:
        await run.record(outcomes)
    except TaskTaken:
        if len(outcomes) == 1:
            return list(outcomes)
        return [taken for outcome in outcomes for taken in await _record(run, [outcome])]
    return []


def _judge(mode: Mode, row: OrderRow, findings: Findings, absent: Absent) -> Outcome | Unsettled:
    """What the findings mean for one order."""
    seen = findings.seen.get(row.id, ())
    if seen:
        return _judge_seen(mode, row, seen)
    if row.id in findings.absent and absent is Absent.NOT_CREATED:
        why = "not on the Task List, which was read twice; taken for not created, as was asked for"
        return Outcome(row.id, OrderState.REJECTED, error=why)
    return Unsettled(key=row.key, reason=findings.unclear.get(row.id) or row.error or "not found")


def _judge_seen(mode: Mode, row: OrderRow, seen: Sequence[Sighting]) -> Outcome | Unsettled:
    ids = tuple(each.task_id for each in seen)
    # A plain partner has no drafts: whatever else its task is called, it was broadcast.
    live = [
        each
        for each in seen
        if each.status is not None
        and (each.status.is_past_draft if mode is Mode.TWO_PHASE else not each.status.is_draft)
    ]
    active = [each for each in live if each.status not in _ENDED_EARLY]
    if len(active) > 1:
        told = listed([each.task_id for each in active])
        reason = f"created more than once: {told}; cancel all but one, then reconcile again"
        return Unsettled(key=row.key, reason=reason, task_ids=ids, doubled=True)
    if row.task_id:
        # It is only ever broadcast by this draft: another task of its name is somebody else's doing.
        strange = [each.task_id for each in active if each.task_id != row.task_id]
        if strange:
            reason = f"{listed(strange)} has its name, and is not its recorded draft {row.task_id}"
            return Unsettled(key=row.key, reason=reason, task_ids=ids)
        live = active = [each for each in live if each.task_id == row.task_id]
    if live:
        task = (active or live)[0]
        state = OrderState.CANCELLED if task.status == TaskStatus.CANCELLED else OrderState.CREATED
        error = "cancelled at the service" if state is OrderState.CANCELLED else None
        return Outcome(row.id, state, task_id=task.task_id, status=task.status, error=error)
    drafts = {each.task_id: each.status for each in seen if each.status is not None}
    if mode is Mode.TWO_PHASE and row.task_id in drafts:
        return Outcome(row.id, OrderState.BROADCASTING, task_id=row.task_id, status=drafts[row.task_id])
    # A draft that is not the recorded one may be a leftover, and in direct mode the task may be about to be
    # broadcast: neither proves that the order was created, nor that it was not.
    states = ", ".join(sorted({str(each.status or "in a state that is not told") for each in seen}))
    reason = f"{listed(ids)} may be its own, and is {states}: that does not prove that it was broadcast"
    return Unsettled(key=row.key, reason=reason, task_ids=ids)


async def find_unused_drafts(gs: GotSurge, run: Run, keys: Collection[str]) -> list[UnusedDraft]:
    """Look on the Task List for unused drafts of some orders of a run; `Sent.lost_drafts` names those to look for.

    They carry the tracking id of an order, and are not the draft that the run has recorded for it.
    Whether drafts are listed is not promised: finding none does not prove that there are none.

    Args:
        run: held, since its orders are read.
        keys: keys of its orders.

    Raises:
        CallError: the list could not be read, as often as it was tried; a plain partner has none.
    """
    wanted = frozenset(keys)
    owners: dict[str, str] = {}
    recorded: set[str] = set()
    if wanted:
        async for row in run.rows():
            if row.task_id:
                recorded.add(row.task_id)
            if row.key in wanted and (tracking_id := Doubt.of(row, run.path).tracking_id):
                owners[tracking_id] = row.key
    found: list[UnusedDraft] = []
    if owners:
        async for task in gs.platform.tasks.list():
            key = owners.get(task.tracking_id or "")
            is_draft = task.current_status is not None and task.current_status.is_draft
            if key is not None and is_draft and task.id not in recorded:
                found.append(UnusedDraft(key, task.id, cancelled=False))
    return found


async def note_unused_drafts(gs: GotSurge, run: Run, keys: Collection[str]) -> None:
    """`find_unused_drafts`, and note them in the ledger, where ``undo --drafts`` finds them.

    Not noted is what may be the draft of another run that has the key by now.

    Raises:
        CallError: as `find_unused_drafts`.
        LedgerError: the ledger cannot be written.
    """
    found = await find_unused_drafts(gs, run, keys)
    await whole(run.note_unused([(draft.key, draft.task_id) for draft in found]))
