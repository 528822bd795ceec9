"""`gotsurge_async.codec`: models to JSON and back, strict, with what is unknown kept."""

import copy
import json
import math
from datetime import UTC, datetime
from typing import Any

import attrs
import cattrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gotsurge_async import codec
from gotsurge_async.errors import InvalidData, UnreadableAnswer
from gotsurge_async.models.auth import PartnerDetail
from gotsurge_async.models.base import Model
from gotsurge_async.models.places import Address, TimeWindow
from gotsurge_async.models.platform import BroadcastRequest, UpdatedTasks
from gotsurge_async.models.tasks import (
    CreatedTasks,
    Item,
    Order,
    StatusEntry,
    Task,
    TaskBatch,
    TaskChanges,
    TaskStatus,
)
from gotsurge_async.money import Money
from tests.kit import NOW, order
from tests.strategies import MODELS, json_objects, json_values, models

any_model = st.sampled_from(MODELS).flatmap(models)


def refusal(body: bytes, cls: type[Any]) -> dict[str, str]:
    """The problems, path to message, that reading ``body`` as ``cls`` gives."""
    with pytest.raises(UnreadableAnswer) as caught:
        codec.decode(body, cls)
    return {problem.path: problem.message for problem in caught.value.problems}


# --- there and back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", MODELS)
def test_every_model_survives_json(cls: type[Model]) -> None:
    """An object of any class, with any unknown fields anywhere, is the same after JSON."""

    @settings(max_examples=12)
    @given(models(cls))
    def check(model: Model) -> None:
        assert codec.decode(codec.encode(model), cls) == model

    check()


def read(body: bytes, cls: type[Any]) -> object:
    """What reading gives: an object, or the error."""
    try:
        return codec.decode(body, cls)
    except UnreadableAnswer as error:
        return error


@given(any_model)
def test_writing_is_as_the_plain_reference_writes(model: Model) -> None:
    """The generated writers make exactly the JSON that a loop over the fields makes."""
    assert json.loads(codec.encode(model)) == reference(model)


def reference(value: Any) -> Any:
    """A model as plain values, by a loop over its fields."""
    if isinstance(value, Model):
        fields = {f: getattr(value, f.name) for f in attrs.fields(type(value)) if f.name != "extra"}
        unset = (None, ())  # what has a default is left out when it says nothing
        written = {f.name: reference(v) for f, v in fields.items() if f.default is attrs.NOTHING or v not in unset}
        return {**reference(value.extra), **written}
    if isinstance(value, Money):
        return value.millicents
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, dict):
        return {name: reference(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [reference(each) for each in value]
    return str(value) if isinstance(value, str) else value


@given(any_model)
def test_the_converter_writes_the_same(model: Model) -> None:
    """What cattrs makes of a model, inside a list too, is what `encode` writes."""
    written = msgspec.json.encode(codec.converter.unstructure([model]))
    assert json.loads(written) == [json.loads(codec.encode(model))]


def spoilt(tree: Any, data: st.DataObject) -> Any:
    """A tree with one value somewhere replaced by any JSON, or left out."""
    if isinstance(tree, dict) and tree and data.draw(st.integers(0, 4)):
        name = data.draw(st.sampled_from(sorted(tree)))
        if data.draw(st.booleans()):
            return tree | {name: spoilt(tree[name], data)}
        return {key: value for key, value in tree.items() if key != name}
    if isinstance(tree, list) and tree and data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(tree) - 1))
        return [*tree[:at], spoilt(tree[at], data), *tree[at + 1 :]]
    return data.draw(json_values)


