"""Settles orders in doubt by reading. Orders without proof stay in doubt; nothing is ever sent here."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import attrs
from msgspec import Struct, structs

from gotsurge_async.after.lookup import (
    RESCAN_AFTER,
    Findings,
    candidates,
    listed,
    match_tasks,
    named_by_some,
    names_of,
    not_its_own,
    read_tasks,
    search_task_list,
)
from gotsurge_async.after.lost_runs import differs, with_content
from gotsurge_async.calls.stream import chunks_of
from gotsurge_async.clock import uninterrupted
from gotsurge_async.errors import CallError, NotFound
from gotsurge_async.ledger import (
    DOUBTFUL,
    IllegalTransition,
    Ledger,
    LedgerError,
    Mode,
    OrderOutcome,
    OrderRow,
    OrderState,
    Remark,
    Run,
    RunHeld,
    RunInfo,
    TaskCancelling,
    TaskTaken,
)
from gotsurge_async.ledger.errors import ELSEWHERE, open_words
from gotsurge_async.ledger.sql.runs import refuse_other_server
from gotsurge_async.ledger.upkeep.older_copy import LOST, TAKEN_BACK
from gotsurge_async.models.tasks import ENDED_EARLY, TaskStatus
from gotsurge_async.system import shell
from gotsurge_async.tables.checks.words import number_of

if TYPE_CHECKING:
    from gotsurge_async.client import GotSurge
    from gotsurge_async.models.answers import Task

log: logging.Logger = logging.getLogger(__name__)

_BLOCK = 500
_CLOCKS = timedelta(days=1)
"""More than the clocks of the service and of this machine differ, even if one has the wrong time zone."""


class ReconciledOrder(Struct, frozen=True, kw_only=True):
    """An order that is no longer in doubt."""

    key: str
    task_id: str | None = None
    status: str | None = None


class StillInDoubt(Struct, frozen=True, kw_only=True):
    """An order that stays in doubt, the reason, and the tasks that may be its own.

    If ``doubled``, it was created more than once: cancel all tasks but one, and reconcile again.
    """

    key: str
    reason: str
    task_ids: tuple[str, ...] = ()
    doubled: bool = False


_Conclusions = Mapping[int, OrderOutcome | StillInDoubt]
"""The conclusion for each order, by its id in the ledger."""


class Reconciled(Struct, frozen=True, kw_only=True):
    """The outcomes of a run's orders in doubt, without orders that another process decided meanwhile.

    Attributes:
        created: orders that exist, even if in direct mode their task has expired since.
        cancelled: orders whose recorded task was cancelled, or in two-phase mode has expired; their keys may be pushed
            again.
        still_draft: orders whose recorded draft is still a draft and may be broadcast at any time. Resume the run to
            broadcast them.
        in_doubt: orders that stay in doubt.
        troubles: why the tasks could not be read completely.
    """

    run: str
    created: tuple[ReconciledOrder, ...] = ()
    cancelled: tuple[ReconciledOrder, ...] = ()
    still_draft: tuple[ReconciledOrder, ...] = ()
    in_doubt: tuple[StillInDoubt, ...] = ()
    troubles: tuple[str, ...] = ()

    @property
    def doubled(self) -> tuple[StillInDoubt, ...]:
        """Orders that were created more than once; they are in doubt too."""
        return tuple(order for order in self.in_doubt if order.doubled)


@attrs.frozen
class Reconciler:
    """Settles orders in doubt: reads their recorded tasks, then the platform's Task List::

        result = await Reconciler(gs, ledger).reconcile(run_id)

    Args:
        rescan_after: seconds between the two readings of the Task List.
    """

    gs: "GotSurge"
    ledger: Ledger
    rescan_after: float = attrs.field(default=RESCAN_AFTER, kw_only=True)

    async def reconcile(self, run_id: str, *, task_list: bool = True) -> Reconciled:
        """Read the outcomes of a run's orders in doubt, and record them; the run is held meanwhile.

        A cancel that was not answered may act after the reading: until it no longer can (`OrderRow.open_until`), its
        order stays in doubt unless its task is read as cancelled.

        Args:
            task_list: read the Task List, too, for orders whose recorded tasks prove nothing.

        Raises:
            OtherServer: the run belongs to another server than the client's.
            RunHeld: another process has the run.
            NoSuchRun, LedgerError: there is no such run, or the ledger fails.
            CallError: the account's token is no longer taken.
        """
        refuse_other_server(await self.ledger.run(run_id), self.gs.environment.api_base)
        async with await self.ledger.hold(run_id) as run, _cleared_up(run):
            rows = {row.id: row async for row in run.rows(DOUBTFUL)}
            read_at = self.ledger.now()
            findings = await self._read(run.info, list(rows.values()), task_list=task_list)
            concluded = {row.id: _conclude(run.info, row, findings, read_at) for row in rows.values()}
            conclusions = await _record(run, rows, concluded, read_at)
        return _reconciled(run.id, rows, conclusions, findings.trouble)

    async def settle_by(self, run_id: str, tasks: "Sequence[Task]", *, read_at: datetime) -> Reconciled:
        """Settle the orders in doubt that some tasks name, from the tasks as they were read.

        A task settles an order only if it names that order, and no other that is in doubt or in flight in any run: see
        `lookup.search_task_list`. Where it has neither tracking id nor invoice number, a group tag that one order
        alone has, and its pickup window, settle the order.

        If a living process has the run, only orders that are in doubt already and prove to be created are settled. If
        the tasks name none of the run's orders in doubt, the run is unchanged.

        Args:
            tasks: as they were read. Include every task that may belong to an order, so that duplicates are detected.
            read_at: when the reading began, by the ledger's clock.

        Raises:
            OtherServer: the run belongs to another server than the client's.
            NoSuchRun, LedgerError: there is no such run, or the ledger fails.
        """
        info = await self.ledger.run(run_id)
        refuse_other_server(info, self.gs.environment.api_base)
        if not await self._named(self.ledger.rows(run_id, DOUBTFUL), tasks):
            return Reconciled(run=run_id)
        try:
            run = await self.ledger.hold(run_id)
        except RunHeld:
            return await self._settle_held(info, tasks, read_at)
        async with run, _cleared_up(run):
            rows = await self._named(run.rows(DOUBTFUL), tasks)
            conclusions = await _record(run, rows, await self._conclude_from_read(info, rows, tasks, read_at), read_at)
        return _reconciled(run_id, rows, conclusions, "")

    async def _settle_held(self, info: RunInfo, tasks: "Sequence[Task]", read_at: datetime) -> Reconciled:
        async def resolve(outcomes: Sequence[OrderOutcome]) -> None:
            tasks = {rows[outcome.id].key: outcome.task_id for outcome in outcomes}
            await self.ledger.resolve(info.id, tasks, by="a read of the task")

        rows = await self._named(self.ledger.rows(info.id, (OrderState.IN_DOUBT,)), tasks)
        conclusions = await self._conclude_from_read(info, rows, tasks, read_at)
        created = [outcome for outcome in _outcomes(conclusions) if outcome.state is OrderState.CREATED]
        refused = await uninterrupted(_write_separately(resolve, created))
        holds = {outcome.id: outcome for outcome in created if outcome.id not in refused}
        return _reconciled(info.id, rows, holds, "")

    async def _named(self, rows: AsyncIterator[OrderRow], tasks: "Sequence[Task]") -> dict[int, OrderRow]:
        """The orders that some tasks may be of, by their ids."""
        return {row.id: row for row in await named_by_some(rows, tasks, self.ledger.path)}

    async def _conclude_from_read(
        self, info: RunInfo, rows: Mapping[int, OrderRow], tasks: "Sequence[Task]", read_at: datetime
    ) -> _Conclusions:
        """The conclusions from some tasks for the orders that they name, or may name."""
        if not rows:
            return {}
        others = await candidates(self.ledger, info.environment, tasks)
        tags = {task.group_tag for task in tasks if task.group_tag and not (task.tracking_id or task.invoice_number)}
        unique = await self._unique_tags(info, tags, others) if tags else ()
        owners = await self.ledger.owners(info.environment, [task.id for task in tasks])
        findings = match_tasks([*others, *rows.values()], tasks, owners, self.ledger.path, tags=unique)
        named = findings.tasks.keys() | findings.unclear.keys()
        return {row.id: _conclude(info, row, findings, read_at) for row in rows.values() if row.id in named}

    async def _unique_tags(self, info: RunInfo, tags: set[str], others: Sequence[OrderRow]) -> Collection[str]:
        """The group tags that only one order has, among the run's in any state and `candidates` elsewhere."""
        orders: dict[str, set[int]] = {tag: set() for tag in tags}
        for row in others:
            orders.get(names_of(row, self.ledger.path).group_tag or "", set()).add(row.id)
        unique = {tag: ids for tag, ids in orders.items() if len(ids) == 1}
        if unique:
            async for row in self.ledger.rows(info.id):
                tag = names_of(row, self.ledger.path).group_tag or ""
                if tag in unique and row.id not in unique[tag]:
                    del unique[tag]
                    if not unique:
                        break
        return unique.keys()

    async def _read(self, run: RunInfo, rows: Sequence[OrderRow], *, task_list: bool) -> Findings:
        """Read the recorded tasks (in two-phase mode every order has one), and the list for the other orders."""
        read = await read_tasks(self.gs, run.mode, [row.task_id for row in rows if row.task_id], unless=CallError)
        whole = {task_id: (task,) for task_id, task in read.items() if not isinstance(task, CallError)}
        tasks = {row.id: whole[row.task_id] for row in rows if row.task_id in whole}
        errors = [error for error in read.values() if isinstance(error, CallError) and not isinstance(error, NotFound)]
        trouble = f"{number_of(len(errors), 'recorded task')} could not be read: {errors[0]}" if errors else ""
        named = {row.id: names_of(row, self.ledger.path) for row in rows if row.id in tasks}
        unclear = {order: why for order, names in named.items() if (why := not_its_own(names, tasks[order][0]))}
        left = [row for row in rows if row.id not in tasks]
        tasks = {order: own for order, own in tasks.items() if order not in unclear}
        if not left or not task_list:
            return Findings(tasks=tasks, unclear=unclear, trouble=trouble)
        findings = await search_task_list(self.gs, self.ledger, run, left, rescan_after=self.rescan_after)
        lost = [row for row in left if not row.task_id and (row.error or "").startswith(LOST)]
        findings = await with_content(self.gs, findings, lost)
        return structs.replace(
            findings,
            tasks={**tasks, **findings.tasks},
            unclear={**findings.unclear, **unclear},
            trouble="; ".join(filter(None, (trouble, findings.trouble))),
        )


