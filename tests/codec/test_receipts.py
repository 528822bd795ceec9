"""Receipts of `gotsurge_async.codec.text`: what an answer to a create names, quickly, with each task whole."""

import json
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gotsurge_async import codec
from gotsurge_async.errors import UnreadableAnswer
from gotsurge_async.models.answers import CreatedTasks, Task
from gotsurge_async.models.tasks import Order
from gotsurge_async.money import Money
from tests.support.strategies import json_values, models


def receipts_of(body: bytes) -> list[Any]:
    """The receipts of an answer."""
    return codec.Codec().decode_receipts(body)


def test_a_receipt_keeps_its_task_whole() -> None:
    """Each receipt names its task, and its raw JSON reads as that task, however the answer was written."""
    for body in (
        b' { "tasks" : [ {"id":"a","tracking_id":"T","price":5,"new":1} , {"id":"b"} ] , "server_time":null} ',
        b'{"tasks":{"a":{"tracking_id":"T","price":5,"new":1},"b":{"id":null,"invoice_number":"I"}}}',
        b'{"tasks": {\n"a": {"tracking_id":"T","price":5,"new":1}, "b": {"group_tag":"g","invoice_number":"I"} }}',
    ):
        first, second = receipts_of(body)
        assert (first.id, first.tracking_id, second.id, second.tracking_id) == ("a", "T", "b", None)
        task = codec.decode(first.raw, Task)
        assert (task.id, task.price, task.extra) == ("a", Money(millicents=5, currency=""), {"new": 1})
        assert codec.decode(second.raw, Task).id == "b"


@pytest.mark.parametrize("value", [b'"QUJD"', b"5", b"null", b"{}"])
def test_a_field_named_raw_is_not_the_raw_task(value: bytes) -> None:
    """Whatever a task's own field `raw` holds, a receipt's `raw` is its task's JSON."""
    task = b'{"id":"a","raw":' + value + b"}"
    assert [receipt.raw for receipt in receipts_of(b'{"tasks":[' + task + b"]}")] == [task]


@settings(max_examples=25)
@given(st.lists(models(Task), max_size=3))
def test_receipts_agree_with_the_full_reading(tasks: list[Task]) -> None:
    """Receipts name what the tasks read in full name, in the same order."""
    tasks = [attrs.evolve(task, id=task.id or "id") for task in tasks]
    receipts = receipts_of(codec.encode(CreatedTasks(tasks=tuple(tasks))))
    for receipt, task in zip(receipts, tasks, strict=True):
        assert codec.decode(receipt.raw, Task) == task
        for name in ("id", "tracking_id", "invoice_number", "current_status"):
            assert getattr(receipt, name) == getattr(task, name)


def test_tasks_that_were_left_out_are_reported() -> None:
    """Tasks that cannot be told are left out, stand in ``extra``, and are told; receipts say that they are not all."""
    odd = [None, {"tracking_id": "B", "error": "bad"}]
    body = json.dumps({"tasks": [odd[0], {"id": "a", "tracking_id": "A"}, odd[1]]}).encode()
    answer = codec.decode(body, CreatedTasks)
    assert ([task.id for task in answer.tasks], answer.extra) == (["a"], {"tasks": odd})
    assert codec.unreadable(answer).keys() == {"tasks[0]", "tasks[1].id"}
    receipts = codec.Codec().decode_receipts(body)
    assert [json.loads(each.raw) for each in receipts] == [{"id": "a", "tracking_id": "A"}]
    assert not receipts.whole
    assert codec.Codec().decode_receipts(b'{"tasks":[{"id":"a"}]}').whole


@given(json_values, st.sampled_from(["current_status", "price", "driver", "version_rev", "new"]))
def test_receipts_fail_only_for_names(value: Any, name: str) -> None:
    """Whatever stands in any other field, the receipts of all tasks are read, their ids as text."""
    tasks = [{"id": "a", "tracking_id": "A", name: value}, {"id": 7, "invoice_number": 8}]
    first, second = receipts_of(json.dumps({"tasks": tasks}).encode())
    assert (first.id, first.tracking_id) == ("a", "A")
    assert (second.id, second.invoice_number) == ("7", "8")
    assert [json.loads(each.raw) for each in (first, second)] == tasks


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"tasks":null}',
        b'{"tasks":5}',
        b'{"tasks":[5]}',
        b'{"tasks":[{}]}',
        b'{"tasks":[{"id":""}]}',
        b'{"tasks":[{"id":true}]}',
        b'{"tasks":[{"id":"b","tracking_id":[1]}]}',
        b'{"tasks":[{"id":" "},null]}',
        b'{"tasks":[{"id":".."},{"id":"."}]}',
        b'{"tasks":{"message":"failed","errors":[],"count":{"n":2},"A":{"current_status":"draft"}}}',
        b'{"tasks":{"a":5}}',
        b'{"tasks":[{"id":"a"}]',
        b'{"tasks":[{"id":"\xff"}]}',
        b'{"tasks":[{"id":"a","x":' + b"[" * 100_000,
    ],
)
def test_an_answer_without_its_tasks_is_refused(body: bytes) -> None:
    """A create's answer that does not name its tasks is an UnreadableAnswer, and no task of it is believed."""
    with pytest.raises(UnreadableAnswer, match="the answer to a create call cannot be read"):
        receipts_of(body)


@given(st.binary(max_size=40) | st.builds(lambda value: json.dumps({"tasks": value}).encode(), json_values))
def test_any_answer_gives_receipts_or_our_error(body: bytes) -> None:
    """Whatever comes for a create, reading it gives receipts with ids or an UnreadableAnswer."""
    try:
        receipts = receipts_of(body)
    except UnreadableAnswer:
        return
    assert all(receipt.id for receipt in receipts)


@given(models(Order))
def test_an_order_in_json_names_itself(order: Order) -> None:
    """The names of an order that is JSON already are those of the order."""
    assert codec.decode_names(codec.encode(order)) == (order.tracking_id, order.invoice_number)