@settings(max_examples=200)
@given(st.sampled_from(MODELS), st.data())
def test_the_fast_way_and_the_converter_agree(cls: type[Model], data: st.DataObject) -> None:
    """Of any JSON, near a model's or not, msgspec and cattrs make the same object, or both refuse it."""
    whole = json.loads(codec.encode(data.draw(models(cls))))
    tree = data.draw(st.just(whole)) if data.draw(st.booleans()) else spoilt(whole, data)
    folded = copy.deepcopy(tree)
    codec._fold(folded, cls)
    try:
        slow = codec.converter.structure(folded, cls)
    except (cattrs.BaseValidationError, ValueError, TypeError, AttributeError, KeyError):
        slow = None
    fast = read(json.dumps(tree).encode(), cls)
    if isinstance(fast, InvalidData):
        assert slow is None
        assert fast.problems
    else:
        assert fast == slow
        assert fast == msgspec.convert(folded, cls, dec_hook=codec._from_wire)


@settings(max_examples=200)
@given(st.sampled_from(MODELS), st.data())
def test_any_json_gives_a_model_or_our_error(cls: type[Model], data: st.DataObject) -> None:
    """Whatever JSON a wrong service answers, reading it gives an object or an UnreadableAnswer, nothing else."""
    whole = json.loads(codec.encode(data.draw(models(cls))))
    tree = spoilt(whole, data) if data.draw(st.booleans()) else data.draw(json_values)
    assert isinstance(read(json.dumps(tree).encode(), cls), cls | UnreadableAnswer)


@given(st.binary(max_size=60), st.sampled_from(MODELS))
def test_any_bytes_give_a_model_or_our_error(body: bytes, cls: type[Model]) -> None:
    """Whatever bytes come, reading them gives an object or an UnreadableAnswer, nothing else."""
    assert isinstance(read(body, cls), cls | UnreadableAnswer)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"id": "a\xff"}',
        b'{"id": "\\ud800"}',
        b"[" * 100_000,
        b'{"id":"a","x":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"id":"a","x":' + b"9" * 5000 + b"}",
        b'{"id":"a","distance_in_meters":1e999}',
        b'{"id":"a","distance_in_meters":1' + b"0" * 400 + b"}",
        b'{"id":"a","server_time":"0001-01-01T00:00:00+23:59"}',
        b'{"id":"a","updated_at":"9999-12-31T23:59:59-12:00"}',
        b'{"id":"a","updated_at":"2026-13-01T00:00:00Z"}',
        b'{"id":"a","updated_at":"2026-12-31T23:59:60Z"}',
    ],
)
def test_what_nearly_is_an_answer_is_refused(body: bytes) -> None:
    """Half, endless, too deep or too large: each is an UnreadableAnswer and no exception of a library."""
    with pytest.raises(UnreadableAnswer):
        codec.decode(body, Task)


def test_a_moment_that_cannot_be_kept_names_its_field() -> None:
    """A time that lies outside the calendar once it is in UTC is refused with its path."""
    body = b'{"tasks":[{"id":"a","statuses":[{"status":"x","updated_at":"0001-01-01T00:00:00+01:00"}]}]}'
    assert list(refusal(body, CreatedTasks)) == ["tasks[0].statuses[0].updated_at"]


# --- strict -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("tracking_id", "null-in-list", ""),
        ("id", None, "expected text, not None"),
        ("id", 7, "expected text, not 7"),
        ("cargo_net_quantity", "7", "expected a whole number, not '7'"),
        ("cargo_net_quantity", 12.7, "expected a whole number, not 12.7"),
        ("cargo_net_quantity", 12.0, "expected a whole number, not 12.0"),
        ("cargo_net_quantity", True, "expected a whole number, not True"),
        ("price", "2.00", "expected a whole number of thousandths of a cent, not '2.00'"),
        ("price", 2.5, "expected a whole number of thousandths of a cent, not 2.5"),
        ("price", True, "expected a whole number of thousandths of a cent, not True"),
        ("is_urgent", 1, "expected true or false, not 1"),
        ("is_urgent", "true", "expected true or false, not 'true'"),
        ("distance_in_meters", "5", "expected a number, not '5'"),
        ("distance_in_meters", False, "expected a number, not False"),
        ("items", "ab", "expected a list, not 'ab'"),
        ("items", {"a": 1}, "expected a list, not {'a': 1}"),
        ("epod", [], "expected an object, not []"),
        ("server_time", 1767225600, "expected an RFC 3339 time such as 2030-03-04T01:00:00Z, not 1767225600"),
        ("server_time", "yesterday", "expected an RFC 3339 time such as 2030-03-04T01:00:00Z, not 'yesterday'"),
        ("server_time", "2026-01-01", "expected an RFC 3339 time such as 2030-03-04T01:00:00Z, not '2026-01-01'"),
        ("current_status", 5, "expected text, not 5"),
        ("from_address", "1 Pioneer Rd", "expected an object, not '1 Pioneer Rd'"),
    ][1:],
)
def test_nothing_is_coerced(field: str, value: Any, message: str) -> None:
    """A value of another type than the field's is refused, with the path of the field."""
    body = msgspec.json.encode({"tasks": [{"id": "a"}, {"id": "b", field: value}]})
    assert refusal(body, CreatedTasks) == {f"tasks[1].{field}": message}