@asynccontextmanager
async def _cleared_up(run: Run) -> AsyncIterator[None]:
    """Settle the orders of a run that an earlier process left; the run's state is recorded when the block ends."""
    await run.recover()
    try:
        yield
    finally:
        await uninterrupted(run.finish())


async def _record(run: Run, rows: Mapping[int, OrderRow], conclusions: _Conclusions, read_at: datetime) -> _Conclusions:
    """Write conclusions into the ledger; returns those that hold, without orders that others decided meanwhile."""
    changed = [outcome for outcome in _outcomes(conclusions) if outcome.state is not rows[outcome.id].state]
    holds = dict(conclusions)
    refused: dict[int, LedgerError] = {}
    async for some in chunks_of(changed, _BLOCK):
        refused |= await uninterrupted(_write_separately(partial(run.record, read_at=read_at), some))
    doubtful = {row.id async for row in run.rows(DOUBTFUL)} if refused else ()
    for outcome in changed:
        if outcome.id in refused:
            del holds[outcome.id]
        if outcome.id in refused and outcome.id in doubtful:
            error = refused[outcome.id]
            taken = isinstance(error, TaskTaken) and not isinstance(error, TaskCancelling)
            recorded = f"task {outcome.task_id} is recorded for another order"
            reason = recorded if taken else error.words
            task_ids = (outcome.task_id,) if outcome.task_id else ()
            holds[outcome.id] = StillInDoubt(key=rows[outcome.id].key, reason=reason, task_ids=task_ids)
    left = {order: doubt for order, doubt in holds.items() if isinstance(doubt, StillInDoubt)}
    await uninterrupted(
        run.remark([Remark(order, rows[order].state, error=_note(rows[order], doubt)) for order, doubt in left.items()])
    )
    return holds


