"""Undoing a run: orders that no driver has taken are cancelled, and the others are listed."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import attrs
from msgspec import Struct, structs

from gotsurge_async.after.audit_notes import why_in_doubt
from gotsurge_async.after.cancels import NotedCancels
from gotsurge_async.after.lookup import Names, call_each, names_of, not_its_own, note_unused_drafts, task_reader
from gotsurge_async.api.endpoints import TASKS_CANCEL
from gotsurge_async.calls.create import stops_all
from gotsurge_async.calls.stream import chunks_of
from gotsurge_async.clock import Clock, uninterrupted
from gotsurge_async.errors import (
    CallError,
    GotSurgeError,
    OutcomeUnknown,
    SignInNeeded,
    TooLateToCancel,
    UsageError,
)
from gotsurge_async.ledger import (
    DOUBTFUL,
    FREE,
    OWNED_ELSEWHERE,
    PUSHED,
    WAITING,
    Ledger,
    Mode,
    OrderOutcome,
    OrderRow,
    OrderState,
    Remark,
    Run,
)
from gotsurge_async.ledger.sql.runs import refuse_other_server
from gotsurge_async.models.answers import Task
from gotsurge_async.models.tasks import TaskStatus
from gotsurge_async.push.chunks import CLAIM_LIFE
from gotsurge_async.resources.converging import cancel_task
from gotsurge_async.tables.checks.words import verb

if TYPE_CHECKING:
    from gotsurge_async.client import GotSurge

_BLOCK = 1000
"""The most orders whose keys' owners one query reads."""
_CHECKED = 50
"""The most unused drafts that one query checks just before they are cancelled."""
REASON = "The order was taken back by its sender."


class UndoneOrder(Struct, frozen=True, kw_only=True):
    """The result of an undo for one order: the known status of its task, and why it was not cancelled, "" if it was."""

    key: str
    task_id: str
    status: str | None = None
    error: str = ""


class OrderElsewhere(Struct, frozen=True, kw_only=True):
    """An order whose key another run has now: only an undo of that run cancels it. ``state``: its state there."""

    key: str
    run: str
    state: OrderState
    task_id: str | None


class Undone(Struct, frozen=True, kw_only=True):
    """The result of an undo for the orders of a run.

    Attributes:
        cancelled: orders that this undo cancelled.
        already_cancelled: orders that were cancelled before.
        too_late: orders that a driver has, or that have ended: see their ``status``.
        drafts: unused drafts that were cancelled, if that was requested.
        failed: orders whose call failed, and may be repeated; and orders that were named by key, and still wait.
        elsewhere: orders whose keys other runs have, and which may be live there. They were not cancelled.
        in_doubt: the number of orders in doubt: their cancel was not answered, or no task is known that could be
            cancelled. Reconcile or resolve them first.
        doubtful: these orders, each with the reason.
        cancelling: the number of those in doubt because their cancel was not answered.
        open_until: until when a cancel that was not answered may still act; None if there is none. No read before
            then settles its order, unless it shows the task as cancelled.
        unprocessed: the number of orders that were never broadcast, and would be by a resume.
        unused_drafts: the number of drafts left that will never be broadcast.
        stopped_by: the error that a person must act on before the rest can be cancelled, or looked up.
    """

    run: str
    cancelled: tuple[UndoneOrder, ...] = ()
    already_cancelled: tuple[UndoneOrder, ...] = ()
    too_late: tuple[UndoneOrder, ...] = ()
    failed: tuple[UndoneOrder, ...] = ()
    elsewhere: tuple[OrderElsewhere, ...] = ()
    drafts: tuple[UndoneOrder, ...] = ()
    in_doubt: int = 0
    doubtful: tuple[UndoneOrder, ...] = ()
    cancelling: int = 0
    open_until: datetime | None = None
    unprocessed: int = 0
    unused_drafts: int = 0
    stopped_by: CallError | SignInNeeded | None = None

    @property
    def ended(self) -> bool:
        """Whether another undo would have nothing to cancel."""
        return not (self.failed or self.in_doubt or self.stopped_by)


