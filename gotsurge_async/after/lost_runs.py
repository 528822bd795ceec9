"""Orders that a run may have sent which an older copy of the ledger lacks: what GotSurge has of them."""

import logging
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import attrs
from msgspec import structs

from gotsurge_async.after.audit_notes import differences, is_short, seen_of
from gotsurge_async.after.lookup import Findings, listed, names_of, not_its_own, read_tasks, search_task_list
from gotsurge_async.errors import CallError
from gotsurge_async.ledger import Ledger, Mode, OrderOutcome, OrderRow, OrderState, Run
from gotsurge_async.ledger.sql.admission import Evidence
from gotsurge_async.ledger.upkeep.older_copy import LOST
from gotsurge_async.models.tasks import ENDED_EARLY
from gotsurge_async.models.words import one_line
from gotsurge_async.system import shell

if TYPE_CHECKING:
    from gotsurge_async.client import GotSurge
    from gotsurge_async.models.answers import Task

log: logging.Logger = logging.getLogger(__name__)


def differs(run_id: str, row: OrderRow, task: "Task") -> str:
    """The reason why a task of an order's name may be of an order with another content; "" if nothing differs.

    A run that the ledger has lost may have sent the order with another price, or to another address.
    """
    words = [f"{name} is {theirs}, not {mine}" for name, mine, theirs in differences(row, seen_of(task, listed=True))]
    step = f"gotsurge resolve {run_id} --key {shell.word(row.key)} --created {shell.word(task.id)}"
    why = f"{listed([task])} has this order's name, but {'; '.join(words)}"
    return f"{why}; if the task is this order's, run: {step}" if words else ""


async def with_content(gs: "GotSurge", findings: Findings, rows: Sequence[OrderRow]) -> Findings:
    """The findings of the Task List, with tasks of some orders read by their ids where it lacks a value that was sent.

    If such a task cannot be read, its order is unclear.
    """
    short = {
        task.id: row
        for row in rows
        if row.id not in findings.absent
        for task in findings.tasks.get(row.id, ())
        if is_short(row, seen_of(task, listed=True), "")
    }
    read = await read_tasks(gs, Mode.TWO_PHASE, short, unless=CallError)
    tasks, unclear = dict(findings.tasks), dict(findings.unclear)
    for task_id, row in short.items():
        whole = read[task_id]
        if isinstance(whole, CallError) or not_its_own(names_of(row), whole, recorded=False):
            tasks.pop(row.id, None)
            unclear[row.id] = (
                f"task {one_line(task_id)} may be this order's, but a read did not show the task's content"
            )
        elif row.id in tasks:
            tasks[row.id] = [_filled(task, whole) if task.id == task_id else task for task in tasks[row.id]]
    return structs.replace(findings, tasks=tasks, unclear=unclear)


def _filled(shown: "Task", whole: "Task") -> "Task":
    """A task as a read of it showed it, with its names and status on the list where the read lacks them."""
    names = ("tracking_id", "invoice_number", "current_status")
    return attrs.evolve(whole, **{name: getattr(whole, name) or getattr(shown, name) for name in names})


async def look_up_first_pushed(gs: "GotSurge", ledger: Ledger, run: Run, orders: Collection[int]) -> Evidence:
    """Look up orders of a loading run on the Task List: each is there, certainly not there, or in doubt.

    A run that the copy does not know may have sent them, so they are looked up before anything is sent. An order counts
    as new if the whole list was read twice, from both ends, and each task on it that may be the order's is cancelled. A
    plain partner has no list: then nothing is known.
    """
    rows = [row async for row in run.rows() if row.id in orders]
    wait = await _left_to_wait(gs, ledger)
    findings = await search_task_list(gs, ledger, run.info, rows, rescan_after=wait)
    findings = await with_content(gs, findings, rows)
    by_id = {row.id: row for row in rows}
    outcomes = {order: OrderOutcome(order, OrderState.PENDING) for order in findings.absent}
    for order, why in findings.unclear.items():
        outcomes[order] = OrderOutcome(order, OrderState.IN_DOUBT, error=f"{LOST}; {why}")
    for order, tasks in findings.tasks.items():
        if order not in findings.absent:
            outcomes[order] = outcome = _first_outcome(order, tasks)
            whys = [differs(run.id, by_id[order], task) for task in tasks if task.id == outcome.task_id]
            if any(whys):
                outcomes[order] = OrderOutcome(order, OrderState.IN_DOUBT, error=f"{LOST}; {whys[0]}")
    return Evidence(outcomes=outcomes)


async def _left_to_wait(gs: "GotSurge", ledger: Ledger) -> float:
    """Seconds between the two readings: requests of a lost run before the copy was accepted have ended by then."""
    accepted = await ledger.accepted_at()
    settle = gs.limits.settle
    left = settle if accepted is None else settle - (ledger.now() - accepted).total_seconds()
    if left > 0:
        log.warning("an older copy of the ledger was accepted: reading the Task List again in %.0f s", left)
    return min(settle, max(0.0, left))


def _first_outcome(order: int, tasks: "Sequence[Task]") -> OrderOutcome:
    """The conclusion from the tasks of an order before it is admitted."""
    live = [task for task in tasks if task.current_status not in ENDED_EARLY]
    (task, *more) = live or tasks
    if not live or more or task.current_status is None or not task.current_status.is_past_draft:
        return OrderOutcome(order, OrderState.IN_DOUBT, error=f"{LOST}; {listed(live or tasks)} may be this order's")
    return OrderOutcome(order, OrderState.CREATED, task.id, task.current_status)
