"""`gotsurge_async.codec.receipts`: what a push keeps of an answer."""

import json

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gotsurge_async import codec
from gotsurge_async.errors import UnreadableAnswer
from gotsurge_async.models.tasks import CreatedTasks, Order, Task
from gotsurge_async.money import Money
from tests.strategies import json_values, models


def test_a_receipt_keeps_its_task_whole() -> None:
    """Each receipt names its task, and its raw JSON reads as that task, however the answer was written."""
    for body in (
        b' { "tasks" : [ {"id":"a","tracking_id":"T","price":5,"new":1} , {"id":"b"} ] , "server_time":null} ',
        b'{"tasks":{"a":{"tracking_id":"T","price":5,"new":1},"b":{"id":null}}}',
        b'{"tasks": {\n"a": {"tracking_id":"T","price":5,"new":1}, "b": {} }}',
    ):
        first, second = codec.decode_receipts(body)
        assert (first.id, first.tracking_id, second.id, second.tracking_id) == ("a", "T", "b", None)
        task = codec.decode(first.raw, Task)
        assert (task.id, task.price, task.extra) == ("a", Money(millicents=5, currency=""), {"new": 1})
        assert codec.decode(second.raw, Task).id == "b"


@pytest.mark.parametrize("value", [b'"QUJD"', b"5", b"null", b"{}"])
def test_a_field_named_raw_is_not_the_raw_task(value: bytes) -> None:
    """Whatever a task's own field `raw` holds, a receipt's `raw` is its task's JSON."""
    task = b'{"id":"a","raw":' + value + b"}"
    assert [receipt.raw for receipt in codec.decode_receipts(b'{"tasks":[' + task + b"]}")] == [task]


@settings(max_examples=25)
@given(st.lists(models(Task), max_size=3))
def test_receipts_agree_with_the_full_reading(tasks: list[Task]) -> None:
    """Receipts name what the tasks read in full name, in the same order."""
    tasks = [attrs.evolve(task, id=task.id or "id") for task in tasks]
    receipts = codec.decode_receipts(codec.encode(CreatedTasks(tasks=tuple(tasks))) if tasks else b'{"tasks":[]}')
    for receipt, task in zip(receipts, tasks, strict=True):
        assert codec.decode(receipt.raw, Task) == task
        assert (receipt.id, receipt.tracking_id, receipt.invoice_number, receipt.current_status) == (
            task.id,
            task.tracking_id,
            task.invoice_number,
            task.current_status,
        )


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
        b'{"tasks":[{"id":5}]}',
        b'{"tasks":[{"id":"a"},{"id":"b","tracking_id":[]}]}',
        b'{"tasks":{"a":5}}',
        b'{"tasks":[{"id":"a"}]',
        b'{"tasks":[{"id":"\xff"}]}',
        b'{"tasks":[{"id":"a","x":' + b"[" * 100_000,
    ],
)
def test_an_answer_without_its_tasks_is_refused(body: bytes) -> None:
    """A create's answer that does not name its tasks is an UnreadableAnswer, and no task of it is believed."""
    with pytest.raises(UnreadableAnswer, match="not the answer of a create"):
        codec.decode_receipts(body)


@given(st.binary(max_size=40) | st.builds(lambda value: json.dumps({"tasks": value}).encode(), json_values))
def test_any_answer_gives_receipts_or_our_error(body: bytes) -> None:
    """Whatever comes for a create, reading it gives receipts with ids or an UnreadableAnswer."""
    try:
        receipts = codec.decode_receipts(body)
    except UnreadableAnswer:
        return
    assert all(receipt.id for receipt in receipts)


@given(models(Order))
def test_an_order_in_json_names_itself(order: Order) -> None:
    """The names of an order that is JSON already are those of the order."""
    assert codec.decode_names(codec.encode(order)) == (order.tracking_id, order.invoice_number)