def test_every_fault_is_listed_with_its_path() -> None:
    """Reading goes on after the first fault: lists, nested objects and missing fields each give a line."""
    body = msgspec.json.encode(
        {
            "tasks": [
                {"id": "a", "to_address": {"latitude": "x"}, "items": [{"quantity": 1}, {"quantity": "2"}]},
                {"price": 12.7},
                "task",
            ]
        }
    )
    assert refusal(body, CreatedTasks) == {
        "tasks[0].to_address.latitude": "expected a number, not 'x'",
        "tasks[0].items[1].quantity": "expected a number, not '2'",
        "tasks[1].price": "expected a whole number of thousandths of a cent, not 12.7",
        "tasks[1].id": "is required and missing",
        "tasks[2]": "expected an object, not 'task'",
    }


@pytest.mark.parametrize("body", [b"[]", b"null", b'"task"', b"5"])
def test_the_whole_is_an_object(body: bytes) -> None:
    """JSON that is no object is refused as a whole."""
    assert list(refusal(body, Task)) == [""]


def test_a_long_value_is_shortened() -> None:
    """The message shows at most 60 characters of a value."""
    (message,) = refusal(msgspec.json.encode({"id": "a", "is_urgent": "x" * 500}), Task).values()
    assert len(message) < 100


# --- what the document leaves open ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tasks", "ids"),
    [
        ([{"id": "a"}, {"id": "b"}], ["a", "b"]),
        ({"a": {"tracking_id": "A"}, "b": {"id": "b"}}, ["a", "b"]),
        ({"id": "a", "tracking_id": "A"}, ["a"]),
        ({"id": {"tracking_id": "A"}}, ["id"]),
        ({}, []),
        ([], []),
        (None, []),
    ],
)
def test_created_tasks_come_as_list_map_or_one(tasks: Any, ids: list[str]) -> None:
    """`tasks` is read from a list, an object keyed by id, or one task, in full and as receipts."""
    body = msgspec.json.encode({"tasks": tasks, "server_time": "2026-01-01T00:00:00Z"})
    assert [task.id for task in codec.decode(body, CreatedTasks).tasks] == ids
    if tasks is not None:
        assert [receipt.id for receipt in codec.decode_receipts(body)] == ids


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-01T08:00:00+08:00", NOW),
        ("2026-01-01T00:00:00Z", NOW),
        ("2026-01-01T00:00:00.000000Z", NOW),
        ("2026-01-01T00:00:00", NOW),
        ("2026-01-01 00:00:00Z", NOW),
        ("2025-12-31T14:30:00.25-09:30", NOW.replace(microsecond=250_000)),
        ("2026-01-01T00:00:00.123456789Z", NOW.replace(microsecond=123_457)),
    ],
)
def test_times_are_read_in_any_zone_and_kept_in_utc(text: str, moment: datetime) -> None:
    """An offset is applied, a fraction kept to the microsecond, and a time without a zone taken for UTC."""
    body = msgspec.json.encode({"id": "a", "server_time": text, "statuses": [{"status": "x", "updated_at": text}]})
    task = codec.decode(body, Task)
    window = codec.decode(msgspec.json.encode({"start_time_utc": text, "end_time_utc": text}), TimeWindow)
    times = [task.server_time, task.statuses[0].updated_at, window.start_time_utc, window.end_time_utc]
    assert times == [moment] * 4
    assert all(time is not None and time.tzinfo is UTC for time in times)