def _outcomes(conclusions: _Conclusions) -> list[OrderOutcome]:
    return [conclusion for conclusion in conclusions.values() if isinstance(conclusion, OrderOutcome)]


def _note(row: OrderRow, doubt: StillInDoubt) -> str:
    """The note on an order that stays in doubt. It always repeats what decides how the order may continue."""
    for words in (TAKEN_BACK, LOST, ELSEWHERE):
        if (row.error or "").startswith(words):
            return doubt.reason if doubt.reason.startswith(words) else f"{words}; {doubt.reason}"
    return doubt.reason


async def _write_separately(
    write: Callable[[Sequence[OrderOutcome]], Awaitable[None]], outcomes: Sequence[OrderOutcome]
) -> dict[int, LedgerError]:
    """Write the outcomes that the ledger accepts; returns the errors of the others, by order.

    They are refused because a task is another order's by now, or another process decided the order meanwhile.
    """
    if not outcomes:
        return {}
    try:
        await write(outcomes)
    except (TaskTaken, IllegalTransition) as error:
        if len(outcomes) == 1:
            return {outcomes[0].id: error}
        half = len(outcomes) // 2
        refused = await _write_separately(write, outcomes[:half])
        return refused | await _write_separately(write, outcomes[half:])
    return {}


_LISTS = {
    OrderState.CREATED: "created",
    OrderState.CANCELLED: "cancelled",
    OrderState.BROADCASTING: "still_draft",
}
"""The field of `Reconciled` for each conclusion."""


