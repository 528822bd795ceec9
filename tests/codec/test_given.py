"""`gotsurge_async.codec.given`: what a program gives, as the object that belongs there."""

import json
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import attrs
import pytest

from gotsurge_async import Address, InvalidData, Item, Money, Order, TimeWindow, codec
from gotsurge_async.codec.given import made_of
from gotsurge_async.codec.text import written_batch
from tests.support.orders import NOW, order

PLAIN: dict[str, Any] = json.loads(codec.encode(order()))
"""An order as the API writes it."""


def faults(given: Any) -> dict[str, str]:
    """What is told of an order that is none, by its path."""
    with pytest.raises(InvalidData) as caught:
        made_of(given, Order)
    assert len({problem.path for problem in caught.value.problems}) == len(caught.value.problems)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_a_dict_of_the_api_is_an_order() -> None:
    """What an order is written as is an order again, the same."""
    assert made_of(PLAIN, Order) == order()
    assert json.loads(written_batch([PLAIN, order()])[1])["tasks"] == [PLAIN, PLAIN]


def test_objects_may_stand_in_a_dict_and_dicts_in_an_object() -> None:
    """Objects, money and aware times are taken in a dict, and dicts in an order, at any depth."""
    mixed = PLAIN | {
        "from_address": order().from_address,
        "price": Money.of("5.00", "SGD"),
        "client_time_utc": NOW,
        "items": [Item(name="Rope", quantity=2, weight=12.5, weight_unit="kg")],
    }
    assert made_of(mixed, Order) == order()
    inside: Any = {
        "from_address": PLAIN["from_address"],
        "to_time_window": {"start_time_utc": NOW, "end_time_utc": "2026-01-01T08:00:00+08:00"},
        "items": PLAIN["items"],
    }
    (made,), _ = written_batch([attrs.evolve(order(), **inside)])
    assert made.from_address == order().from_address
    assert made.to_time_window == TimeWindow(start_time_utc=NOW, end_time_utc=NOW)
    assert made.items == order().items


def test_a_good_order_is_the_same_object() -> None:
    """An order that holds no dict is not copied."""
    given = order()
    assert made_of(given, Order) is given
    assert written_batch([given])[0][0] is given


@pytest.mark.parametrize(
    ("change", "path", "said"),
    [
        ({"price": 5.0}, "price", "expected a whole number of thousandths of a cent, not 5.0"),
        ({"price": "5.00"}, "price", "expected a whole number of thousandths of a cent"),
        ({"tracking_id": 7}, "tracking_id", "expected text, not 7"),
        ({"cargo_net_quantity": "2"}, "cargo_net_quantity", "expected a whole number, not '2'"),
        ({"to_address": "7 Loyang Way"}, "to_address", "expected an Address, not str '7 Loyang Way'"),
        ({"to_address": {"latitude": "1.3"}}, "to_address.latitude", "expected a number, not '1.3'"),
        ({"to_address": {"city": "x", "zip": "1"}}, "to_address.zip", "an Address has no such field"),
        ({"trackng_id": "T"}, "trackng_id", 'an Order has no such field; did you mean "tracking_id"?'),
        ({"client_time_utc": "2026-01-01T00:00:00"}, "client_time_utc", "has no time zone"),
        ({"client_time_utc": datetime(2026, 1, 1)}, "client_time_utc", "has no time zone"),  # noqa: DTZ001
        ({"client_time_utc": "tomorrow"}, "client_time_utc", "expected an RFC 3339 time"),
        ({"from_time_window": {"end_time_utc": NOW}}, "from_time_window.start_time_utc", "is required but missing"),
        ({"service_type": None}, "service_type", "is required but missing"),
        ({"items": {"name": "rope"}}, "items", "give a list or another iterable, not dict"),
        ({"items": [{"name": "rope"}, "rope"]}, "items[1]", "expected an Item, not str 'rope'"),
        ({"min_price": Money.of(1, "MYR")}, "min_price", "is in MYR, but the task's currency is SGD"),
    ],
)
def test_a_value_that_does_not_fit_is_reported_with_its_path(change: dict[str, Any], path: str, said: str) -> None:
    """Nothing is coerced and no name is guessed: each fault is InvalidData with its place and what would be right."""
    told = faults(PLAIN | change)
    assert list(told) == [path]
    assert said in told[path]


def test_several_faults_are_reported_together() -> None:
    """Every fault of every order of a call is told, in one error."""
    wrong = PLAIN | {"price": 5.0, "to_address": {"latitude": "x", "longitude": "y"}, "items": [{"weight": "1"}]}
    assert list(faults(wrong)) == ["price", "items[0].weight", "to_address.latitude", "to_address.longitude"]
    broken: Any = attrs.evolve(order(), to_contact="Bob")
    with pytest.raises(InvalidData) as caught:
        written_batch([order(), wrong, broken, None])
    paths = [problem.path for problem in caught.value.problems]
    assert "orders[1].price" in paths
    assert {"orders[2].to_contact", "orders[3]"} <= set(paths)


class Zoneless(tzinfo):
    """A zone that does not say what it is."""

    def utcoffset(self, _: datetime | None) -> timedelta | None:
        return None


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"client_time_utc": datetime.min.replace(tzinfo=timezone(timedelta(hours=8)))}, "client_time_utc"),
        ({"client_time_utc": datetime(2030, 3, 4, tzinfo=Zoneless())}, "client_time_utc"),
        ({"client_time_utc": "0001-01-01T00:00:00+08:00"}, "client_time_utc"),
        ({"client_time_utc": "2030-02-30T00:00:00Z"}, "client_time_utc"),
        ({"extra": [1]}, "extra"),
        ({"extra": "ab"}, "extra"),
    ],
)
def test_values_that_python_itself_refuses_are_reported_alike(change: dict[str, Any], path: str) -> None:
    """Times beyond all calendars, a zone without an offset, and what is no dict."""
    assert list(faults(PLAIN | change)) == [path]


def test_a_time_may_have_a_small_z() -> None:
    """As RFC 3339 allows it."""
    made = made_of(PLAIN | {"client_time_utc": "2030-03-04t00:00:00z"}, Order)
    assert made.client_time_utc == datetime(2030, 3, 4, tzinfo=UTC)


def test_what_the_document_does_not_name_stands_in_extra() -> None:
    """A field that only the service knows goes where an order keeps such fields, and is written beside the others."""
    made = made_of(PLAIN | {"extra": {"color": "red"}}, Order)
    assert made.extra == {"color": "red"}
    assert json.loads(codec.encode(made))["color"] == "red"


def test_any_object_may_be_a_dict() -> None:
    """Not only orders are made of dicts."""
    assert made_of({"zip_code": "619110"}, Address) == Address(zip_code="619110")
