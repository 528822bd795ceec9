from typing import Any

import pytest

from gotsurge_async import Created, UsageError
from tests.support.orders import order, orders
from tests.support.world import world


async def test_orders_of_an_organization() -> None:
    """An order that names an organization is created for it, and listed among the partner's."""
    async with world() as place:
        organization = await place.gs.platform.organizations.create("ABC Merchant")
        created = await place.gs.platform.tasks.create([order(org_id=organization.id)])
        listed = [task async for task in place.gs.platform.tasks.list()]
        assert [task.id for task in listed] == [created.tasks[0].id]
        assert listed[0].org_id == organization.id


async def test_any_number_of_orders() -> None:
    """More than 20 orders go through in chunks, each created once."""
    async with world() as place:
        results = [result async for result in place.gs.platform.tasks.create_all(orders(25), concurrency=2)]
        assert all(isinstance(result, Created) for result in results)
        audit = place.simulator.audit()
        assert (audit["tasks"], audit["calls"]["platform.tasks.create"], audit["doubled"]) == (25, 2, {})


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_the_order_of_the_list(order: Any) -> None:
    """The list comes oldest first, or newest first, over all its pages."""
    async with world() as place:
        created = [task.id for task in (await place.gs.platform.tasks.create(orders(5))).tasks]
        listed = [task.id async for task in place.gs.platform.tasks.list(per_page=2, order=order)]
        assert listed == (created if order == "asc" else created[::-1])


async def test_another_order_is_refused() -> None:
    """What is neither asc nor desc is a usage error, before anything is sent."""
    async with world() as place:
        with pytest.raises(UsageError, match="asc"):
            place.gs.platform.tasks.list(order="up")  # type: ignore[arg-type]
        assert place.spy.requests == []