def _reconciled(run_id: str, rows: Mapping[int, OrderRow], conclusions: _Conclusions, trouble: str) -> Reconciled:
    lists: dict[str, list[ReconciledOrder]] = {name: [] for name in _LISTS.values()}
    for outcome in _outcomes(conclusions):
        order = ReconciledOrder(key=rows[outcome.id].key, task_id=outcome.task_id, status=outcome.status)
        lists[_LISTS[outcome.state]].append(order)
    return Reconciled(
        run=run_id,
        **{name: tuple(orders) for name, orders in lists.items()},
        in_doubt=tuple(doubt for doubt in conclusions.values() if isinstance(doubt, StillInDoubt)),
        troubles=(trouble,) if trouble else (),
    )


def _conclude(run: RunInfo, row: OrderRow, findings: Findings, read_at: datetime) -> OrderOutcome | StillInDoubt:
    """The conclusion from the findings for one order, if the reading began at ``read_at``."""
    tasks = findings.tasks.get(row.id)
    if not tasks:
        return StillInDoubt(key=row.key, reason=findings.unclear.get(row.id) or row.error or "not found")
    concluded = _conclude_from(run, row, tasks)
    is_draft = isinstance(concluded, OrderOutcome) and concluded.state is OrderState.BROADCASTING
    if is_draft and row.error and row.error.startswith(ELSEWHERE):
        return _in_doubt(row, tasks, row.error)
    # Whether a cancel of its task was sent and, as far as is known, not answered.
    cancelling = row.state is OrderState.CANCELLING or (row.error or "").startswith(TAKEN_BACK)
    is_result = isinstance(concluded, OrderOutcome) and concluded.state is OrderState.CANCELLED
    if is_result or not cancelling or not row.is_open(read_at):
        return concluded
    why = open_words(row.open_until, cancelling=True)
    return StillInDoubt(key=row.key, reason=why, task_ids=(row.task_id,) if row.task_id else ())


