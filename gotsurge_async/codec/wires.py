"""The fast way of the objects that come and go by the thousand: orders out, tasks in.

msgspec reads and writes its own structs several times faster than attrs classes. So each of these models has a struct
of the same fields, its *wire*, and two generated functions: ``pack`` makes the wire of a model, ``unpack`` the model of
a wire. What a wire cannot carry raises, and is done by the general way (`writing.unstructure`, `reading.structure`),
which gives the same result; tests hold that it does.
"""

import functools
import types
import typing
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import attrs
import msgspec

from gotsurge_async.codec.shapes import inner_type, is_model
from gotsurge_async.models.base import read_utc
from gotsurge_async.models.tasks import Task
from gotsurge_async.money import Money, as_given

Wire = Any
"""A struct that `packer` or `reading_wire` made."""


def fields_of(cls: Any) -> list[Any]:
    """The fields of a model that have a place in its wire."""
    return [field for field in attrs.fields(cls) if field.name != "extra"]


# --- writing ---------------------------------------------------------------------------------------------------------


@functools.cache
def writing_wire(cls: Any) -> Any:
    """The struct that has the fields of ``cls`` but ``extra``, and is written without those that are None."""
    # gc=False: a wire lives for a moment, and is in no circle.
    fields = [(field.name, Any, None) for field in fields_of(cls)]
    return msgspec.defstruct(f"{cls.__name__}Out", fields, omit_defaults=True, gc=False)


@functools.cache
def packer(cls: Any) -> Callable[[Any], Wire]:
    """Generate the function that makes the wire of a ``cls``.

    It raises ValueError if ``extra`` holds something anywhere, or where a number should be is something else.
    """
    scope: dict[str, Any] = {"refuse": _refuse, "numbers": (float, int)}
    return _made(["def pack(model):", f"    return {_packed(cls, 'model', scope)}"], "pack", scope)


def _packed(cls: Any, model: str, scope: dict[str, Any]) -> str:
    """The expression for the wire of a model that has a name; one expression to the bottom, as calls cost more."""
    hints = typing.get_type_hints(cls)
    fields = fields_of(cls)
    wire = f"{cls.__name__}Wire"
    scope[wire] = writing_wire(cls)
    arguments = []  # by place: a third faster than by name
    for field in fields:
        inner, many = inner_type(hints[field.name])
        value, each = f"{model}.{field.name}", f"{model}_{field.name}"
        if is_model(inner):
            inside = _packed(inner, each, scope)
            if many:
                value = f"[{inside} for {each} in {value}] if {value} else {[] if _is_required(field) else None}"
            else:
                value = f"None if ({each} := {value}) is None else {inside}"
        elif inner is Money:
            value = f"None if ({each} := {value}) is None else {each}.millicents"
        elif inner is float:
            value = f"None if ({each} := {value}) is None else {each} if {each}.__class__ in numbers else refuse()"
        elif many and not _is_required(field):
            value = f"{value} or None"
        arguments.append(value)
    return f"({wire}({', '.join(arguments)}) if not {model}.extra else refuse())"


def _is_required(field: Any) -> bool:
    return field.default is attrs.NOTHING


def _refuse() -> None:
    raise ValueError("something that a wire does not carry")


# --- reading ---------------------------------------------------------------------------------------------------------


def reading_wire(cls: Any, more: Sequence[str] | None = ()) -> Any:
    """The struct that has the fields of ``cls`` but ``extra``; it refuses others, here and below.

    Args:
        more: what else a task may have: these (``more_0`` and so on in the struct), or anything (None).
    """
    hints = typing.get_type_hints(cls)
    fields: list[Any] = [
        (field.name, _wire_hint(hints[field.name], more), *([] if field.default is attrs.NOTHING else [field.default]))
        for field in fields_of(cls)
    ]
    closed = True
    if cls is Task:
        closed = more is not None
        for number, name in enumerate(more or ()):
            fields.append((f"more_{number}", Any, msgspec.field(default=msgspec.UNSET, name=name)))
    return msgspec.defstruct(f"{cls.__name__}In", fields, kw_only=True, forbid_unknown_fields=closed, gc=False)


def _wire_hint(hint: Any, more: Sequence[str] | None) -> Any:
    """The type of a field as it is on the wire: a model's wire for a model, a whole number for money."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.Union[tuple(_wire_hint(each, more) for each in typing.get_args(hint))]  # noqa: UP007 - at run time
    if typing.get_origin(hint) is tuple:
        return types.GenericAlias(tuple, (_wire_hint(typing.get_args(hint)[0], more), ...))
    if is_model(hint):
        return reading_wire(hint, more)
    return int if hint is Money else hint


@functools.cache
def unpacker(cls: Any) -> Callable[[Wire], Any]:
    """Generate the function that makes a ``cls`` of its wire, with an empty ``extra``.

    Past the converters and ``__attrs_post_init__``, whose work it does: times in UTC, amounts in their task's currency.
    """
    hints = typing.get_type_hints(cls)
    scope: dict[str, Any] = {"new": object.__new__, "cls": cls, "Open": open_twin(cls), "UTC": UTC}
    scope |= {"as_given": as_given, "read_utc": read_utc}
    lines = ["def unpack(wire):", "    model = new(Open)", "    model.extra = {}"]
    has_currency = hasattr(cls, "currency")
    for field in fields_of(cls):
        name = field.name
        inner, many = inner_type(hints[name])
        value = f"wire.{name}"
        if is_model(inner):
            scope[f"unpack_{name}"] = unpacker(inner)
            one = f"None if (value := {value}) is None else unpack_{name}(value)"
            value = f"tuple([unpack_{name}(each) for each in {value}]) if {value} else ()" if many else one
        elif inner is Money:
            currency = "wire.currency or ''" if has_currency else "''"
            value = f"None if (value := {value}) is None else as_given(value, {currency})"
        elif inner is datetime:
            value = f"value if (value := {value}) is None or value.tzinfo is UTC else read_utc(value)"
        lines.append(f"    model.{name} = {value}")
    lines += ["    model.__class__ = cls", "    return model"]
    return _made(lines, "unpack", scope)


def open_twin(cls: Any) -> Any:
    """A class of the same slots that is not frozen.

    Python stores into the slots of such a class five times faster than a frozen one's can be set from outside. An
    object that is filled gets the class that it is meant to have.
    """
    thawed = {"__slots__": (), "__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
    return type(cls.__name__, (cls,), thawed)


def _made(lines: list[str], name: str, scope: dict[str, Any]) -> Callable[[Any], Any]:
    exec("\n".join(lines), scope)  # noqa: S102 - made of the field names of our own classes
    return cast("Callable[[Any], Any]", scope[name])
