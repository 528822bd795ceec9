"""The fields that a file of orders may give, derived from the models: a new field there is a new column here."""

import functools
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from gotsurge_async.models.base import Model
from gotsurge_async.models.tasks import Item, Order

ITEM_KEY = "tracking_id"
"""The column that joins the items file to the orders."""

FEEDBACK = ("gs_task_id", "gs_status", "gs_error")
"""The columns that a push adds in its result files; a file that has one of them was written by an earlier push."""


@attrs.frozen
class Column:
    """One writable field: ``name`` is its dotted name, ``parent`` the object it is in (None for the order itself)."""

    name: str
    parent: str | None
    field: str
    kind: type
    required: bool


@functools.cache
def order_columns() -> Mapping[str, Column]:
    """Every column that an orders file may have, by dotted name. Lists and free objects have no column."""
    return types.MappingProxyType(dict(_columns(Order)))


@functools.cache
def item_columns() -> Mapping[str, Column]:
    """Every column that an items file may have: the order's tracking id, and the fields of an item."""
    key = Column(ITEM_KEY, None, ITEM_KEY, str, required=True)
    return types.MappingProxyType({ITEM_KEY: key, **dict(_columns(Item))})


@attrs.frozen
class Shape:
    """What the rows of a table may give, and must.

    Attributes:
        model: the class of what a row is about.
        columns: every column, by dotted name.
        objects: the objects inside: name -> its class, and whether it is required.
        required: the fields and objects that every row must give.
    """

    model: type[Model]
    columns: Mapping[str, Column]
    objects: Mapping[str, tuple[type[Model], bool]]
    required: tuple[str, ...]


@functools.cache
def order_shape() -> Shape:
    """What a row of an orders file may give."""
    objects = {name: (kind, required) for name, kind, required in _fields(Order) if _is_model(kind)}
    return Shape(Order, order_columns(), objects, tuple(name for name, _, required in _fields(Order) if required))


@functools.cache
def item_shape() -> Shape:
    """What a row of an items file may give."""
    return Shape(Item, item_columns(), {}, (ITEM_KEY,))


def _columns(cls: type) -> Iterator[tuple[str, Column]]:
    for name, kind, required in _fields(cls):
        if not isinstance(kind, type):
            continue
        if not _is_model(kind):
            yield name, Column(name, None, name, kind, required)
            continue
        for field, inner, inner_required in _fields(kind):
            dotted = f"{name}.{field}"
            yield dotted, Column(dotted, name, field, inner, inner_required)


@functools.cache
def _fields(cls: type) -> tuple[tuple[str, Any, bool], ...]:
    """Name, type inside ``X | None``, and whether it is required. A list or a free object has no class as its type."""
    hints = typing.get_type_hints(cls)
    return tuple(
        (field.name, _without_none(hints[field.name]), field.default is attrs.NOTHING)
        for field in attrs.fields(cls)
        if field.name != "extra"
    )


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(arg for arg in typing.get_args(hint) if arg is not type(None))
    return hint


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Model)


@functools.cache
def inner_models(cls: type) -> tuple[tuple[str, type[Model], bool], ...]:
    """The fields of ``cls`` that hold models: name, class, and whether there are many."""
    found: list[tuple[str, type[Model], bool]] = []
    for name, kind, _ in _fields(cls):
        many = typing.get_origin(kind) is tuple
        inner = typing.get_args(kind)[0] if many else kind
        if _is_model(inner):
            found.append((name, inner, many))
    return tuple(found)


@functools.cache
def known_names(cls: type) -> frozenset[str]:
    """The names of the fields of ``cls``."""
    return frozenset(name for name, _, _ in _fields(cls))
