"""The fast way of orders and tasks gives what the general way gives."""

import json
import math
from decimal import Decimal
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gotsurge_async import Address, InvalidData, Item, Order, Task, codec
from gotsurge_async.codec.tasks import MOST_MORE, reader
from gotsurge_async.codec.wires import packer
from gotsurge_async.models.base import Model
from gotsurge_async.models.platform import TaskPage
from gotsurge_async.models.tasks import CreatedTasks, TaskBatch
from tests.kit import order
from tests.strategies import models


def bare(value: Any, *, but: type[Model] | None = None) -> Any:
    """The same without unknown fields, here and below; those of ``but`` stay."""
    if isinstance(value, tuple):
        return tuple(bare(each, but=but) for each in value)
    if not isinstance(value, Model):
        return value
    fields: dict[str, Any] = {
        field.name: bare(getattr(value, field.name), but=but) for field in attrs.fields(type(value))
    }
    return type(value)(**(fields if but is type(value) else fields | {"extra": {}}))


@settings(max_examples=60)
@given(models(Order) | models(TaskBatch))
def test_orders_are_written_the_same(model: Any) -> None:
    """Without unknown fields a wire carries every order, and makes the very bytes of the general way."""
    plain = bare(model)
    general = msgspec.json.encode(codec.unstructure(plain))
    cls: Any = type(model)
    assert msgspec.json.encode(packer(cls)(plain)) == general == codec.encode(plain)


@settings(max_examples=60)
@given(st.sampled_from([Task, CreatedTasks, TaskPage]), st.data())
def test_tasks_are_read_the_same(cls: Any, data: st.DataObject) -> None:
    """Unless something unknown stands elsewhere than in a task itself, a wire reads what the general way reads."""
    body = codec.encode(bare(data.draw(models(cls)), but=Task))
    read = reader.__wrapped__(cls)
    assert read is not None
    for _ in range(2):  # the second time it knows the fields that no class names
        assert read(body) == codec.structure(msgspec.json.decode(body), cls)


@pytest.mark.parametrize(
    "body",
    [
        b'{"tasks":[{"id":"a","driver":{"rank":2}}]}',
        b'{"tasks":[{"id":"a"}],"note":"new"}',
        b'{"tasks":[{"id":"a","items":null}]}',
        b'{"tasks":[{"id":"a","_rev":"0-b"}]}',
        b'{"tasks":{"a":{"price":5}}}',
        b'{"tasks":[{"id":"a","price":"5"}]}',
        b'{"tasks":[{"id":"a","new":"\xff"}]}',
        b'{"tasks":[{"id":"a"}]',
    ],
    ids=["unknown below", "unknown above", "null list", "other revision", "keyed", "wrong type", "no text", "cut off"],
)
def test_the_unusual_is_left_to_the_general_way(body: bytes) -> None:
    """What a wire cannot carry, or is wrong, raises in the fast reader, and `decode` reads it or says what is wrong."""
    read = reader(CreatedTasks)
    assert read is not None
    with pytest.raises((msgspec.MsgspecError, ValueError)):
        read(body)
    try:
        general: Any = codec.structure(msgspec.json.decode(body), CreatedTasks)
    except (msgspec.MsgspecError, ValueError, InvalidData):
        with pytest.raises(InvalidData):
            codec.decode(body, CreatedTasks)
    else:
        assert codec.decode(body, CreatedTasks) == general


def test_unknown_fields_of_a_task_are_kept_by_the_fast_way() -> None:
    """What a task does not name stands in its `extra`, whatever it is, and in the right task."""
    read = reader(CreatedTasks)
    assert read is not None
    created = read(b'{"tasks":[{"id":"a","new":{"x":[1,null]},"extra":1},{"id":"b"},{"rank":2.5,"id":"c"}]}')
    assert [task.extra for task in created.tasks] == [{"new": {"x": [1, None]}, "extra": 1}, {}, {"rank": 2.5}]


def test_fields_that_were_met_before_are_read_with_the_rest() -> None:
    """However the unknown fields of tasks come and go, also more of them than are remembered, all are kept."""
    read = reader.__wrapped__(CreatedTasks)
    assert read is not None
    for number in range(2 * MOST_MORE):
        for extra in ({f"new-{number}": number}, {"new-0": None, "class": [1]}, {}):
            body = msgspec.json.encode({"tasks": [{"id": "a", **extra}, {"id": "b"}]})
            assert [task.extra for task in read(body).tasks] == [extra, {}]


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_number_that_json_has_no_form_for_is_refused(number: float) -> None:
    """Deep in an order, too, not-a-number is told with its field, and never written as null."""
    spoilt: tuple[dict[str, Any], ...] = ({"items": [Item(quantity=number)]}, {"to_address": Address(latitude=number)})
    for changes in spoilt:
        for model in (order(**changes), TaskBatch(tasks=(order(**changes),))):
            with pytest.raises(InvalidData, match=r"quantity|latitude"):
                codec.encode(model)


@pytest.mark.parametrize("value", ["4", b"4", [4]])
def test_what_is_no_number_is_not_written_for_one(value: Any) -> None:
    """The service would be left to guess what a text in the place of a number means."""
    for changes in ({"items": [Item(quantity=value)]}, {"total_item_weight": value}):
        for model in (order(**changes), TaskBatch(tasks=(order(**changes),))):
            with pytest.raises(InvalidData, match="must be real number"):
                codec.encode(model)


def test_any_kind_of_number_is_written_as_the_general_way_writes_it() -> None:
    """Also what no wire carries, such as decimals."""
    for value in (4, 4.5, True, Decimal("4.50")):
        model = order(items=[Item(quantity=value)])  # type: ignore[arg-type]
        assert codec.encode(model) == msgspec.json.encode(codec.unstructure(model))


def test_null_in_a_free_object_is_written() -> None:
    """What is null on purpose, and the word itself, are written as they are."""
    written = json.loads(codec.encode(order(epod={"photo": None}, group_tag="null")))
    assert written["epod"] == {"photo": None}
    assert written["group_tag"] == "null"


def test_only_tasks_and_lists_of_them_have_a_fast_reader() -> None:
    """Other classes have none, and are read the general way."""
    assert reader(Address) is None
    assert codec.decode(b'{"city":"Singapore"}', Address) == Address(city="Singapore")
