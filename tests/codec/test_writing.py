"""`gotsurge_async.codec.writing`: models to JSON."""

import json
import math
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gotsurge_async import codec
from gotsurge_async.errors import InvalidData
from gotsurge_async.models.places import Address
from gotsurge_async.models.platform import BroadcastRequest
from gotsurge_async.models.tasks import (
    Item,
    Order,
    StatusEntry,
    TaskBatch,
    TaskChanges,
)
from gotsurge_async.money import Money
from tests.kit import NOW, order
from tests.strategies import MODELS, json_objects, models

any_model = st.sampled_from(MODELS).flatmap(models)


def test_an_order_is_written_as_the_document_has_it() -> None:
    """None is left out, money is thousandths of a cent, times are RFC 3339 in UTC."""
    assert json.loads(codec.encode(order())) == {
        "tracking_id": "T-1",
        "from_address": {"street_address": "1 Pioneer Rd", "country": "SG", "latitude": 1.3, "longitude": 103.7},
        "from_time_window": {"start_time_utc": "2026-01-02T00:00:00Z", "end_time_utc": "2026-01-02T02:00:00Z"},
        "from_contact": {"name": "Ng", "phone": "+6581234567"},
        "to_address": {"street_address": "Marina South Pier", "country": "SG", "latitude": 1.27, "longitude": 103.86},
        "to_time_window": {"start_time_utc": "2026-01-02T03:00:00Z", "end_time_utc": "2026-01-02T05:00:00Z"},
        "to_contact": {"name": "Master", "vessel_imo": 9074729, "vessel_name": "MV EXAMPLE"},
        "broadcast_preference": "all",
        "vehicle_preference": "van_1.7m",
        "service_type": "ftl",
        "currency": "SGD",
        "price": 500_000,
        "items": [{"name": "Rope", "quantity": 2, "weight": 12.5, "weight_unit": "kg"}],
        "client_time_utc": "2026-01-01T00:00:00Z",
        "client_timezone": "Asia/Singapore",
    }


@settings(max_examples=25)
@given(st.lists(models(Order), min_size=1, max_size=3))
def test_a_batch_of_encoded_orders_is_the_batch_encoded(orders: list[Order]) -> None:
    """Joining orders that are JSON already gives the very bytes of encoding them together."""
    assert codec.encode_batch([codec.encode(each) for each in orders]) == codec.encode(TaskBatch(tasks=tuple(orders)))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_json_has_no_number_for_is_refused(number: float) -> None:
    """Not-a-number and infinity are refused with their field, not written as null."""
    for model in (Item(name="Rope", quantity=number), Address(latitude=number)):
        with pytest.raises(InvalidData, match=r"cannot be written as JSON: (quantity|latitude)"):
            codec.encode(model)


@pytest.mark.parametrize(
    "extra",
    [{"x": object()}, {"x": {1, 2}.__iter__()}, {"x": "\ud800"}, {"x": 1 + 2j}],
    ids=["object", "iterator", "surrogate", "complex"],
)
def test_what_json_has_no_form_for_is_refused(extra: dict[str, Any]) -> None:
    """A value in `extra` that is no JSON is InvalidData, and no exception of a library."""
    with pytest.raises(InvalidData, match="cannot be written as JSON"):
        codec.encode(Item(extra=extra))


def test_an_endless_value_is_refused() -> None:
    """A value that holds itself is InvalidData."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InvalidData, match="cannot be written as JSON"):
        codec.encode(Item(extra={"x": endless}))


@given(json_objects)
def test_plain_values_are_written_as_they_are(value: dict[str, Any]) -> None:
    """What is no model is written as JSON as it stands."""
    assert json.loads(codec.encode(value)) == value


def test_changes_say_what_is_cleared() -> None:
    """In an update None stays and clears, what is not given is absent, and the currency of amounts is written."""
    changes: TaskChanges = {
        "tracking_id": None,
        "price": Money.of("3.00", "SGD"),
        "to_address": Address(city="Singapore"),
        "client_time_utc": NOW,
    }
    assert json.loads(codec.encode(codec.unstructure_changes(changes))) == {
        "tracking_id": None,
        "price": 300_000,
        "to_address": {"city": "Singapore"},
        "client_time_utc": "2026-01-01T00:00:00Z",
        "currency": "SGD",
    }
    with pytest.raises(InvalidData, match="currency: amounts in MYR and SGD"):
        codec.unstructure_changes({"price": Money.of(2, "SGD"), "min_price": Money.of(2, "MYR")})


@pytest.mark.parametrize(
    ("body", "whole"), [(b"{}", True), (b" 5 ", True), (b"{", False), (b"", False), (b"{} {}", False)]
)
def test_whole_json_is_known(body: bytes, whole: bool) -> None:
    """`is_json` tells one whole JSON value from anything else."""
    assert codec.is_json(body) is whole


def test_ids_are_written_as_a_list() -> None:
    """A request of ids alone is written under its name."""
    assert codec.encode(BroadcastRequest(task_ids=("a", "b"))) == b'{"task_ids":["a","b"]}'


def test_times_are_aware() -> None:
    """A naive time is refused where a model is made by hand."""
    with pytest.raises(ValueError, match="no time zone: give an aware datetime"):
        StatusEntry(status="x", updated_at=datetime(2026, 1, 1))  # noqa: DTZ001
