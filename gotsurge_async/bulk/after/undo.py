"""Taking a run back: what is still broadcasting is cancelled, and what was too late is named."""

from collections.abc import AsyncIterator, Collection, Sequence

import attrs

from gotsurge_async.bulk.after.lookup import note_unused_drafts
from gotsurge_async.bulk.ledger import (
    DOUBTFUL,
    PUSHED,
    WAITING,
    Ledger,
    Mode,
    OrderRow,
    OrderState,
    Outcome,
    Remark,
    Run,
)
from gotsurge_async.bulk.send.claims import whole
from gotsurge_async.calls.create import stops_all
from gotsurge_async.calls.stream import Batcher
from gotsurge_async.client import GotSurge
from gotsurge_async.errors import CallError, GotSurgeError, OutcomeUnknown, SignInNeeded, TooLateToCancel, UsageError
from gotsurge_async.models.tasks import Task, TaskStatus

REASON = "The order was taken back by its sender."


@attrs.frozen(kw_only=True)
class Undoing:
    """What became of one order.

    Attributes:
        status: where the task stands, as far as the service told.
        error: why it could not be cancelled; "" if it was.
    """

    key: str
    task_id: str
    status: str | None = None
    error: str = ""


@attrs.frozen(kw_only=True)
class Undone:
    """What became of the orders of a run.

    Attributes:
        cancelled: by this undo.
        already_cancelled: before it.
        too_late: a driver has them, or they have ended: ``status`` says which.
        drafts: unused drafts that were cancelled, if that was asked for.
        failed: the call failed; again is harmless.
        in_doubt: how many orders have no known task that could be cancelled: reconcile or resolve them first.
        waiting: how many orders were never broadcast, and would be by a resume.
        unused_drafts: how many drafts are left that no order will be broadcast by.
        stopped_by: the error that a person must act on before the rest can be cancelled.
    """

    run: str
    cancelled: tuple[Undoing, ...] = ()
    already_cancelled: tuple[Undoing, ...] = ()
    too_late: tuple[Undoing, ...] = ()
    failed: tuple[Undoing, ...] = ()
    drafts: tuple[Undoing, ...] = ()
    in_doubt: int = 0
    waiting: int = 0
    unused_drafts: int = 0
    stopped_by: CallError | SignInNeeded | None = None


