"""The fields that a file of orders may have, derived from the models: a new field there is a new column here."""

import functools
import types
from collections.abc import Iterable, KeysView, Mapping
from typing import Any, NamedTuple

import attrs
import msgspec

from gotsurge_async.models.base import OpenEnum, fields_of, is_model
from gotsurge_async.models.rules import nearest
from gotsurge_async.models.tasks import Item, Order
from gotsurge_async.money import Money

ITEM_KEY = "tracking_id"
"""The column that joins the items file to the orders."""

FEEDBACK = ("gs_task_id", "gs_status", "gs_error")
"""The columns that a push adds in its result files; a file that has one of them was written by an earlier push."""

INCOMPLETE = "incomplete"
"""The ``gs_status`` of a faulty row whose cells do not show all of its faults: it is refused until it is mended."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ItemRow(Item):
    """A row of an items file: an item, with the tracking id of its order."""

    tracking_id: str


@functools.cache
def required_of(cls: Any) -> KeysView[str]:
    """The names of a model's required fields."""
    return dict.fromkeys(field.name for field in fields_of(cls) if field.required).keys()


class Column(NamedTuple):
    """A field that a cell can contain: its dotted name, the object that has it ("" for the order itself), its type."""

    name: str
    parent: str
    field: str
    kind: type


@functools.cache
def columns_of(model: Any) -> Mapping[str, Column]:
    """The columns that a file of `Order` or of `ItemRow` may have, by name. Lists and free objects have none."""
    columns: list[Column] = []
    for field in fields_of(model):
        if is_model(field.inner) and not field.many:
            inside = fields_of(field.inner)
            columns += [Column(f"{field.name}.{part.name}", field.name, part.name, part.inner) for part in inside]
        elif isinstance(field.inner, type) and not field.many:
            columns.append(Column(field.name, "", field.name, field.inner))
    return types.MappingProxyType({column.name: column for column in columns})


@functools.cache
def candidate_of(cls: Any) -> Any:
    """The struct into which an object is read: the fields of a model, with the values of its JSON.

    Money is a whole number of thousandths of a cent, whole numbers stay whole, times are aware datetimes, and a field
    without a value is None, and is not written. An order may lack any field, so that its checks can report all of them.
    A model of attrs takes eight times as long to make, a tenth of a whole push (``python -m benchmarks command``).
    """
    fields: list[Any] = []
    for field in fields_of(cls):
        hint = types.GenericAlias(list, (_hint(field.inner),)) if field.many else _hint(field.inner)
        must = field.required and cls is not Order
        fields.append((field.name, hint) if must else (field.name, hint | None, None))
    # gc=False: it lives briefly, and is in no cycle of references.
    return msgspec.defstruct(cls.__name__, fields, forbid_unknown_fields=True, omit_defaults=True, gc=False)


def _hint(kind: Any) -> Any:
    if is_model(kind):
        return candidate_of(kind)
    if isinstance(kind, type) and issubclass(kind, OpenEnum):
        return str
    return {Money: int, float: int | float}.get(kind, kind)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name."""
    near = nearest(name, known)
    return f'; did you mean "{near}"?' if near else ""
