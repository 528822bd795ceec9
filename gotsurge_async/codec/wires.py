"""The fast way of the objects that come and go by the thousand: orders out, tasks in.

msgspec reads and writes its own structs several times faster than attrs classes. So each of these models has a struct
of the same fields, its *wire*, and two generated functions: ``pack`` makes the wire of a model, ``unpack`` the model of
a wire. What a wire cannot carry raises, and is done by the general way (`writing.unstructure`, `reading.structure`),
which gives the same result; tests hold that it does.
"""

import functools
import types
import typing
from collections.abc import Callable
from typing import Any, cast

import attrs
import msgspec

from gotsurge_async.codec.shapes import inner_type, is_model
from gotsurge_async.models.tasks import Task
from gotsurge_async.money import Money

Wire = Any
"""A struct that `packer` or `reading_wire` made."""


def _fields(cls: Any) -> list[Any]:
    return [field for field in attrs.fields(cls) if field.name != "extra"]


# --- writing ---------------------------------------------------------------------------------------------------------


@functools.cache
def packer(cls: Any) -> Callable[[Any], Wire]:
    """Generate the function that makes the wire of a ``cls``; ValueError if ``extra`` holds something anywhere."""
    hints = typing.get_type_hints(cls)
    fields = _fields(cls)
    # What is None is not written. gc=False: a wire lives for a moment, and is in no circle.
    wire = msgspec.defstruct(
        f"{cls.__name__}Out", [(field.name, Any, None) for field in fields], omit_defaults=True, gc=False
    )
    scope: dict[str, Any] = {"Wire": wire}
    arguments = []  # by place: a third faster than by name
    for field in fields:
        name = field.name
        inner, many = inner_type(hints[name])
        value = f"model.{name}"
        if is_model(inner):
            scope[f"pack_{name}"] = packer(inner)
            each = f"[pack_{name}(each) for each in {value}]"
            one = f"None if (value := {value}) is None else pack_{name}(value)"
            value = each if many else one
        elif inner is Money:
            value = f"None if (value := {value}) is None else value.millicents"
        if many and field.default is not attrs.NOTHING:
            value = f"{value} or None"
        arguments.append(value)
    lines = ["def pack(model):", "    if model.extra:", "        raise ValueError('extra')"]
    lines.append(f"    return Wire({', '.join(arguments)})")
    return _made(lines, "pack", scope)


# --- reading ---------------------------------------------------------------------------------------------------------


@functools.cache
def reading_wire(cls: Any) -> Any:
    """The struct that has the fields of ``cls`` but ``extra``. Only a task's lets unknown fields pass, see `reader`."""
    hints = typing.get_type_hints(cls)
    fields = [
        (field.name, _wire_hint(hints[field.name]), *([] if field.default is attrs.NOTHING else [field.default]))
        for field in _fields(cls)
    ]
    closed = not issubclass(cls, Task)
    return msgspec.defstruct(f"{cls.__name__}In", fields, kw_only=True, forbid_unknown_fields=closed, gc=False)


def _wire_hint(hint: Any) -> Any:
    """The type of a field as it is on the wire: a model's wire for a model, a whole number for money."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.Union[tuple(_wire_hint(each) for each in typing.get_args(hint))]  # noqa: UP007 - made at run time
    if typing.get_origin(hint) is tuple:
        return types.GenericAlias(tuple, (_wire_hint(typing.get_args(hint)[0]), ...))
    if is_model(hint):
        return reading_wire(hint)
    return int if hint is Money else hint


@functools.cache
def unpacker(cls: Any) -> Callable[[Wire], Any]:
    """Generate the function that makes a ``cls`` of its wire, with an empty ``extra``.

    As msgspec itself makes attrs objects, past the converters; what they would do, ``__attrs_post_init__`` does.
    """
    hints = typing.get_type_hints(cls)
    scope: dict[str, Any] = {"new": object.__new__, "cls": cls, "Money": Money, "set_extra": cls.extra.__set__}
    lines = ["def unpack(wire):", "    model = new(cls)", "    set_extra(model, {})"]
    for field in _fields(cls):
        name = field.name
        inner, many = inner_type(hints[name])
        scope[f"set_{name}"] = getattr(cls, name).__set__  # the class is frozen: its slots are set directly
        value = f"wire.{name}"
        if is_model(inner):
            scope[f"unpack_{name}"] = unpacker(inner)
            one = f"None if (value := {value}) is None else unpack_{name}(value)"
            value = f"tuple([unpack_{name}(each) for each in {value}])" if many else one
        elif inner is Money:
            value = f"None if (value := {value}) is None else Money(millicents=value, currency='')"
        lines.append(f"    set_{name}(model, {value})")
    if hasattr(cls, "__attrs_post_init__"):
        lines.append("    model.__attrs_post_init__()")
    lines.append("    return model")
    return _made(lines, "unpack", scope)


@functools.cache
def reader(cls: Any) -> Callable[[bytes], Any] | None:
    """The fast reader of a task, or of an answer that holds a list of tasks; None for other classes.

    It raises (whatever: msgspec's errors, ValueError, TypeError) for what the general way must read: other shapes than
    the usual, unknown fields elsewhere than in a task itself, and all that is wrong.
    """
    if cls is Task:
        return _task_reader()
    lists = [f.name for f in _fields(cls) if inner_type(typing.get_type_hints(cls)[f.name]) == (Task, True)]
    return _list_reader(cls, lists[0]) if len(lists) == 1 else None


def _task_reader() -> Callable[[bytes], Task]:
    decode = msgspec.json.Decoder(reading_wire(Task)).decode
    decode_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    unpack, keep = unpacker(Task), _keeper()

    def read(body: bytes) -> Task:
        task = unpack(decode(body))
        keep(task, decode_keys(body))
        return cast("Task", task)

    return read


def _list_reader(cls: Any, name: str) -> Callable[[bytes], Any]:
    decode = msgspec.json.Decoder(reading_wire(cls)).decode
    keys = msgspec.defstruct("Keys", [(name, list[dict[str, msgspec.Raw]], msgspec.field(default_factory=list))])
    decode_keys = msgspec.json.Decoder(keys).decode
    unpack, keep = unpacker(cls), _keeper()

    def read(body: bytes) -> Any:
        answer = unpack(decode(body))
        for task, parts in zip(getattr(answer, name), getattr(decode_keys(body), name), strict=True):
            keep(task, parts)
        return answer

    return read


def _keeper() -> Callable[[Task, dict[str, msgspec.Raw]], None]:
    """What keeps, in a task's ``extra``, those of its JSON's parts that the class does not name."""
    known = frozenset(field.name for field in _fields(Task))
    plain = msgspec.json.Decoder().decode
    set_extra = Task.extra.__set__  # type: ignore[attr-defined]

    def keep(task: Task, parts: dict[str, msgspec.Raw]) -> None:
        if not parts.keys() <= known:
            extra = {name: plain(parts[name]) for name in parts.keys() - known}
            if task.version_rev is None and ("_rev" in extra or "rev" in extra):
                raise ValueError("the revision stands under another name")
            set_extra(task, extra)

    return keep


def _made(lines: list[str], name: str, scope: dict[str, Any]) -> Callable[[Any], Any]:
    exec("\n".join(lines), scope)  # noqa: S102 - made of the field names of our own classes
    return cast("Callable[[Any], Any]", scope[name])
