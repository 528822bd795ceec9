"""Orders that are pushed for the first time since an older copy of the ledger was accepted, on the Task List.

A run that the copy does not know may have sent them. So they are looked up before anything is sent.
"""

import logging
from collections.abc import Collection, Sequence

from gotsurge_async.bulk.after.lookup import ENDED_EARLY, listed, search_task_list
from gotsurge_async.bulk.ledger import Ledger, OrderOutcome, OrderState, Run
from gotsurge_async.bulk.ledger.sql.admission import LOST, Evidence
from gotsurge_async.client import GotSurge
from gotsurge_async.models.tasks import Task, TaskStatus

log: logging.Logger = logging.getLogger(__name__)


async def look_up_first_pushed(gs: GotSurge, ledger: Ledger, run: Run, orders: Collection[int]) -> Evidence:
    """What the Task List shows of some orders of a loading run: each is there, certainly not there, or in doubt.

    An order is taken to be new if the whole list was read twice, from both ends, and no task on it may be the order's.
    A plain partner has no list: then nothing is known.

    Args:
        orders: their ids.

    Raises:
        CallError: the account's token is no longer taken.
        LedgerError: the ledger cannot be read.
    """
    rows = [row async for row in run.rows() if row.id in orders]
    wait = await _left_to_wait(gs, ledger)
    findings = await search_task_list(gs, ledger, run.info, rows, rescan_after=wait)
    outcomes = {order: OrderOutcome(order, OrderState.PENDING) for order in findings.absent}
    for order, why in findings.unclear.items():
        outcomes[order] = OrderOutcome(order, OrderState.IN_DOUBT, error=f"{LOST}; {why}")
    for order, tasks in findings.tasks.items():
        outcomes[order] = _conclude(order, tasks)
    return Evidence(outcomes=outcomes)


async def _left_to_wait(gs: GotSurge, ledger: Ledger) -> float:
    """Seconds between the two readings: what a lost run sent before the copy was accepted has acted by then."""
    accepted = await ledger.accepted_at()
    settle = gs.limits.settle
    left = settle if accepted is None else settle - (ledger.now() - accepted).total_seconds()
    if left > 0:
        log.warning("an older copy of the ledger was accepted: reading the Task List again in %.0f s", left)
    return min(settle, max(0.0, left))


def _conclude(order: int, tasks: Sequence[Task]) -> OrderOutcome:
    """What the tasks of an order mean for it."""
    live = [task for task in tasks if task.current_status != TaskStatus.CANCELLED]
    active = [task for task in live if task.current_status not in ENDED_EARLY]
    if not live:  # it was taken back, and its key is free
        return OrderOutcome(order, OrderState.PENDING)
    (task, *more) = active or live
    if more or task.current_status is None or not task.current_status.is_past_draft:
        return OrderOutcome(order, OrderState.IN_DOUBT, error=f"{LOST}; {listed(live)} may be its own")
    return OrderOutcome(order, OrderState.CREATED, task.id, task.current_status)