@attrs.frozen
class Undo:
    """Cancels the orders of a run that no driver has taken yet (section "Cancel Task")::

        undone = await Undo(gs, ledger).undo(run_id, reason="wrong file")

    It may be repeated: an order that is cancelled already is only read. An order that is cancelled, now or before,
    becomes ``cancelled`` in the ledger, and its key is free: the corrected order can be pushed.

    Args:
        concurrency: the most calls in flight, the client's limit unless given.
    """

    gs: "GotSurge"
    ledger: Ledger
    concurrency: int | None = attrs.field(default=None, kw_only=True)

    async def undo(
        self, run_id: str, *, reason: str = REASON, drafts: bool = False, keys: Collection[str] | None = None
    ) -> Undone:
        """Cancel the orders of a run that can be cancelled; the run is held meanwhile.

        An order is in doubt from before its cancel leaves until the cancel's result is seen, or until the cancel can
        no longer act (`Limits.settle`).

        Args:
            reason: for GotSurge and the drivers; not empty.
            keys: the keys of the orders to cancel; all, unless given. The recorded draft of such an order is cancelled
                too.
            drafts: cancel also its drafts that were never broadcast; their orders are cancelled with them.

        Raises:
            UsageError: no reason, a key that the run does not have, or a run of another server (OtherServer).
            EndpointsAssumed: this client cancels nothing on a path that is a guess; nothing was sent.
            RunHeld: another process has the run.
            NoSuchRun, LedgerError: there is no such run, or the ledger fails.
        """
        if not reason.strip():
            raise UsageError("give a reason: GotSurge cancels no order without one", "E414")
        self.gs.session.require(TASKS_CANCEL)  # before an order is put in doubt for a cancel that cannot leave
        refuse_other_server(await self.ledger.run(run_id), self.gs.environment.api_base)
        async with await self.ledger.hold(run_id) as run:
            run.settle_after(self.gs.limits.settle)
            await run.recover()
            wanted = None if keys is None else frozenset(keys)
            if wanted is not None and (unknown := wanted - {row.key async for row in run.rows() if row.key in wanted}):
                none = verb(len(unknown), "no order", "none of the orders")
                raise UsageError(f"run {run_id} has {none} {', '.join(sorted(unknown))}", "E522")
            if wanted is None:
                # Durable before anything is cancelled: a resume must not send the rest of an undo that broke off.
                await run.keep_undo({"drafts": drafts, "ended": False})
            undone = await self._undo(run, reason, drafts=drafts, keys=wanted)
            if wanted is None and undone.ended:
                changed = undone.cancelled or undone.already_cancelled or undone.drafts
                await run.keep_undo({"drafts": drafts, "ended": True} if changed else None)
            await uninterrupted(run.finish(withdraw=True))
            return undone

    async def record_draft(self, run_id: str, task_id: str) -> None:
        """Record that an unused draft of a run was cancelled, if a read of it shows this.

        Raises:
            OtherServer: the run belongs to another server than the client's.
            RunHeld: another process has the run.
            CallError: the draft could not be read.
            LedgerError: the ledger fails.
        """
        refuse_other_server(await self.ledger.run(run_id), self.gs.environment.api_base)
        async with await self.ledger.hold(run_id) as run:
            if (await task_reader(self.gs, run.info.mode)(task_id)).current_status == TaskStatus.CANCELLED:
                orders = [row.id async for row in run.rows((OrderState.REFUSED,)) if row.task_id == task_id]
                job = _Job("", task_id, Names(), None, draft=True, refused=next(iter(orders), None))
                await uninterrupted(_record_cancelled(run, job, ""))

    async def _undo(self, run: Run, reason: str, *, drafts: bool, keys: frozenset[str] | None) -> Undone:
        names = ("cancelled", "already_cancelled", "too_late", "failed", "drafts")
        lists: dict[str, list[UndoneOrder]] = {name: [] for name in names}
        stoppers: list[CallError | SignInNeeded] = []
        doubts: dict[str, UndoneOrder] = {}
        elsewhere = [order async for order in self._elsewhere(run, keys)]
        notes = NotedCancels(self.ledger, run.info.environment, self.gs.limits.settle)

        # Those that an earlier undo cancelled, or a reconciliation saw cancelled.
        async for row in run.rows((OrderState.CANCELLED,)):
            if keys is None or row.key in keys:
                order = UndoneOrder(key=row.key, task_id=row.task_id or "", status=row.status)
                lists["already_cancelled"].append(order)

        async def cancel(job: _Job) -> tuple[str, UndoneOrder]:
            try:
                name, done = await self._cancel(run, notes, job, reason)
            except (CallError, SignInNeeded) as error:
                if stops_all(error):
                    stoppers.append(error)
                    jobs.stop()
                name = "in_doubt" if job.in_doubt else "failed"
                return name, UndoneOrder(key=job.key, task_id=job.task_id, status=job.status, error=str(error))
            return "drafts" if job.draft and name.endswith("cancelled") else name, done

        wanted = self._jobs(run, notes, stoppers, lists["failed"], drafts=drafts, keys=keys)
        jobs = call_each(self.gs, wanted, cancel, self.concurrency)
        async with jobs:
            async for name, order in jobs:
                if name in lists:
                    lists[name].append(order)
                else:
                    doubts[order.key] = order
        await notes.forget()
        if keys is not None:
            reported = {order.key for name in ("too_late", "failed") for order in lists[name]}
            async for row in run.rows(WAITING):
                if row.key in keys - reported:
                    task_id = row.task_id or ""
                    lists["failed"].append(UndoneOrder(key=row.key, task_id=task_id, status=row.status, error=_WAITS))
        rows = [row async for row in run.rows(DOUBTFUL)]
        cancelling = [row for row in rows if row.state is OrderState.CANCELLING]
        times = [row.open_until for row in cancelling if row.open_until is not None]
        counts = await run.counts()
        unused = await self.ledger.unused_drafts(run.id)
        return Undone(
            run=run.id,
            **{name: tuple(orders) for name, orders in lists.items()},
            elsewhere=tuple(elsewhere),
            in_doubt=len(rows),
            doubtful=tuple(doubts.get(row.key) or self._doubtful(row) for row in rows),
            cancelling=len(cancelling),
            open_until=max(times, default=None),
            unprocessed=counts.of(WAITING),
            unused_drafts=sum(not draft.cancelled for draft in unused),
            stopped_by=stoppers[0] if stoppers else None,
        )

    async def _elsewhere(self, run: Run, keys: frozenset[str] | None) -> AsyncIterator[OrderElsewhere]:
        """The orders that this run does not have any more, or never had, and another run has."""
        async for rows in chunks_of(run.rows(OWNED_ELSEWHERE | FREE), _BLOCK):
            wanted = [row.key for row in rows if keys is None or row.key in keys]
            owners = await self.ledger.known(run.info.environment, wanted) if wanted else {}
            for key, owner in owners.items():
                if owner.run.id != run.id:
                    row = owner.row
                    yield OrderElsewhere(key=key, run=owner.run.id, state=row.state, task_id=row.task_id)

    def _doubtful(self, row: OrderRow) -> UndoneOrder:
        why = why_in_doubt(row, self.ledger.now())
        return UndoneOrder(key=row.key, task_id=row.task_id or "", status=row.status, error=why)

    async def _jobs(
        self,
        run: Run,
        notes: NotedCancels,
        stoppers: list[CallError | SignInNeeded],
        failed: list[UndoneOrder],
        *,
        drafts: bool,
        keys: frozenset[str] | None,
    ) -> AsyncIterator["_Job"]:
        states = PUSHED if keys is None and not drafts else PUSHED | {OrderState.DRAFTED}
        async for row in run.rows(states):
            if row.task_id and (keys is None or row.key in keys):
                draft = row.state is OrderState.DRAFTED
                names = names_of(row, run.path)
                yield _Job(row.key, row.task_id, names, row, draft=draft, in_doubt=row.state in DOUBTFUL)
        if not drafts:
            return
        if run.info.mode is Mode.TWO_PHASE and (lost := await run.lost_drafts()):
            try:
                for unnoted, other in await note_unused_drafts(self.gs, self.ledger, run, lost):
                    if keys is None or unnoted.key in keys:
                        failed.append(UndoneOrder(key=unnoted.key, task_id=unnoted.task_id, error=_in_flight(other)))
            except (CallError, SignInNeeded) as error:  # what is known is cancelled all the same
                stoppers.append(error)
        unused = await self.ledger.unused_drafts(run.id)
        left = [each for each in unused if not each.cancelled and (keys is None or each.key in keys)]
        wanted = {each.key for each in left}
        every = [row async for row in run.rows() if row.key in wanted] if wanted else []
        rows = {row.key: row for row in every}
        own = {row.task_id: row for row in every if row.task_id}  # a desk's run may have refused a key several times
        withdrawn = {row.task_id for row in every if row.task_id and row.state is OrderState.WITHDRAWN}
        # In direct mode it is the task of an order that was not created, says a person, and no draft.
        is_two_phase = run.info.mode is Mode.TWO_PHASE
        refused = {task_id: row.id for task_id, row in own.items() if row.state is OrderState.REFUSED and is_two_phase}
        for start in range(0, len(left), _CHECKED):
            block = left[start : start + _CHECKED]
            # An order may go on with such a draft, or an answer may name it, unless its cancel began before.
            used = await notes.begin([each.task_id for each in block])
            drafting = await self._drafting(run, [each.key for each in block if each.task_id in {*refused, *used}])
            # Another run may have recorded a draft since it was noted or refused: the query reads all orders.
            recorded = await self.ledger.recorded(run.info.environment, [each.task_id for each in block])
            recorded = {task_id: order for task_id, order in recorded.items() if task_id not in withdrawn - used.keys()}
            for each in block:
                order, later = refused.get(each.task_id), drafting.get(each.key)
                if later is not None and (order is not None or each.task_id in used):
                    failed.append(UndoneOrder(key=each.key, task_id=each.task_id, error=_in_flight(later)))
                    await notes.forget(each.task_id)
                elif recorded.get(each.task_id, order) == order:
                    of_key = own.get(each.task_id) or rows.get(each.key)
                    names = Names() if of_key is None else names_of(of_key, run.path)
                    yield _Job(each.key, each.task_id, names, None, draft=True, refused=order)

    async def _drafting(self, run: Run, keys: Sequence[str]) -> dict[str, str]:
        """The keys that an order being drafted has by now, each with its run.

        The answer to its create may name the draft of the refused order.
        """
        owners = await self.ledger.known(run.info.environment, keys) if keys else {}
        return {key: owner.run.id for key, owner in owners.items() if owner.row.state is OrderState.DRAFTING}

    async def _cancel(self, run: Run, notes: NotedCancels, job: "_Job", reason: str) -> tuple[str, UndoneOrder]:
        """Cancel one task, and record the result; returns the name of its list in `Undone`.

        The task is read first, since afterwards its status does not show which cancel ended it.
        """
        row = job.row
        get = task_reader(self.gs, run.info.mode)

        async def read() -> Task:
            return _checked_task(job, await get(job.task_id))

        task = await read()
        order = UndoneOrder(key=job.key, task_id=job.task_id, status=task.current_status)
        if task.current_status == TaskStatus.CANCELLED:
            await uninterrupted(_record_cancelled(run, job, "cancelled at GotSurge"))
            return "already_cancelled", order
        if row is None and (task.current_status is None or not task.current_status.is_draft):
            # Noted as an unused draft, and yet it went out: another program broadcast it.
            return "too_late", structs.replace(
                order, error="the task is no longer an unused draft: leave it, or cancel it by its id"
            )
        intent = _Intent(run, row, self.gs.session.clock, notes, job.task_id)
        try:
            try:
                await cancel_task(self.gs.session, job.task_id, reason, intent.before_send)
            except TooLateToCancel as late:
                if late.task is not None:
                    _checked_task(job, late.task)
                raise
            await _check_cancelled(read)
        except TooLateToCancel as late:
            status = late.task.current_status if late.task is not None else None
            await uninterrupted(intent.refused(late, status))
            return "too_late", structs.replace(order, status=status, error=str(late))
        except OutcomeUnknown as error:
            job.in_doubt = row is not None
            await uninterrupted(intent.unknown(error))
            raise
        except (CallError, SignInNeeded) as error:
            await uninterrupted(intent.refused(error, None))
            raise
        await uninterrupted(_record_cancelled(run, job, "taken back"))
        return "cancelled", structs.replace(order, status=TaskStatus.CANCELLED)


