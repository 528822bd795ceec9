"""The fast versions of the converters' hooks, which set ``__class__``: only `transports/certificates.py` does so, too.

`exec` runs here, and in `tables/header.py` for the rows of a table.

Here a class has one line of straight code for each of its fields; and msgspec reads nearly every answer as structs,
checked in C. Any other answer raises, or goes to the function ``otherwise``: the plain code of `converters`, which
returns the same for everything that both can read.

The gain (µs a task or an order; ``python -m benchmarks codec``, 2026-11):

========  ==========  =================================================================================================
          these       the best of plain code
========  ==========  =================================================================================================
writing   8.1         12 hooks of `cattrs.gen`; 15 a loop over the fields
reading   8.7         14 a list of values with the few converted; 23 set through the slots' descriptors; 39 attrs'
                      ``__init__``; 17 msgspec straight into attrs classes, which loses unknown fields
========  ==========  =================================================================================================
"""

import functools
import types
import typing
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

import attrs
import msgspec

from gotsurge_async.models.base import NO_PATHS, NOT_GIVEN, Field, fields_of, is_model, is_union
from gotsurge_async.models.tasks import Receipt
from gotsurge_async.money import Money, as_given

Hook = Callable[..., Any]
Learned = Mapping[Any, frozenset[str]]
"""The fields of answers, by class, that the class does not name."""


class Structs:
    """The structs that usual answers are read as: they have the fields of the class, and those that were learned."""

    def __init__(self, learned: Learned) -> None:
        self.learned: dict[Any, list[str]] = {cls: sorted(names) for cls, names in learned.items()}
        self.of: Callable[[Any], Any] = functools.cache(self._of)
        self.decoder: Callable[[Any], Callable[[bytes], Any]] = functools.cache(
            lambda cls: msgspec.json.Decoder(self.of(cls)).decode
        )

    def _of(self, cls: Any) -> Any:
        """The struct of a class."""
        fields: list[Any] = [
            (field.name, self._hint(field), *([] if field.required else [field.default])) for field in fields_of(cls)
        ]
        for number, name in enumerate(self.learned.get(cls, ())):
            fields.append((f"learned_{number}", Any, msgspec.field(default=msgspec.UNSET, name=name)))
        # gc=False: a struct lives for a moment, and is in no reference cycle.
        return msgspec.defstruct(cls.__name__, fields, kw_only=True, forbid_unknown_fields=True, gc=False)

    def _hint(self, field: Field) -> Any:
        hint = self._wire(field.hint)
        return hint | None if field.many and not field.required else hint

    def _wire(self, hint: Any) -> Any:
        """The type of a field in a struct."""
        if is_union(hint):
            return typing.Union[tuple(map(self._wire, typing.get_args(hint)))]  # noqa: UP007 - at run time
        if typing.get_origin(hint) is tuple:
            return types.GenericAlias(tuple, (self._wire(typing.get_args(hint)[0]), ...))
        if hint is float:
            return int | float  # a whole number stays one
        return self.of(hint) if is_model(hint) else int if hint is Money else hint


def reading_hook(
    cls: Any, structs: Structs, hook_of: Callable[[Any], Hook], otherwise: Hook, id_of: Hook, in_utc: Hook
) -> Hook:
    """The hook that makes a ``cls`` from its struct; ``otherwise`` makes it from anything else.

    It replaces the class's converters and ``__attrs_post_init__``: times are in UTC, by ``in_utc``, and amounts in a
    currency. ``id_of`` makes an id of a value, None if it is not one.
    """
    scope: dict[str, Any] = {"new": object.__new__, "cls": cls, "Thawed": _thawed(cls), "Struct": structs.of(cls)}
    scope |= {"otherwise": otherwise, "id_of": id_of, "NOT_GIVEN": NOT_GIVEN, "UNSET": msgspec.UNSET}
    scope |= {"as_given": as_given, "in_utc": in_utc, "UTC": UTC}
    lines = ["def hook(given, _=None):", "    if given.__class__ is not Struct: return otherwise(given)"]
    if any(field.name == "id" and field.required for field in fields_of(cls)):
        lines += ["    if not given.id.strip() or given.id in NO_PATHS: raise ValueError('the id names nothing')"]
        scope["NO_PATHS"] = NO_PATHS
    lines += ["    made = new(Thawed)", "    made.extra = {}"]
    for field in fields_of(cls):
        if is_model(field.inner):
            scope[f"hook_{field.name}"] = hook_of(field.inner)
        lines.append(f"    made.{field.name} = {_read(cls, field)}")
    learned = structs.learned.get(cls, ())
    for number, name in enumerate(learned):
        lines.append(f"    if given.learned_{number} is not UNSET: made.extra[{name!r}] = given.learned_{number}")
    for name, others in cls.OTHER_NAMES.items():
        for other in [each for each in others if each in learned]:
            lines.append(f"    if made.{name} is None: made.{name} = id_of(made.extra.get({other!r}))")
    return _made([*lines, "    made.__class__ = cls", "    return made"], scope)


