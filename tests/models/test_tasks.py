"""`gotsurge_async.models.tasks`: orders as they are written, tasks as they are read."""

import pickle
import typing
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest

from gotsurge_async.errors import InvalidData
from gotsurge_async.models.answers import CreatedTasks, Task
from gotsurge_async.models.places import TimeWindow
from gotsurge_async.models.prices import PriceVehicle, PriceVehicleName
from gotsurge_async.models.tasks import (
    BroadcastName,
    BroadcastPreference,
    CargoDetail,
    Item,
    Order,
    Receipt,
    ServiceName,
    ServiceType,
    StatusName,
    TaskChanges,
    TaskFields,
    TaskStatus,
    VehicleName,
    VehiclePreference,
)
from gotsurge_async.money import Money
from tests.support.orders import NOW, order

SGD_5 = Money.of("5.00", "SGD")


def test_an_order_asks_for_what_gotsurge_wants_in_every_order() -> None:
    """The fields without a default are exactly those that the API marks as required."""
    required = {field.name for field in attrs.fields(Order) if field.default is attrs.NOTHING}
    assert required == {
        "from_address",
        "from_time_window",
        "to_address",
        "broadcast_preference",
        "vehicle_preference",
        "service_type",
        "client_time_utc",
    }


def test_an_order_takes_the_currency_of_its_amounts() -> None:
    """One currency holds for all amounts, whether it stands in the field or in the money."""
    assert order(price=SGD_5).currency == "SGD"
    bare = Money(millicents=1, currency="")
    assert order(price=bare, currency="SGD").price == Money(millicents=1, currency="SGD")
    both = order(price=bare, max_price=SGD_5)
    assert both.max_price == SGD_5
    assert both.currency == "SGD"


@pytest.mark.parametrize(
    "amounts",
    [
        {"price": SGD_5, "currency": "MYR"},
        {"price": SGD_5, "admin_fee": Money.of(1, "MYR")},
        {"min_price": SGD_5, "increment": Money.of(1, "MYR"), "price": None},
    ],
)
def test_an_order_has_one_currency(amounts: dict[str, Any]) -> None:
    """Amounts in two currencies are refused, and both are named."""
    with pytest.raises(ValueError, match=r"is in (SGD|MYR), but the task's currency is (SGD|MYR)"):
        order(**amounts)


@pytest.mark.parametrize("name", TaskFields.MONEY)
@pytest.mark.parametrize("bare", [200_000, 2.0, "2.00"])
def test_a_bare_number_is_no_money(name: str, bare: Any) -> None:
    """No amount of an order is a number whose unit nobody said."""
    with pytest.raises(InvalidData, match="must be money: give Money") as caught:
        order("T-1", **{"price": None, name: bare})
    assert [problem.path for problem in caught.value.problems] == [name]
    with pytest.raises(InvalidData) as both:
        order("T-1", price=bare, min_price=bare, max_price=SGD_5)
    assert [problem.path for problem in both.value.problems] == ["price", "min_price"]


@pytest.mark.parametrize(
    ("names", "cls"),
    [
        (BroadcastName, BroadcastPreference),
        (VehicleName, VehiclePreference),
        (ServiceName, ServiceType),
        (StatusName, TaskStatus),
        (PriceVehicleName, PriceVehicle),
    ],
)
def test_a_checker_knows_what_the_class_knows(names: Any, cls: Any) -> None:
    """The texts that an editor offers are the values of the enumeration, in its order."""
    assert typing.get_args(names) == tuple(cls)


def test_text_becomes_the_enumeration() -> None:
    """Preferences are given as text or as their class, known or not."""
    made = order(broadcast_preference="marine", vehicle_preference="hovercraft")
    assert made.broadcast_preference.known
    assert not made.vehicle_preference.known
    assert made.vehicle_preference == "hovercraft"


def test_lists_are_taken_in_any_form() -> None:
    """Items and cargo details are kept as tuples."""
    made = order(items=[Item(name="a")], cargo_details=(CargoDetail(name=str(n)) for n in range(2)))
    assert made.items == (Item(name="a"),)
    assert [detail.name for detail in made.cargo_details] == ["0", "1"]


def test_times_are_aware_and_kept_in_utc() -> None:
    """Times in any zone are kept in UTC, and a naive one is refused."""
    eight = datetime(2026, 1, 1, 8, tzinfo=timezone(timedelta(hours=8)))
    assert order(client_time_utc=eight).client_time_utc == NOW
    assert order(client_time_utc=eight).client_time_utc.tzinfo is UTC
    assert TimeWindow(start_time_utc=eight, end_time_utc=eight).start_time_utc.tzinfo is UTC
    for make in (
        lambda naive: order(client_time_utc=naive),
        lambda naive: TimeWindow(start_time_utc=NOW, end_time_utc=naive),
        lambda naive: Task(id="t", updated_at=naive),
        lambda naive: CreatedTasks(server_time=naive),
    ):
        with pytest.raises(ValueError, match="no time zone"):
            make(datetime(2026, 1, 1))  # noqa: DTZ001
    for moment in (datetime(2026, 1, 1), "2026-01-01T00:00:00Z", None):  # noqa: DTZ001
        with pytest.raises(InvalidData) as caught:
            order(client_time_utc=moment)
        assert [problem.path for problem in caught.value.problems] == ["client_time_utc"]


def test_a_task_is_an_order_and_what_came_of_it() -> None:
    """A task has every field of an order, none of them required but its id."""
    fields = attrs.fields_dict(Task)
    assert set(attrs.fields_dict(Order)) <= set(fields)
    assert [name for name, field in fields.items() if field.default is attrs.NOTHING] == ["id"]


def test_what_an_update_may_change_are_fields_of_a_task() -> None:
    """Every name of a change is a field of a task."""
    assert set(TaskChanges.__annotations__) <= set(attrs.fields_dict(Task))


@pytest.mark.parametrize("status", TaskStatus)
def test_a_status_says_whether_it_is_the_end(status: TaskStatus) -> None:
    """Drafts have not begun, and exactly the five last ones of the document are final."""
    final = {"complete", "cancelled", "expired", "unsuccessful_pickup", "unsuccessful_delivery"}
    assert status.is_terminal == (status in final)
    assert status.is_draft == (status in {"draft", "pending_broadcast"})


def test_orders_are_values() -> None:
    """Equal orders are equal, cannot be changed, and pickle."""
    assert order() == order()
    assert order() != order("T-2")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        order().tracking_id = "T-2"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(order())) == order()  # noqa: S301


def test_a_receipt_does_not_show_its_task() -> None:
    """The task's JSON is kept, and left out of the repr: it is personal, and long."""
    assert "planted" not in repr(Receipt(id="t", raw=b"planted"))
