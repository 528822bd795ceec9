"""The fast way of a JSON line that is right, as `quick` is that of a row: from its text to structs, without models."""

import functools
import types
import typing
from collections.abc import Callable
from datetime import datetime
from typing import Any

import attrs
import msgspec

from gotsurge_async.bulk.sources.cells import Parse
from gotsurge_async.bulk.sources.fields import inner_models, order_columns
from gotsurge_async.models.base import Model, OpenEnum
from gotsurge_async.models.tasks import Order
from gotsurge_async.money import Money


def json_reader(parse_time: Parse) -> Callable[[bytes], Any]:
    """What reads a line as the struct of an order.

    It raises ValueError, as all of msgspec's errors are, or RecursionError for a line that is not plainly right.
    """
    decode = msgspec.json.Decoder(_struct_of(Order)).decode
    times = [(column.parent, column.field) for column in order_columns().values() if column.kind is datetime]
    lists = [name for name, _, many in inner_models(Order) if many]

    def read(line: bytes) -> Any:
        order = decode(line)
        for parent, field in times:
            holder = order if parent is None else getattr(order, parent)
            text = None if holder is None else getattr(holder, field)
            if text is not None:
                setattr(holder, field, parse_time(text))
        for name in lists:
            if not getattr(order, name):
                setattr(order, name, None)  # an order without items does not name them
        return order

    return read


@functools.cache
def _struct_of(cls: Any) -> Any:
    """The struct with the fields of ``cls`` but ``extra``; it takes no others, and is written without what is None."""
    hints = typing.get_type_hints(cls)
    fields: list[Any] = []
    for field in attrs.fields(cls):
        if field.name != "extra":
            hint = _hint(hints[field.name])
            fields.append((field.name, hint) if field.default is attrs.NOTHING else (field.name, hint | None, None))
    # gc=False: it lives for a moment, and is in no circle.
    return msgspec.defstruct(
        cls.__name__, fields, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False
    )


def _hint(hint: Any) -> Any:
    """The type of a field as it stands in JSON, without None. What a text means, a time say, is seen later."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(each for each in typing.get_args(hint) if each is not type(None))
    if typing.get_origin(hint) is tuple:
        return types.GenericAlias(list, (_hint(typing.get_args(hint)[0]),))
    kind = hint if isinstance(hint, type) else object
    if issubclass(kind, Model):
        return _struct_of(hint)
    if issubclass(kind, OpenEnum | datetime):
        return str
    return int if kind is Money else hint