def _in_flight(other: str) -> str:
    return f"the draft may belong to an order in flight in run {other}: repeat the undo when that run has ended"


_WAITS = "nothing was cancelled: the order was not sent yet, and resuming the run would send it"

_BEING_CANCELLED = "the order is being taken back, and may already be cancelled"

_FRESH = CLAIM_LIFE / 2
"""Seconds after which the intent is written again before a try leaves: the time that it may act counts from then."""


@attrs.define
class _Intent:
    """The intent to cancel the task of an order, durable before a try leaves; without an order it is noted already."""

    _run: Run
    _row: OrderRow | None
    _clock: Clock
    _notes: NotedCancels
    _task_id: str
    _written_at: float | None = None

    async def before_send(self) -> None:
        """Write the intent, unless it was written just now; LedgerError if it is not: the cancel must not leave."""
        now = self._clock.monotonic()
        self._notes.leaves(self._task_id)
        if self._written_at is None or now > self._written_at + _FRESH:
            await uninterrupted(self._write(OrderState.CANCELLING, _BEING_CANCELLED, ended=False))
            self._written_at = now

    async def unknown(self, error: OutcomeUnknown) -> None:
        """Record that the cancel may have acted, or may act later."""
        await self._write(OrderState.CANCELLING, f"{_BEING_CANCELLED}: {error}")

    async def refused(self, error: GotSurgeError, status: TaskStatus | None) -> None:
        """Record that no cancel of this undo acts. An earlier one may act, unless the task's status rules that out."""
        if self._row is None:
            await self._notes.forget(self._task_id)
            return
        state = self._row.state
        is_past = status is not None and status.is_past_draft and status != TaskStatus.BROADCASTING
        if is_past:
            await self._write(OrderState.CREATED, None, status)
        elif self._written_at is not None and state is not OrderState.CANCELLING:
            was_there = state is OrderState.CREATED
            await self._write(state, f"not taken back: {error}" if was_there else self._row.error, status)
        elif status is not None and status != self._row.status:
            await self._run.remark([Remark(self._row.id, state, status=status)])

    async def _write(
        self, state: OrderState, error: str | None, status: TaskStatus | None = None, *, ended: bool = True
    ) -> None:
        if self._row is not None:
            outcome = OrderOutcome(self._row.id, state, status=status, error=error, ended=ended)
            await self._run.record([outcome])


