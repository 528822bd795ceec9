"""`gotsurge_async.codec.text`: what is written, byte for byte, and what JSON has no form for."""

import json
import math
from decimal import Decimal
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gotsurge_async import codec
from gotsurge_async.codec.given import misfits
from gotsurge_async.errors import InvalidData
from gotsurge_async.models.answers import Task
from gotsurge_async.models.base import NOT_GIVEN
from gotsurge_async.models.places import Address
from gotsurge_async.models.tasks import Item, Order, TaskBatch, TaskChanges
from gotsurge_async.money import Money
from tests.support.orders import NOW, WIRE, order
from tests.support.strategies import json_objects, models


def test_an_order_is_written_as_the_document_has_it() -> None:
    """None is left out, money is thousandths of a cent, times are RFC 3339 in UTC, whole numbers stay whole."""
    text = codec.encode(order())
    assert b'"quantity":2,' in text
    assert json.loads(text) == WIRE


def test_empty_lists_are_written_as_they_came() -> None:
    """A list that was given empty is written empty; one that was not given is not written."""
    given_none = order(items=[])
    assert json.loads(codec.encode(given_none))["items"] == []
    assert codec.decode(codec.encode(given_none), Order).items is not NOT_GIVEN
    assert "cargo_details" not in json.loads(codec.encode(given_none))


@settings(max_examples=25)
@given(st.lists(models(Order), min_size=1, max_size=3))
def test_a_batch_of_encoded_orders_is_the_batch_encoded(orders: list[Order]) -> None:
    """Joining orders that are JSON already gives the very bytes of encoding them together."""
    assert codec.encode_batch([codec.encode(each) for each in orders]) == codec.encode(TaskBatch(tasks=tuple(orders)))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "4", b"4", [4]])
def test_what_is_no_number_is_not_written_for_one(value: Any) -> None:
    """Not-a-number, infinity and text are refused with their field, not written as null or for the service to guess."""
    for changes in ({"items": [Item(quantity=value)]}, {"to_address": Address(latitude=value)}):
        for model in (order(**changes), TaskBatch(tasks=(order(**changes),))):
            with pytest.raises(InvalidData, match=r"(quantity|latitude): (expected a number, not|is nan|is -?inf)"):
                codec.encode(model)


def test_any_kind_of_number_is_written() -> None:
    """Numbers, decimals too, are written as JSON has them."""
    for value in (4, 4.5, True, Decimal("4.50")):
        model = order(items=[Item(quantity=value)])  # type: ignore[arg-type]
        assert codec.encode(model) == msgspec.json.encode(codec.unstructure(model))


def test_null_in_a_free_object_is_written() -> None:
    """What is null on purpose, and the word itself, are written as they are."""
    written = json.loads(codec.encode(order(epod={"photo": None}, group_tag="null")))
    assert written["epod"] == {"photo": None}
    assert written["group_tag"] == "null"


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    "extra",
    [{"x": object()}, {"x": {1, 2}.__iter__()}, {"x": "\ud800"}, {"x": 1 + 2j}, {"x": ENDLESS}],
    ids=["object", "iterator", "surrogate", "complex", "endless"],
)
def test_what_json_has_no_form_for_is_refused(extra: dict[str, Any]) -> None:
    """A value in `extra` that is no JSON is InvalidData, and no exception of a library."""
    with pytest.raises(InvalidData, match="cannot be written as JSON"):
        codec.encode(Item(extra=extra))


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
        "epod": {"photo": None},
    }
    assert json.loads(codec.encode(codec.unstructure_changes(changes))) == {
        "tracking_id": None,
        "price": 300_000,
        "to_address": {"city": "Singapore"},
        "client_time_utc": "2026-01-01T00:00:00Z",
        "epod": {"photo": None},
        "currency": "SGD",
    }
    with pytest.raises(InvalidData, match="currency: one update contains amounts in MYR and SGD"):
        codec.unstructure_changes({"price": Money.of(2, "SGD"), "min_price": Money.of(2, "MYR")})


@pytest.mark.parametrize(
    ("body", "whole"), [(b"{}", True), (b" 5 ", True), (b"{", False), (b"", False), (b"{} {}", False)]
)
def test_whole_json_is_known(body: bytes, whole: bool) -> None:
    """`is_json` tells one whole JSON value from anything else."""
    assert codec.is_json(body) is whole


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"epod": {"weights": [1.5, math.nan]}}, r"epod\.weights\[1\]"),
        ({"extra": {"odd": {"deep": math.inf}}}, r"odd\.deep"),
    ],
)
def test_no_number_in_an_open_field_is_refused(fields: dict[str, Any], path: str) -> None:
    """Infinity and not-a-number inside an object without a form would be written as null, which clears something."""
    with pytest.raises(InvalidData, match=path):
        codec.encode(Task(id="t-1", **fields))


WRONG: dict[str, Any] = {
    "from_address": "7 Loyang Way",
    "to_address": {"street_address": "x"},
    "from_time_window": {"start_time_utc": NOW},
    "to_contact": "Bob",
    "items": ({"name": "rope"}, None),
}
"""Values that a program may well put where an object belongs."""


@pytest.mark.parametrize("names", [[name] for name in WRONG] + [list(WRONG)], ids="+".join)
def test_a_value_that_is_not_an_object_is_reported_with_its_path(names: list[str]) -> None:
    """Text or a dict where an object belongs is InvalidData before anything is sent, all of them at once."""
    wrong = attrs.evolve(order(), **{name: WRONG[name] for name in names})
    with pytest.raises(InvalidData) as caught:
        codec.encode(TaskBatch(tasks=(order(), wrong)))
    places = {problem.path.removeprefix("tasks[1].").partition("[")[0] for problem in caught.value.problems}
    assert places == set(names)
    assert "expected an Address, not str '7 Loyang Way'" in str(caught.value) or "from_address" not in names


@pytest.mark.slow
@given(models(Order))
def test_an_order_that_can_be_written_has_no_misfits(made: Order) -> None:
    """What is written is never told to be wrong."""
    try:
        codec.encode(made)
    except InvalidData:
        return
    assert misfits(made) == []