@pytest.mark.parametrize(
    ("fields", "revision"),
    [
        ({"version_rev": "0-a"}, "0-a"),
        ({"_rev": "0-b"}, "0-b"),
        ({"rev": "0-c"}, "0-c"),
        ({"version_rev": "0-a", "_rev": "0-b"}, "0-a"),
        ({"version_rev": None, "_rev": "0-b"}, "0-b"),
        ({"_rev": 5}, None),
        ({}, None),
    ],
)
def test_a_revision_is_read_under_any_of_its_names(fields: dict[str, Any], revision: str | None) -> None:
    """`version_rev`, `_rev` and `rev` are one field, in this order; what is no text is kept as an unknown field."""
    task = codec.decode(msgspec.json.encode({"id": "a", **fields}), Task)
    assert task.version_rev == revision
    assert ("_rev" in task.extra) == (fields.get("_rev") not in (None, revision))


def test_updated_tasks_may_be_ids() -> None:
    """`updated_tasks` is read from ids and from objects, mixed too."""
    updated = codec.decode(b'{"updated_tasks":["a",{"id":"b","tracking_id":"B"}]}', UpdatedTasks).updated_tasks
    assert [(task.id, task.tracking_id) for task in updated] == [("a", None), ("b", "B")]


def test_null_lists_are_read_as_none() -> None:
    """A list that comes as null is an empty one."""
    task = codec.decode(b'{"id":"a","items":null,"statuses":null,"attachments":null}', Task)
    assert (task.items, task.statuses, task.attachments) == ((), (), ())


def test_an_unknown_status_is_kept_as_text() -> None:
    """A value that the document does not list is kept, equals its text, and is written back."""
    task = codec.decode(b'{"id":"a","current_status":"lost_at_sea"}', Task)
    assert task.current_status == "lost_at_sea"
    assert isinstance(task.current_status, TaskStatus)
    assert not task.current_status.known
    assert not task.current_status.is_terminal
    assert codec.encode(task) == b'{"id":"a","current_status":"lost_at_sea"}'


def test_unknown_fields_are_kept_and_written_back() -> None:
    """What a class does not name stays where it was, also under the name of the place where it is kept."""
    body = b'{"id":"a","extra":{"id":1},"new":[1,null],"driver":{"name":"Ng","extra":null,"rank":2}}'
    task = codec.decode(body, Task)
    assert task.extra == {"extra": {"id": 1}, "new": [1, None]}
    assert task.driver is not None
    assert task.driver.extra == {"extra": None, "rank": 2}
    assert json.loads(codec.encode(task)) == json.loads(body)


def test_money_takes_the_currency_beside_it() -> None:
    """Amounts are read in the task's currency; without one they keep none."""
    task = codec.decode(b'{"id":"a","price":200000,"min_price":150000,"currency":"SGD"}', Task)
    assert (task.price, task.min_price) == (Money.of(2, "SGD"), Money.of("1.50", "SGD"))
    bare = codec.decode(b'{"id":"a","price":200000,"currency":""}', Task)
    assert bare.price == Money(millicents=200_000, currency="")
    odd = codec.decode(b'{"id":"a","price":200000,"currency":"s$"}', Task)
    assert odd.price is not None
    assert odd.price.currency == "s$"


def test_secrets_are_in_no_repr() -> None:
    """An answer's secret key is read and written, and shows in no repr."""
    detail = codec.decode(b'{"id":"p","secret_key":"planted"}', PartnerDetail)
    assert detail.secret_key == "planted"
    assert "planted" not in repr(detail)


# --- receipts ---------------------------------------------------------------------------------------------------------


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


# --- writing ----------------------------------------------------------------------------------------------------------


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