class Undo:
    """Cancels the orders of a run that no driver has taken yet (section "Cancel Task")::

        undone = await Undo(gs, ledger).undo(run_id, reason="wrong file")

    It may be repeated: an order that is cancelled already is only read. What is cancelled, now or before, becomes
    ``cancelled`` in the ledger, and its key is free: the mended order can be pushed.

    Args:
        concurrency: cancels in flight, the client's limit unless given.
    """

    def __init__(self, gs: GotSurge, ledger: Ledger, *, concurrency: int | None = None) -> None:
        self._gs = gs
        self._ledger = ledger
        self._concurrency = concurrency or gs.limits.concurrency

    async def undo(
        self, run_id: str, *, reason: str = REASON, drafts: bool = False, keys: Collection[str] | None = None
    ) -> Undone:
        """Cancel what can be cancelled of a run, which is held meanwhile.

        An order is in doubt while its task is cancelled, and stays so when nobody knows whether it was.

        Args:
            reason: for GotSurge and the drivers; not empty.
            keys: of the orders that are meant; all, unless given.
            drafts: cancel its drafts, too, that were never broadcast; their orders are cancelled with them.

        Raises:
            UsageError: no reason, or a key that the run does not have.
            RunHeld: another process has it.
            NoSuchRun, LedgerError: there is no such run, or the ledger fails.
        """
        if not reason.strip():
            raise UsageError("say why the orders are cancelled: the service wants a reason")
        async with await self._ledger.hold(run_id) as run:
            await run.recover()
            wanted = None if keys is None else frozenset(keys)
            if wanted is not None and (unknown := wanted - {row.key async for row in run.rows() if row.key in wanted}):
                raise UsageError(f"run {run_id} has no order {', '.join(sorted(unknown))}")
            return await self._undo(run, reason, drafts=drafts, keys=wanted)

    async def _undo(self, run: Run, reason: str, *, drafts: bool, keys: frozenset[str] | None) -> Undone:
        names = ("cancelled", "already_cancelled", "too_late", "failed", "drafts")
        sorted_out: dict[str, list[Undoing]] = {name: [] for name in names}
        stoppers: list[CallError | SignInNeeded] = []

        # Those that an earlier undo, or a reconciliation, has found or made so.
        async for row in run.rows((OrderState.CANCELLED,)):
            if keys is not None and row.key not in keys:
                continue
            told = Undoing(key=row.key, task_id=row.task_id or "", status=row.status)
            sorted_out["already_cancelled"].append(told)

        async def cancel(jobs: Sequence[_Job]) -> None:
            for job in jobs:
                try:
                    name, done = await self._cancel(run, job, reason)
                except (CallError, SignInNeeded) as error:
                    name, done = "failed", Undoing(key=job.key, task_id=job.task_id, error=str(error))
                    if stops_all(error):
                        stoppers.append(error)
                        batcher.stop()
                    if await whole(_note_failure(run, job, error)):
                        continue  # counted with those in doubt
                else:
                    await whole(_note(run, job, name, done))
                sorted_out["drafts" if job.draft and name.endswith("cancelled") else name].append(done)

        # One task a chunk: each is a call of its own.
        batcher: Batcher[_Job, None] = Batcher(
            self._jobs(run, drafts=drafts, keys=keys), cancel, size=1, concurrency=self._concurrency
        )
        async with batcher as batches:
            async for _ in batches:
                pass
        counts = await run.counts()
        unused = await self._ledger.unused_drafts(run.id)
        return Undone(
            run=run.id,
            **{name: tuple(orders) for name, orders in sorted_out.items()},
            in_doubt=counts.of(DOUBTFUL),
            waiting=counts.of(WAITING),
            unused_drafts=sum(not draft.cancelled for draft in unused),
            stopped_by=stoppers[0] if stoppers else None,
        )

    async def _jobs(self, run: Run, *, drafts: bool, keys: frozenset[str] | None) -> AsyncIterator["_Job"]:
        states = PUSHED | {OrderState.DRAFTED} if drafts else PUSHED
        async for row in run.rows(states):
            if row.task_id and (keys is None or row.key in keys):
                yield _Job(row.key, row.task_id, row, draft=row.state is OrderState.DRAFTED)
        if not drafts:
            return
        if run.info.mode is Mode.TWO_PHASE and (lost := await run.lost_drafts()):
            await note_unused_drafts(self._gs, run, lost)
        for draft in await self._ledger.unused_drafts(run.id):
            if not draft.cancelled and (keys is None or draft.key in keys):
                yield _Job(draft.key, draft.task_id, None, draft=True)

    async def _cancel(self, run: Run, job: "_Job", reason: str) -> tuple[str, Undoing]:
        """Cancel one task; it is read first, since afterwards nobody could tell who cancelled it."""
        task_id = job.task_id
        read = self._gs.platform.tasks.get if run.info.mode is Mode.TWO_PHASE else self._gs.tasks.get
        task: Task = await read(task_id)
        told = Undoing(key=job.key, task_id=task_id, status=task.current_status)
        if task.current_status == TaskStatus.CANCELLED:
            return "already_cancelled", told
        if job.row is None and (task.current_status is None or not task.current_status.is_draft):
            # Noted as a draft that nobody uses, and yet it went out: it is somebody's order.
            return "too_late", attrs.evolve(told, error="it is no unused draft: leave it, or cancel it by its id")
        if job.row is not None and job.row.state is OrderState.CREATED:
            # Durable before the cancel leaves: nobody may call it created when it has acted.
            await whole(run.record([Outcome(job.row.id, OrderState.IN_DOUBT, error=_BEING_CANCELLED)]))
            job.asked = True
        try:
            await self._gs.tasks.cancel(task_id, reason=reason)
        except TooLateToCancel as late:
            status = late.task.current_status if late.task is not None else None
            return "too_late", attrs.evolve(told, status=status, error=str(late))
        # What the answer says is one thing; the key is free only if the task says so.
        now = (await read(task_id)).current_status
        if now != TaskStatus.CANCELLED:
            raise OutcomeUnknown(f"its cancel was answered, and the task is {now or 'in a status that is not told'}")
        return "cancelled", attrs.evolve(told, status=str(now))


@attrs.define
class _Job:
    """A task that is to be cancelled.

    Attributes:
        row: the order that it is recorded for; None for a draft that no order has.
        draft: it was never broadcast.
        asked: it was created, and its cancel is about to leave, or has left: the ledger has it in doubt.
    """

    key: str
    task_id: str
    row: OrderRow | None
    draft: bool
    asked: bool = False


_BEING_CANCELLED = "it is being taken back, and may be cancelled"


async def _note_failure(run: Run, job: _Job, error: GotSurgeError) -> bool:
    """Write down that a task was not cancelled, or may have been; whether its order is in doubt, is returned."""
    if job.row is None:
        return False
    if not job.asked:  # the read failed
        return job.row.state in DOUBTFUL
    if isinstance(error, OutcomeUnknown):
        await run.remark([Remark(job.row.id, OrderState.IN_DOUBT, error=f"{_BEING_CANCELLED}: {error}")])
        return True
    await run.record([Outcome(job.row.id, OrderState.CREATED, error=f"not taken back: {error}")])
    return False


async def _note(run: Run, job: _Job, name: str, done: Undoing) -> None:
    """Write down what was learnt of a task."""
    cancelled = name.endswith("cancelled")
    if job.row is None:
        if cancelled:
            await run.unused_cancelled([job.task_id])
    elif cancelled:
        said = "taken back" if name == "cancelled" else "cancelled at the service"
        await run.record([Outcome(job.row.id, OrderState.CANCELLED, status=done.status, error=said)])
    elif job.asked or (done.status and TaskStatus(done.status).is_past_draft and job.row.state in DOUBTFUL):
        # Too late: it goes on, and that it is there is known now.
        await run.record([Outcome(job.row.id, OrderState.CREATED, status=done.status)])
    elif done.status and done.status != job.row.status:
        await run.remark([Remark(job.row.id, job.row.state, status=done.status)])
