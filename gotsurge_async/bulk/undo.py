"""Taking a run back: what is still broadcasting is cancelled, and what was too late is named."""

from collections.abc import Sequence

import attrs

from gotsurge_async.batcher import Batcher
from gotsurge_async.bulk.claims import whole
from gotsurge_async.bulk.ledger import Ledger, Mode, OrderRow, OrderState, Remark, Run
from gotsurge_async.client import GotSurge
from gotsurge_async.creates import stops_all
from gotsurge_async.errors import CallError, TooLateToCancel, UsageError
from gotsurge_async.models.tasks import Task, TaskStatus

REASON = "The order was taken back by its sender."

_WAITING = (OrderState.PENDING, OrderState.DRAFTED)
_UNKNOWN = (OrderState.IN_DOUBT, OrderState.SENDING, OrderState.DRAFTING, OrderState.BROADCASTING)


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
        failed: the call failed; again is harmless.
        in_doubt: how many orders have no known task that could be cancelled: reconcile or resolve them first.
        waiting: how many orders were never broadcast, and would be by a resume.
        stopped_by: the error that a person must act on before the rest can be cancelled.
    """

    run: str
    cancelled: tuple[Undoing, ...] = ()
    already_cancelled: tuple[Undoing, ...] = ()
    too_late: tuple[Undoing, ...] = ()
    failed: tuple[Undoing, ...] = ()
    in_doubt: int = 0
    waiting: int = 0
    stopped_by: CallError | None = None


class Undo:
    """Cancels the orders of a run that no driver has taken yet (section "Cancel Task")::

        undone = await Undo(gs, ledger).undo(run_id, reason="wrong file")

    It may be repeated: an order that is cancelled already is only read. The orders stay ``created`` in the ledger, with
    the status "cancelled": their keys are not pushed again.

    Args:
        concurrency: cancels in flight, the client's limit unless given.
    """

    def __init__(self, gs: GotSurge, ledger: Ledger, *, concurrency: int | None = None) -> None:
        self._gs = gs
        self._ledger = ledger
        self._concurrency = concurrency or gs.limits.concurrency

    async def undo(self, run_id: str, *, reason: str = REASON) -> Undone:
        """Cancel what can be cancelled of a run, which is held meanwhile.

        Args:
            reason: for GotSurge and the drivers; not empty.

        Raises:
            UsageError: no reason.
            RunHeld: another process has it.
            NoSuchRun, LedgerError: there is no such run, or the ledger fails.
        """
        if not reason.strip():
            raise UsageError("say why the orders are cancelled: the service wants a reason")
        async with await self._ledger.hold(run_id) as run:
            return await self._undo(run, reason)

    async def _undo(self, run: Run, reason: str) -> Undone:
        sorted_out: dict[str, list[Undoing]] = {
            name: [] for name in ("cancelled", "already_cancelled", "too_late", "failed")
        }
        stoppers: list[CallError] = []

        async def cancel(rows: Sequence[OrderRow]) -> None:
            for row in rows:
                try:
                    name, done = await self._cancel(run.info.mode, row, reason)
                except CallError as error:
                    name, done = "failed", Undoing(key=row.key, task_id=row.task_id or "", error=str(error))
                    if stops_all(error):
                        stoppers.append(error)
                        batcher.stop()
                sorted_out[name].append(done)
                if done.status and done.status != row.status:
                    await whole(run.remark([Remark(row.id, row.state, status=done.status)]))

        # One order a chunk: each is a call of its own.
        batcher: Batcher[OrderRow, None] = Batcher(
            run.rows((OrderState.CREATED,)), cancel, size=1, concurrency=self._concurrency
        )
        async with batcher as batches:
            async for _ in batches:
                pass
        counts = await run.counts()
        return Undone(
            run=run.id,
            **{name: tuple(orders) for name, orders in sorted_out.items()},
            in_doubt=sum(counts[state] for state in _UNKNOWN),
            waiting=sum(counts[state] for state in _WAITING),
            stopped_by=stoppers[0] if stoppers else None,
        )

    async def _cancel(self, mode: Mode, row: OrderRow, reason: str) -> tuple[str, Undoing]:
        """Cancel one task; it is read first, since afterwards nobody could tell who cancelled it."""
        task_id = row.task_id
        if not task_id:
            return "failed", Undoing(key=row.key, task_id="", error="the ledger has no task id of it")
        read = self._gs.platform.tasks.get if mode is Mode.TWO_PHASE else self._gs.tasks.get
        task: Task = await read(task_id)
        told = Undoing(key=row.key, task_id=task_id, status=task.current_status)
        if task.current_status == TaskStatus.CANCELLED:
            return "already_cancelled", told
        try:
            await self._gs.tasks.cancel(task_id, reason=reason)
        except TooLateToCancel as late:
            status = late.task.current_status if late.task is not None else None
            return "too_late", attrs.evolve(told, status=status, error=str(late))
        return "cancelled", attrs.evolve(told, status=str(TaskStatus.CANCELLED))
