"""The fields that a file of orders may give, derived from the models: a new field there is a new column here."""

import functools
import types
import typing
from collections.abc import KeysView, Mapping
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


@attrs.frozen(kw_only=True)
class ItemRow(Item):
    """A row of an items file: an item, and whose it is."""

    tracking_id: str


class Field(typing.NamedTuple):
    """A field of a model: ``kind`` is its type without None, inside a tuple if there are ``many``."""

    name: str
    kind: Any
    many: bool
    required: bool

    @property
    def is_model(self) -> bool:
        """Whether it holds an object, or many, with fields of its own."""
        return isinstance(self.kind, type) and issubclass(self.kind, Model)


@functools.cache
def fields_of(cls: Any) -> Mapping[str, Field]:
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


@functools.cache
def required_of(cls: Any) -> KeysView[str]:
    """The names of the fields that a model cannot be made without."""
    return {name: field for name, field in fields_of(cls).items() if field.required}.keys()


class Column(typing.NamedTuple):
    """One field that a cell can give: its dotted name, and the object it is in ("" for the order itself)."""

    name: str
    parent: str
    field: str
    kind: type
    required: bool


@functools.cache
def columns_of(model: Any) -> Mapping[str, Column]:
    """Every column that a file of `Order` or of `ItemRow` may have, by name. Lists and free objects have none."""
    columns: dict[str, Column] = {}
    for name, field in fields_of(model).items():
        if field.is_model and not field.many:
            for each in fields_of(field.kind).values():
                columns[f"{name}.{each.name}"] = Column(
                    f"{name}.{each.name}", name, each.name, each.kind, each.required
                )
        elif isinstance(field.kind, type) and not field.many:
            columns[name] = Column(name, "", name, field.kind, field.required)
    return types.MappingProxyType(columns)


@functools.cache
def draft_of(cls: Any) -> Any:
    """The struct that an object is read into: the fields of a model, with the values that stand in JSON.

    Money is a whole number of thousandths of a cent, a number stays whole if it is, times are aware datetimes, and what
    is not given is None, and is not written. An order may lack anything, until its checks have told what is missing.
    A model of attrs takes eight times as long to make, a tenth of a whole push (``python -m benchmarks command``).
    """
    fields: list[Any] = []
    for name, kind, many, required in fields_of(cls).values():
        hint = _hint(kind)
        hint = types.GenericAlias(list, (hint,)) if many else hint
        fields.append((name, hint) if required and cls is not Order else (name, hint | None, None))
    # gc=False: it lives for a moment, and is in no circle.
    return msgspec.defstruct(
        cls.__name__, fields, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False
    )


def _hint(kind: Any) -> Any:
    base: Any = kind if isinstance(kind, type) else object
    if issubclass(base, Model):
        return draft_of(base)
    if issubclass(base, OpenEnum):
        return str
    return {Money: int, float: int | float}.get(kind, kind)
