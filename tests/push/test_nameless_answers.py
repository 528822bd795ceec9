"""What a push makes of the answer of a create that does not say whose each task is, over real HTTP."""

from pathlib import Path

import pytest

from gotsurge_async.bulk import Mode, OrderState
from gotsurge_async.simulator import Fault
from tests.support.orders import orders
from tests.support.pushes import place

MODES = [("plain", Mode.DIRECT), ("platform", Mode.TWO_PHASE)]


@pytest.mark.parametrize(("account", "mode"), MODES)
async def test_the_tasks_are_read(tmp_path: Path, account: str, mode: Mode) -> None:
    """However the answer is ordered, each order is recorded with the task that a read says is its own."""
    async with place(tmp_path, account, answer_order="shuffled", tracking_id_echo="reads") as here:
        run_id = await here.push(orders(10), mode=mode)
        assert set((await here.states(run_id)).values()) == {OrderState.CREATED}
        for key, task_id in (await here.tasks(run_id)).items():
            assert (await here.gs.tasks.get(task_id)).tracking_id == key
        assert here.simulator.audit()["doubled"] == {}


@pytest.mark.parametrize(("account", "mode"), MODES)
async def test_where_no_read_tells_positions_do(tmp_path: Path, account: str, mode: Mode) -> None:
    """A service that names nobody, and a read that fails, leave the order in which the tasks were answered."""
    async with place(tmp_path, account, tracking_id_echo="never") as here:
        run_id = await here.push(orders(3), mode=mode)
        assert set((await here.states(run_id)).values()) == {OrderState.CREATED}


async def test_where_reads_fail_positions_do(tmp_path: Path) -> None:
    """Tasks that cannot be read are matched by their place in the answer."""
    async with place(tmp_path, "plain", tracking_id_echo="reads") as here:
        here.simulator.order_fault(Fault(operation="tasks.get", kind="status", status=404))
        run_id = await here.push(orders(3))
        here.simulator.clear_faults()
        for key, task_id in (await here.tasks(run_id)).items():
            assert (await here.gs.tasks.get(task_id)).tracking_id == key