def _conclude_from(run: RunInfo, row: OrderRow, tasks: "Sequence[Task]") -> OrderOutcome | StillInDoubt:
    """The conclusion from an order's tasks; in doubt if they prove nothing.

    A task that has only the order's name may be an earlier order's. So it neither frees the key, nor settles the order
    if it is over and began before the order was sent, except one that an older copy of the ledger may have lacked.
    """
    if not row.task_id and not (row.error or "").startswith(LOST):
        earlier, tasks = tasks, [task for task in tasks if not _is_earlier(task, row.claimed_at or run.created_at)]
        if not tasks:
            return _in_doubt(
                row, earlier, f"found only {listed(earlier)}, older than the last attempt to send this order"
            )
    # An unknown status proves nothing, as in the two-phase push.
    live = [task for task in tasks if task.current_status is not None and task.current_status.is_past_draft]
    active = [task for task in live if task.current_status not in ENDED_EARLY]
    if len(active) > 1:
        why = f"created more than once: {listed(active)}; cancel all but one, then reconcile again"
        return _in_doubt(row, tasks, why, doubled=True)
    if row.task_id:
        # The order is only ever broadcast by this draft: another program made another task of its name.
        others = [task for task in active if task.id != row.task_id]
        if others:
            return _in_doubt(row, tasks, f"found {listed(others)}, but this order's recorded draft is {row.task_id}")
        live = active = [task for task in live if task.id == row.task_id]
    if live:
        task = (active or [task for task in live if task.current_status != TaskStatus.CANCELLED] or live)[0]
        # What another copy of the ledger knew may be a second task of its name, on its way to a driver.
        may_be_live = any(other.current_status not in ENDED_EARLY for other in tasks)
        if not active and not row.task_id and (may_be_live or (row.error or "").startswith(LOST)):
            return _in_doubt(row, tasks, f"{listed(live)} ended early, but this order may also have a live task")
        is_cancelled = task.current_status == TaskStatus.CANCELLED
        if is_cancelled and not row.task_id:
            why = f"the cancellation of {listed(live)} does not prove that this order was cancelled"
            task_id = "TASK" if live[1:] else shell.word(task.id)
            step = f"gotsurge resolve {run.id} --key {shell.word(row.key)} --created {task_id}"
            return _in_doubt(row, tasks, f"{why}; if the task is this order's, run: {step}")
        # Perhaps it expired as a draft, before any broadcast acted.
        if is_cancelled or (task.current_status in ENDED_EARLY and row.task_id and run.mode is Mode.TWO_PHASE):
            return _ended(row, task)
        if not row.task_id and (row.error or "").startswith(LOST) and (why := differs(run.id, row, task)):
            return _in_doubt(row, tasks, why)
        return OrderOutcome(row.id, OrderState.CREATED, task_id=task.id, status=task.current_status)
    drafts = {task.id: task.current_status for task in tasks if task.current_status and task.current_status.is_draft}
    if run.mode is Mode.TWO_PHASE and row.task_id in drafts:
        return OrderOutcome(row.id, OrderState.BROADCASTING, task_id=row.task_id, status=drafts[row.task_id])
    # A draft that is not the recorded one may be a leftover, and in direct mode the task may be about to be
    # broadcast: neither proves that the order was created, nor that it was not.
    states = ", ".join(sorted({str(task.current_status or "unknown status") for task in tasks}))
    why = f"{listed(tasks)} ({states}) may be this order's, but that does not prove that the order was broadcast"
    return _in_doubt(row, tasks, why)


def _ended(row: OrderRow, task: "Task") -> OrderOutcome:
    status = task.current_status
    return OrderOutcome(row.id, OrderState.CANCELLED, task_id=task.id, status=status, error=f"{status} at GotSurge")


def _is_earlier(task: "Task", sent_at: datetime) -> bool:
    """Whether a task is over, and existed before an order was sent."""
    times = [task.updated_at, *(entry.updated_at for entry in task.statuses)]
    is_over = task.current_status is not None and task.current_status.is_terminal
    return is_over and any(at is not None and at < sent_at - _CLOCKS for at in times)


def _in_doubt(row: OrderRow, tasks: "Iterable[Task]", reason: str, *, doubled: bool = False) -> StillInDoubt:
    return StillInDoubt(key=row.key, reason=reason, task_ids=tuple(task.id for task in tasks), doubled=doubled)