@attrs.define
class _Job:
    """A task that must be cancelled.

    Attributes:
        row: the order that it is recorded for; None for a draft that no order has, or a refused one.
        draft: whether it was never broadcast.
        refused: the id of the refused order that it is recorded for.
        in_doubt: whether the ledger has its order in doubt.
        status: the status that the last read showed.
    """

    key: str
    task_id: str
    names: Names
    row: OrderRow | None
    draft: bool
    refused: int | None = None
    in_doubt: bool = False
    status: str | None = None


def _checked_task(job: _Job, task: Task) -> Task:
    """The task, after a check that it is that of the order."""
    job.status = task.current_status
    if other := not_its_own(job.names, task, recorded=job.row is not None or job.refused is not None):
        raise OutcomeUnknown(other, operation=TASKS_CANCEL.name)
    return task


async def _check_cancelled(read: Callable[[], Awaitable[Task]]) -> None:
    """Check by a read that the task is cancelled: the answer to a cancel does not prove it. Then the key is free."""
    try:
        status = (await read()).current_status
    except (CallError, SignInNeeded) as error:
        raise OutcomeUnknown(
            f"the cancellation was answered, but reading the task did not confirm it: {error}", "E412"
        ) from error
    if status != TaskStatus.CANCELLED:
        shown = status or "in an unknown status"
        raise OutcomeUnknown(f"the cancellation was answered, but the task is not cancelled: it is {shown}", "E412")


async def _record_cancelled(run: Run, job: _Job, how: str) -> None:
    if job.row is not None:
        await run.record([OrderOutcome(job.row.id, OrderState.CANCELLED, status=TaskStatus.CANCELLED, error=how)])
    elif job.refused is not None:  # its key is free already
        await run.remark([Remark(job.refused, OrderState.REFUSED, status=TaskStatus.CANCELLED)])
    else:
        await run.unused_cancelled([job.task_id])
