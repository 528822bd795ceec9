"""Any model, and any JSON, for hypothesis."""

import functools
import types
import typing
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
from hypothesis import strategies as st

from gotsurge_async.models import auth, places, platform, prices, tasks
from gotsurge_async.models.base import Model, OpenEnum
from gotsurge_async.models.tasks import TaskFields
from gotsurge_async.money import Money

MODELS: list[type[Model]] = sorted(
    {
        value
        for module in (auth, places, platform, prices, tasks)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Model) and value not in (Model, TaskFields)
    },
    key=lambda cls: cls.__name__,
)
"""Every class of the API's objects."""

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
whole = st.integers(-(2**70), 2**70)
instants = st.datetimes(timezones=st.just(UTC)) | st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone itself
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=8)), timezone(timedelta(hours=-9, minutes=-30))]),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
json_objects = st.dictionaries(texts | st.just("extra"), json_values, max_size=2)
ALIASES = {"_rev", "rev"}
"""Names that are read as fields of another name."""


def _of(hint: Any) -> st.SearchStrategy[Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*(st.none() if part is type(None) else _of(part) for part in arguments))
    if origin is tuple:
        return st.lists(_of(arguments[0]), max_size=2).map(tuple)
    if origin is dict:
        return json_objects
    if hint is Any:
        return json_values
    if hint is Money:
        return whole.map(lambda millicents: Money(millicents=millicents, currency=""))
    if issubclass(hint, OpenEnum):
        return (st.sampled_from(list(hint)) | texts).map(hint)
    if issubclass(hint, Model):
        return models(hint)
    plain: dict[type, st.SearchStrategy[Any]] = {
        str: texts,
        int: whole,
        float: numbers,
        bool: st.booleans(),
        datetime: instants,
    }
    return plain[hint]


def models(cls: Any) -> st.SearchStrategy[Any]:
    """Any object of a class, with fields that the class does not name."""
    return _models(cls)


@functools.cache
def _models(cls: Any) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(cls)
    known = {field.name: _of(hints[field.name]) for field in attrs.fields(cls) if field.name != "extra"}
    required = {name: known.pop(name) for name in list(known) if attrs.fields_dict(cls)[name].default is attrs.NOTHING}
    if "id" in required:  # a blank one, or one or two dots, is none
        required["id"] = required["id"].filter(lambda value: bool(value.strip()) and value not in (".", ".."))
    names = set(known) | set(required) | ALIASES
    extra = st.dictionaries(
        (texts | st.sampled_from(["extra", "price_note", "self"])).filter(lambda name: name not in names),
        json_values,
        max_size=2,
    )
    return st.fixed_dictionaries(required, optional=known | {"extra": extra}).map(lambda fields: cls(**fields))