def _read(cls: Any, field: Field) -> str:
    """The expression of a field's value."""
    value = f"given.{field.name}"
    if field.many:
        if not is_model(field.inner):
            return f"NOT_GIVEN if (v := {value}) is None else v"
        listed = f"tuple([hook_{field.name}(each) for each in v])"
        return f"{listed} if (v := {value}) else NOT_GIVEN if v is None else v"
    if is_model(field.inner):
        return f"None if (v := {value}) is None else hook_{field.name}(v)"
    if field.inner is Money:
        currency = f"given.{cls.CURRENCY} or ''" if cls.CURRENCY else "''"
        return f"None if (v := {value}) is None else as_given(v, {currency})"
    if field.inner is datetime:
        return f"v if (v := {value}) is None or v.tzinfo is UTC else in_utc(v)"
    return value


def receipt_hook() -> Hook:
    """The hook that makes a `Receipt` from a pair: an object with its four fields, and its text or the text's place."""
    scope: dict[str, Any] = {"new": object.__new__, "cls": Receipt, "Thawed": _thawed(Receipt)}
    lines = ["def hook(given, _=None):", "    head, raw = given", "    made = new(Thawed)", "    made._raw = raw"]
    lines += [f"    made.{name} = head.{name}" for name in ("id", "tracking_id", "invoice_number", "current_status")]
    return _made([*lines, "    made.__class__ = cls", "    return made"], scope)


def filler(cls: Any, *names: str) -> Hook:
    """Return a function that makes many ``cls`` from lists of the values of some fields; others have their defaults.

    attrs takes four times as long to make a frozen one: 2,000 instructions instead of 500.
    """
    scope: dict[str, Any] = {"new": object.__new__, "cls": cls, "Thawed": _thawed(cls)}
    lines = [f"def hook({', '.join(names)}):", "    all_made = []", "    add = all_made.append"]
    lines += [f"    for {', '.join(f'a_{name}' for name in names)} in zip({', '.join(names)}, strict=True):"]
    lines += ["        made = new(Thawed)", *(f"        made.{name} = a_{name}" for name in names)]
    for attribute in attrs.fields(cls):
        if attribute.name not in names:
            scope[f"default_{attribute.name}"] = attribute.default
            lines.append(f"        made.{attribute.name} = default_{attribute.name}")
    return _made([*lines, "        made.__class__ = cls", "        add(made)", "    return all_made"], scope)


def whole_check(cls: Any) -> Callable[[Any], bool]:
    """Return a function that checks whether every nested object of a ``cls`` is an object, not a dict."""
    scope: dict[str, Any] = {"NOT_GIVEN": NOT_GIVEN}
    terms = []
    for field in [field for field in fields_of(cls) if is_model(field.inner)]:
        scope[f"Class_{field.name}"] = field.inner
        fits = f"type(v) is Class_{field.name}"
        if field.many:
            fits = f"(type(v) is tuple and not [1 for each in v if type(each) is not Class_{field.name}])"
        terms.append(f"((v := model.{field.name}) is {_left_out(field)} or {fits})")
    return _made([f"def hook(model): return {' and '.join(terms)}"], scope)


