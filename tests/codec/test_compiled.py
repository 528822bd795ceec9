"""`gotsurge_async.codec.compiled`: the fast way gives what plain code gives."""

import json
from datetime import datetime
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gotsurge_async import codec
from gotsurge_async.codec.compiled import Structs
from gotsurge_async.codec.converters import Unfit, converter
from gotsurge_async.models.answers import Driver, Task
from gotsurge_async.models.base import NOT_GIVEN, Model
from gotsurge_async.money import Money
from tests.support.strategies import MODELS, json_values, models


class NothingIsUsual(Structs):
    """Structs that no answer fits: everything is read field by field."""

    def _of(self, cls: Any) -> Any:
        return msgspec.defstruct(cls.__name__, [("never", int)])


PLAIN = {strict: converter(NothingIsUsual({}), strict=strict) for strict in (True, False)}


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


def outcome(made: Any, tree: Any, cls: type[Model]) -> Any:
    """What a converter makes of a tree: an object, or what is wrong."""
    try:
        return made.structure(tree, cls)
    except Unfit as error:
        return error.problems


@pytest.mark.slow
@settings(max_examples=300)
@given(st.sampled_from(MODELS), st.data())
def test_the_fast_way_reads_and_checks_as_plain_code(cls: type[Model], data: st.DataObject) -> None:
    """Of any JSON, near a model's or not, both make the same object, or find the same faults."""
    whole = json.loads(codec.encode(data.draw(models(cls))))
    tree = whole if data.draw(st.booleans()) else spoilt(whole, data)
    for strict, fast in ((False, codec.Codec().reading), (True, codec.checking)):
        mine, reference = outcome(fast, tree, cls), outcome(PLAIN[strict], tree, cls)
        assert mine == reference
        if isinstance(mine, Model):
            assert codec.encode(mine) == codec.encode(reference)


@settings(max_examples=100)
@given(st.sampled_from(MODELS).flatmap(models))
def test_writing_is_as_the_plain_reference_writes(model: Model) -> None:
    """The compiled hooks make exactly the JSON that a loop over the fields makes."""
    assert json.loads(codec.encode(model)) == reference(model)


def reference(value: Any) -> Any:
    """A model as plain values, by a loop over its fields."""
    if isinstance(value, Model):
        fields = {f: getattr(value, f.name) for f in attrs.fields(type(value)) if f.name != "extra"}
        said = {f: v for f, v in fields.items() if v is not None and v is not NOT_GIVEN and v is not f.default}
        return {**reference(value.extra), **{f.name: reference(v) for f, v in said.items()}}
    if isinstance(value, Money):
        return value.millicents
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, dict):
        return {name: reference(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [reference(each) for each in value]
    return str(value) if isinstance(value, str) else value


def test_what_is_read_is_frozen_and_of_its_class() -> None:
    """An object that was filled fast is like any other: its class, its repr, and no attribute that can be set."""
    task = codec.decode(b'{"id":"a","driver":{"name":"Ng"}}', Task)
    made = Task(id="a", driver=Driver(name="Ng"))
    assert (type(task), type(task.driver)) == (Task, Driver)
    assert (task, repr(task)) == (made, repr(made))
    for name in ("id", "driver"):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(task, name, None)
