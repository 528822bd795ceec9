"""Orders in doubt, settled by tasks that were read: only by one that names the order and no other."""

from pathlib import Path

import pytest

from gotsurge_async import Task
from gotsurge_async.bulk import Mode, OrderState, Reconciler
from gotsurge_async.simulator import Fault
from tests.support.orders import order, orders
from tests.support.pushes import Place, place


async def read_all(here: Place) -> list[Task]:
    """Every task of the account, each read by its id."""
    return [await here.gs.tasks.get(each["id"]) for each in here.simulator.tasks()]


async def settled(here: Place, run_id: str, tasks: list[Task]) -> dict[str, OrderState]:
    await Reconciler(here.gs, here.ledger).settle_by(run_id, tasks)
    return await here.states(run_id)


async def test_a_plain_partners_orders_are_settled_by_reads(tmp_path: Path) -> None:
    """What was created and read is created, each by its own task; what nobody read stays in doubt."""
    async with place(tmp_path, "plain") as here:
        run_id = await here.lose(orders(3))
        tasks = await read_all(here)
        assert await settled(here, run_id, tasks[:2]) == {
            "T-0": OrderState.CREATED,
            "T-1": OrderState.CREATED,
            "T-2": OrderState.IN_DOUBT,
        }
        for key, task_id in (await here.tasks(run_id)).items():
            assert not task_id or (await here.gs.tasks.get(task_id)).tracking_id == key
        assert (await settled(here, run_id, tasks))["T-2"] is OrderState.CREATED
        assert here.simulator.audit()["doubled"] == {}


async def test_a_cancelled_task_is_no_order(tmp_path: Path) -> None:
    """An order whose task was cancelled is cancelled, unless another of its name may be on its way."""
    async with place(tmp_path, "plain") as here:
        run_id = await here.lose(orders(1))
        (task,) = await read_all(here)
        await here.gs.tasks.cancel(task.id, reason="a test")
        assert await settled(here, run_id, await read_all(here)) == {"T-0": OrderState.CANCELLED}


async def test_two_tasks_of_one_order_are_told(tmp_path: Path) -> None:
    """An order that is there twice stays in doubt, and both are named."""
    async with place(tmp_path, "plain") as here:
        run_id = await here.lose(orders(1))
        await here.gs.tasks.create(orders(1))
        result = await Reconciler(here.gs, here.ledger).settle_by(run_id, await read_all(here))
        assert [(each.key, len(each.task_ids)) for each in result.doubled] == [("T-0", 2)]
        assert await here.states(run_id) == {"T-0": OrderState.IN_DOUBT}


async def test_another_orders_task_proves_nothing(tmp_path: Path) -> None:
    """A task that names another order, or has another pickup, or is recorded elsewhere, settles nothing."""
    async with place(tmp_path, "plain") as here:
        await here.gs.tasks.create([order("T-0", invoice_number="OTHER")])
        run_id = await here.lose([order("T-0", invoice_number="MINE")], when="before")
        assert await settled(here, run_id, await read_all(here)) == {"T-0": OrderState.IN_DOUBT}


@pytest.mark.parametrize(("tags", "proven"), [(("G-1", "G-2"), True), (("G-1", "G-1"), False)])
async def test_a_group_tag_of_one_order(tmp_path: Path, tags: tuple[str, str], proven: bool) -> None:
    """Where a task tells no other name, its group tag does if one order of the run alone has it."""
    async with place(tmp_path, "plain", tracking_id_echo="never") as here:
        run_id = await here.lose(
            [order(f"T-{number}", group_tag=tag, invoice_number=None) for number, tag in enumerate(tags)]
        )
        tasks = await read_all(here)
        assert not any(task.tracking_id or task.invoice_number for task in tasks)
        wanted = OrderState.CREATED if proven else OrderState.IN_DOUBT
        assert set((await settled(here, run_id, tasks)).values()) == {wanted}


async def test_an_invoice_number_of_two_runs(tmp_path: Path) -> None:
    """A name that an order in doubt of another run has, too, proves nothing."""
    async with place(tmp_path, "plain", tracking_id_echo="never") as here:
        first = await here.lose([order("A", invoice_number="INV")])
        second = await here.lose([order("B", invoice_number="INV")])
        tasks = await read_all(here)
        for run_id in (first, second):
            assert set((await settled(here, run_id, tasks)).values()) == {OrderState.IN_DOUBT}


async def test_a_run_that_is_being_sent(tmp_path: Path) -> None:
    """While a living process has the run, what is in doubt there is settled as a person would."""
    async with place(tmp_path, "plain") as here:
        run_id = await here.lose(orders(2))
        async with await here.ledger.hold(run_id):
            assert set((await settled(here, run_id, await read_all(here))).values()) == {OrderState.CREATED}
        assert {each.by for each in await here.ledger.decisions(run_id)} == {"a read of its task"}


async def test_a_recorded_draft_is_settled_by_its_own_task(tmp_path: Path) -> None:
    """Two-phase: what was broadcast by its recorded draft is created; what is a draft still is not."""
    async with place(tmp_path) as here:
        here.simulator.order_fault(Fault(operation="platform.drafts.broadcast", when="after", kind="reset"))
        here.simulator.order_fault(Fault(operation="platform.tasks.get", when="before", kind="status", status=503))
        run_id = await here.push(orders(2), mode=Mode.TWO_PHASE)
        here.simulator.clear_faults()
        assert set((await here.states(run_id)).values()) == {OrderState.BROADCASTING}
        assert set((await settled(here, run_id, await read_all(here))).values()) == {OrderState.CREATED}
