"""The values of an order's page."""

import pytest

from gotsurge_async.simulator.board.order_page import order_page
from gotsurge_async.simulator.board.orders import HOUR, Orders

from ..kit import Client, order


@pytest.mark.parametrize(
    ("status", "days", "is_covered"),
    [("accepted", 0, True), ("accepted", 30, True), ("complete", 0, True), ("complete", 30, False)],
)
async def test_the_time_axis_covers_now(plain: Client, status: str, days: int, is_covered: bool) -> None:
    """As long as anything may happen to the order; afterwards only where the present is near."""
    (task,) = (await plain.create(order("A"))).json["tasks"]
    plain.simulator.move(task["id"], status, through=True)
    plain.simulator.advance(days * 24 * HOUR)
    service = plain.simulator._service
    (record,) = service.tasks.all()
    axis = order_page(service, record, Orders().facts(record), "")["axis"]
    assert (axis.first <= service.clock.now() <= axis.last) is is_covered
