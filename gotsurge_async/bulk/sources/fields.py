"""The fields that a file of orders may give, derived from the models: a new field there is a new column here."""

import functools
import types
import typing
from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from gotsurge_async.models.base import Model, OpenEnum
from gotsurge_async.models.tasks import Item, Order
from gotsurge_async.money import Money

ITEM_KEY = "tracking_id"
"""The column that joins the items file to the orders."""

FEEDBACK = ("gs_task_id", "gs_status", "gs_error")
"""The columns that a push adds in its result files; a file that has one of them was written by an earlier push."""


class Field(typing.NamedTuple):
    """A field of a model: ``kind`` is its type without None, inside a tuple if there are ``many``."""

    name: str
    kind: Any
    many: bool
    required: bool


@functools.cache
def fields_of(cls: type) -> Mapping[str, Field]:
    """The fields of a model by name, without ``extra``."""
    hints = typing.get_type_hints(cls)
    found: dict[str, Field] = {}
    for field in attrs.fields(cls):
        hint = hints[field.name]
        if typing.get_origin(hint) in (typing.Union, types.UnionType):
            hint = next(each for each in typing.get_args(hint) if each is not type(None))
        many = typing.get_origin(hint) is tuple
        kind = typing.get_args(hint)[0] if many else hint
        found[field.name] = Field(field.name, kind, many, field.default is attrs.NOTHING)
    del found["extra"]
    return found


def is_model(kind: Any) -> bool:
    """Whether a field of this type holds an object that has fields of its own."""
    return isinstance(kind, type) and issubclass(kind, Model)


# --- orders that are being read --------------------------------------------------------------------------------------


@functools.cache
def draft_of(cls: Any) -> Any:
    """The struct that an object is read into: the fields of a model, with the values that stand in JSON.

    Money is a whole number of thousandths of a cent, a number stays whole if it is, times are aware datetimes, and what
    is not given is None, and is not written. An order may lack anything, until its checks have told what is missing.
    """
    fields: list[Any] = []
    for name, kind, many, required in fields_of(cls).values():
        hint = _hint(kind)
        if many:
            hint = types.GenericAlias(list, (hint,))
        fields.append((name, hint) if required and cls is not Order else (name, hint | None, None))
    # gc=False: it lives for a moment, and is in no circle.
    return msgspec.defstruct(
        cls.__name__, fields, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False
    )


def _hint(kind: Any) -> Any:
    if is_model(kind):
        return draft_of(kind)
    if isinstance(kind, type) and issubclass(kind, OpenEnum):
        return str
    return {Money: int, float: int | float}.get(kind, kind)


# --- tables ----------------------------------------------------------------------------------------------------------


@attrs.frozen
class Column:
    """One writable field: ``name`` is its dotted name, ``parent`` the object it is in (None for the order itself)."""

    name: str
    parent: str | None
    field: str
    kind: type
    required: bool


@attrs.frozen
class Shape:
    """What the rows of a table may give, and must.

    Attributes:
        columns: every column, by dotted name. Lists and free objects have no column.
        objects: the models of the objects inside, by field.
        required: the fields and objects that every row must give.
    """

    columns: Mapping[str, Column]
    objects: Mapping[str, Any]
    required: tuple[str, ...]


@functools.cache
def order_shape() -> Shape:
    """What a row of an orders file may give."""
    fields = fields_of(Order).values()
    columns = {column.name: column for field in fields for column in _columns(field)}
    objects = {field.name: field.kind for field in fields if is_model(field.kind) and not field.many}
    return Shape(types.MappingProxyType(columns), objects, tuple(field.name for field in fields if field.required))


@functools.cache
def item_shape() -> Shape:
    """What a row of an items file may give: the order's tracking id, and the fields of an item."""
    key = Column(ITEM_KEY, None, ITEM_KEY, str, required=True)
    columns = {column.name: column for field in fields_of(Item).values() for column in _columns(field)}
    return Shape(types.MappingProxyType({ITEM_KEY: key, **columns}), {}, (ITEM_KEY,))


def order_columns() -> Mapping[str, Column]:
    """Every column that an orders file may have, by dotted name."""
    return order_shape().columns


def item_columns() -> Mapping[str, Column]:
    """Every column that an items file may have."""
    return item_shape().columns


def _columns(field: Field) -> list[Column]:
    name, kind, many, required = field
    if many or not isinstance(kind, type):
        return []
    if not is_model(kind):
        return [Column(name, None, name, kind, required)]
    return [
        Column(f"{name}.{inner.name}", name, inner.name, inner.kind, inner.required)
        for inner in fields_of(kind).values()
    ]
