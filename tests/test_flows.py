"""Whole flows of the client against a simulator over real HTTP; commands, pushes and single calls have their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import pytest

from gotsurge_async import Created, GotSurge, NotFound, TaskStatus
from gotsurge_async.clock import SystemClock
from gotsurge_async.simulator import Simulator, SimulatorOptions
from gotsurge_async.testing import simulated
from tests.support.orders import NOW, order


class January(SystemClock):
    """The machine's time, but that it is always the same day; the orders of the tests are for the next one."""

    def now(self) -> datetime:
        return NOW


@asynccontextmanager
async def world(**switches: str) -> AsyncIterator[tuple[Simulator, GotSurge]]:
    """A simulator whose time is `NOW` and a client that has signed in to it with a code."""
    async with (
        Simulator(options=SimulatorOptions.from_mapping(switches), clock=January()) as simulator,
        simulated(simulator=simulator, clock=January()) as gs,
    ):
        yield simulator, gs


async def test_an_order_s_life() -> None:
    """An order is created, read, cancelled, and cancelled again without an error."""
    async with world() as (_, gs):
        made = await gs.tasks.create([order("T-0")])
        task_id = made.tasks[0].id
        read = await gs.tasks.get(task_id)
        assert (read.id, read.tracking_id, read.current_status) == (task_id, "T-0", TaskStatus.BROADCASTING)
        assert read.price == order().price
        assert read.from_time_window == order().from_time_window
        assert read.to_contact == order().to_contact
        await gs.tasks.cancel(task_id, reason="the vessel sails tomorrow")
        assert (await gs.tasks.get(task_id)).current_status == TaskStatus.CANCELLED
        assert (await gs.tasks.cancel(task_id, reason="again")).message == "the task is cancelled"
        with pytest.raises(NotFound):
            await gs.tasks.get("00000000-0000-0000-0000-000000000000")


@pytest.mark.parametrize(
    ("switch", "names"),
    [({"answer_order": "shuffled"}, {}), ({"tracking_id_echo": "reads"}, {"invoice_number": None})],
)
async def test_a_shuffled_and_silent_service_is_matched_as_far_as_it_can_be(
    switch: dict[str, str], names: dict[str, None]
) -> None:
    """With answers out of order each order has its own task, and where nothing is echoed it stands by its place."""
    async with world(**switch) as (simulator, gs):
        results = [result async for result in gs.push(order(f"T-{number}", **names) for number in range(60))]
        assert simulator.audit()["by_tracking_id"] == {f"T-{number}": 1 for number in range(60)}
        assert len(results) == 60
        for result in results:
            assert isinstance(result, Created)
            assert (await gs.tasks.get(result.receipt.id)).tracking_id == result.order.tracking_id
