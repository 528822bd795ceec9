"""A Task List that shows only the id, tracking id and status of each task: the rest is read by the tasks' ids."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async import Money
from gotsurge_async.after.audit_notes import Kind
from gotsurge_async.bulk import Mode, OrderState, Reconciler
from gotsurge_async.simulator import Fault
from tests.after.test_another_orders_task import reads_tell
from tests.after.test_audit import Auditor
from tests.after.test_odd_lists import list_tells
from tests.support.orders import order, orders, window
from tests.support.pushes import place

SHOWN = ("id", "tracking_id", "current_status")


def short(page: dict[str, Any]) -> dict[str, Any]:
    """A page with short tasks."""
    return page | {"tasks": [{name: task.get(name) for name in SHOWN} for task in page["tasks"]]}


async def test_an_audit_sees_what_the_list_does_not_show(tmp_path: Path) -> None:
    """A person has changed the price of one of two tasks: it is a finding, and each task was read by its id."""
    async with place(tmp_path) as here:
        run_id = await here.push(orders(2), mode=Mode.TWO_PHASE)
        task = await here.gs.platform.tasks.get((await here.tasks(run_id))["T-1"])
        await here.gs.platform.tasks.update(task, price=Money.of("9.00", "SGD"))
        auditor = Auditor(here, tmp_path)
        before = auditor.calls()
        with list_tells(here.gs, short):
            (finding,) = await auditor.find(rescan_after=0)
        assert (finding.key, finding.kind, auditor.audit.incomplete) == ("T-1", Kind.CHANGED, "")
        assert "price was sent as" in finding.details
        assert (auditor.calls() - before)["platform.tasks.get"] == 3  # that of T-1 twice


@pytest.mark.parametrize("status", ["accepted", "complete"])
async def test_an_older_task_with_another_pickup_proves_nothing(tmp_path: Path, status: str) -> None:
    """The order with its tracking id, whose create never acted, stays in doubt."""
    async with place(tmp_path) as here:
        older = order("T-0", from_time_window=window(timedelta(hours=2)))
        (task,) = (await here.gs.tasks.create([older])).tasks
        here.simulator.move(task.id, status, through=True)
        await here.push([order("T-9")])  # the ledger is not new: nothing is looked up before it sends
        run_id = await here.lose([order("T-0")], when="before")
        with list_tells(here.gs, short):
            (doubt,) = (await Reconciler(here.gs, here.ledger).reconcile(run_id)).in_doubt
        assert doubt.reason == f"task {task.id} may be this order's, or another order's"


@pytest.mark.parametrize("detail", ["whole", "nameless", "another order's", "unreadable"])
async def test_the_task_of_an_order_in_doubt_is_read(tmp_path: Path, detail: str) -> None:
    """It proves the order unless the read fails or contradicts the list; whole tasks on a list are not read."""
    async with place(tmp_path) as here:
        run_id = await here.lose(orders(1))
        if detail == "unreadable":
            here.simulator.order_fault(Fault(operation="platform.tasks.get", kind="status", status=503))
        told = {"nameless": {"tracking_id": ""}, "another order's": {"tracking_id": "T-9"}}.get(detail, {})
        with list_tells(here.gs, short), reads_tell(here.gs, **told):
            await Reconciler(here.gs, here.ledger).reconcile(run_id)
            assert await here.absent(run_id) == set()
        proven = detail in ("whole", "nameless")
        assert await here.states(run_id) == {"T-0": OrderState.CREATED if proven else OrderState.IN_DOUBT}


async def test_a_whole_task_on_a_list_is_not_read(tmp_path: Path) -> None:
    """Settling an order costs the pages of the list alone."""
    async with place(tmp_path) as here:
        run_id = await here.lose(orders(3))
        await Reconciler(here.gs, here.ledger).reconcile(run_id)
        assert "platform.tasks.get" not in here.simulator.audit()["calls"]
        assert set((await here.states(run_id)).values()) == {OrderState.CREATED}