def writing_hook(cls: Any, hook_of: Callable[[Any], Hook], with_extra: Hook) -> Hook:
    """The hook that makes plain values from a ``cls``, without fields that are None or not set, and with ``extra``.

    The hook raises ValueError or TypeError for a number field without a finite number.
    """
    scope: dict[str, Any] = {**_WRITING, "with_extra": with_extra}
    lines = ["def hook(model):", "    plain = {}"]
    for field in fields_of(cls):
        if is_model(field.inner):
            scope[f"hook_{field.name}"] = hook_of(field.inner)
        test = f"(v := model.{field.name}) is not {_left_out(field)}"
        lines.append(f"    if {test}: plain[{field.name!r}] = {_written(field)}")
    return _made([*lines, "    return with_extra(model, plain) if model.extra else plain"], scope)


def struct_hook(cls: Any, hook_of: Callable[[Any], Hook], plain_of: Callable[[Any], Hook]) -> Hook:
    """The hook that makes a struct from a ``cls``, which msgspec writes as it writes the plain values.

    This takes three quarters of the instructions of making and writing a dict: a task has some fifty values.
    ``plain_of`` returns the `writing_hook` of a class, for objects with ``extra``.
    """
    scope: dict[str, Any] = {**_WRITING}
    return _made(["def hook(model):", f"    return {_struct(cls, 'model', scope, hook_of, plain_of)}"], scope)


def _struct(
    cls: Any, model: str, scope: dict[str, Any], hook_of: Callable[[Any], Hook], plain_of: Callable[[Any], Hook]
) -> str:
    """The expression of a model's struct and of the structs in it, since a call for each costs more."""
    fields: list[Any] = [
        (field.name, Any, field.default if not field.required else NOT_GIVEN if field.many else None)
        for field in fields_of(cls)
    ]
    # gc=False: a struct lives until its text is written.
    scope[f"Struct_{model}"] = msgspec.defstruct(cls.__name__, fields, omit_defaults=True, gc=False)
    scope[f"plain_{model}"] = plain_of(cls)
    values = []
    for field in fields_of(cls):
        value, inside, written = f"{model}.{field.name}", "v", _written(field)
        if is_model(field.inner) and not field.many:
            inside = f"{model}_{field.name}"
            written = _struct(field.inner, inside, scope, hook_of, plain_of)
        elif is_model(field.inner):
            scope[f"hook_{field.name}"] = hook_of(field.inner)
        if written != "v":
            value = f"{inside} if ({inside} := {value}) is {_left_out(field)} else ({written})"
        values.append(value)
    return f"plain_{model}({model}) if {model}.extra else Struct_{model}({', '.join(values)})"


def _left_out(field: Field) -> str:
    """The value with which a field is not written. A field that is False by default is ours, and in no answer."""
    return "False" if field.default is False else "NOT_GIVEN" if field.many else "None"


def _written(field: Field) -> str:
    """The expression that makes the value ``v`` of a field plain."""
    if is_model(field.inner):
        return f"[*map(hook_{field.name}, v)]" if field.many else f"hook_{field.name}(v)"
    if field.inner is Money:
        return "v.millicents"
    if field.inner is float:  # 0 times a finite number is 0; anything else is refused
        return f"v if v * 0 == 0 else no_number({field.name!r}, v)"
    return f"finite({field.name!r}, v)" if typing.get_origin(field.inner) is dict else "v"


def finite(name: str, value: Any) -> Any:
    """The value of an open field, unchanged. Infinity or not-a-number would be written as null, which clears the field.

    Raises ValueError, with the place ``name``, if it contains one.
    """
    if type(value) is float and value * 0 != 0:
        _no_number(name, value)
    elif isinstance(value, dict):
        for key, each in value.items():
            finite(f"{name}.{key}", each)
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            finite(f"{name}[{number}]", each)
    return value


def _no_number(name: str, value: Any) -> NoReturn:
    raise ValueError(f"{name} is {value!r}, which is not a number in JSON")


_WRITING: Mapping[str, Any] = {"NOT_GIVEN": NOT_GIVEN, "no_number": _no_number, "finite": finite}


def _thawed(cls: Any) -> Any:
    """A class of the same slots that is not frozen; a filled object gets the class ``cls``."""
    # Both, or Python does not see that these are the usual ones, and stores ten times slower.
    usual = {"__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
    return type(cls.__name__, (cls,), {"__slots__": (), **usual})


def _made(lines: list[str], scope: dict[str, Any]) -> Hook:
    exec("\n".join(lines), scope)  # noqa: S102 - made of the field names of our own classes, and of names as literals
    return typing.cast("Hook", scope["hook"])
