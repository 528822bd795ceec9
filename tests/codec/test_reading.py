"""`gotsurge_async.codec.reading` and `converting`: strict, and the fast way as the slow one."""

import copy
import json
from datetime import datetime
from typing import Any

import attrs
import cattrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gotsurge_async import codec
from gotsurge_async.codec.converting import converter
from gotsurge_async.codec.shapes import fold, money_from_wire
from gotsurge_async.errors import InvalidData, UnreadableAnswer
from gotsurge_async.models.base import Model
from gotsurge_async.models.tasks import (
    CreatedTasks,
    Task,
)
from gotsurge_async.money import Money
from tests.strategies import MODELS, json_values, models

any_model = st.sampled_from(MODELS).flatmap(models)


def refusal(body: bytes, cls: type[Any]) -> dict[str, str]:
    """The problems, path to message, that reading ``body`` as ``cls`` gives."""
    with pytest.raises(UnreadableAnswer) as caught:
        codec.decode(body, cls)
    return {problem.path: problem.message for problem in caught.value.problems}


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
        # What has a default is left out when it says nothing.
        said = {f: v for f, v in fields.items() if f.default is attrs.NOTHING or (v is not f.default and v != ())}
        written = {f.name: reference(v) for f, v in said.items()}
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
    written = msgspec.json.encode(converter.unstructure([model]))
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
    fold(folded, cls)
    try:
        slow = converter.structure(folded, cls)
    except (cattrs.BaseValidationError, ValueError, TypeError, AttributeError, KeyError):
        slow = None
    fast = read(json.dumps(tree).encode(), cls)
    if isinstance(fast, InvalidData):
        assert slow is None
        assert fast.problems
    else:
        assert fast == slow
        assert fast == msgspec.convert(folded, cls, dec_hook=money_from_wire)


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
