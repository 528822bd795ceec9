"""The converters, made of cattrs hooks only: `READING` for answers, `checking` for users' values, `writing` for text.

The first two differ in one flag. *Reading* is tolerant: a value that does not fit its field stays in ``extra`` as it
came. An object is unreadable only if its identity, a required field, or a list of objects that have an identity does
not fit. *Checking* is strict: nothing is coerced, and every fault is reported. Both make the same plain values.
"""

import functools
import typing
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import msgspec

from gotsurge_async.codec.compiled import Hook, Structs, finite, reading_hook, receipt_hook, struct_hook, writing_hook
from gotsurge_async.errors import Coded, Problem
from gotsurge_async.models.base import NO_PATHS, Field, Model, OpenEnum, fields_of, is_model, is_union, read_utc, utc
from gotsurge_async.models.tasks import Receipt
from gotsurge_async.money import Money, as_given
from gotsurge_async.starting import pattern

if TYPE_CHECKING:
    import cattrs

Plain = dict[str, Any]

_WORDS = {str: "text", int: "a whole number", bool: "true or false", float: "a number", dict: "an object"}


class Unfit(ValueError):
    """A value that does not fit its place; ``problems`` lists all faults in it."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(problems)
        self.problems = problems

    def below(self, step: str, field: Field | None = None) -> list[Problem]:
        """The faults with their paths from one level above; a secret is not shown."""
        if field is not None and field.secret:
            return [Problem(step, Coded("has the wrong type or content", "E237"))]
        return [Problem(f"{step}{'' if path[:1] in ('', '[') else '.'}{path}", text) for path, text, _ in self.problems]


def converter(
    structs: Structs, *, strict: bool, in_utc: Callable[[datetime], datetime] = read_utc
) -> "cattrs.Converter":
    """A converter of plain values, and of the structs of usual answers; ``strict``: it reports every fault.

    ``in_utc`` makes a time in UTC of one that may have no zone.
    """
    import cattrs

    made = cattrs.Converter()
    for kind, words in _WORDS.items():
        made.register_structure_hook(kind, _leaf(words, kind, *([int] if kind is float else [])))
    thousandths = _leaf("a whole number of thousandths of a cent", int, then=lambda value: as_given(value, ""))
    made.register_structure_hook(Money, thousandths)
    made.register_structure_hook(datetime, _moment(in_utc))
    made.register_structure_hook_func(lambda hint: hint is Any, lambda value, _: value)
    made.register_structure_hook_func(lambda hint: _origin(hint) is dict, _leaf("an object", dict))
    made.register_structure_hook_factory(_is_open_enum, lambda cls: _leaf("text", str, then=cls))
    made.register_structure_hook_factory(
        is_union,
        lambda hint: made.get_structure_hook(next(kind for kind in typing.get_args(hint) if kind is not type(None))),
    )
    made.register_structure_hook_factory(lambda hint: _origin(hint) is tuple, lambda hint: _listed(hint, made))
    made.register_structure_hook_factory(is_model, lambda cls: _Reader(cls, made, structs, strict, in_utc).hook)
    made.register_structure_hook(Receipt, receipt_hook())
    made.register_unstructure_hook(Money, lambda value: value.millicents)
    made.register_unstructure_hook_factory(
        is_model, lambda cls: writing_hook(cls, made.get_unstructure_hook, _with_extra)
    )
    return made


# --- plain values to models -------------------------------------------------------------------------------------------


def shown(value: Any) -> str:
    """A value as messages show it, cut if it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _no(expected: str, value: Any) -> Unfit:
    return Unfit(Problem("", Coded(f"expected {expected}, not {shown(value)}", "E237")))


def _leaf(expected: str, *accepted: type, then: Callable[[Any], Any] | None = None) -> Hook:
    def check(value: Any, _: Any) -> Any:
        if type(value) not in accepted:
            raise _no(expected, value)
        return value if then is None else then(value)

    return check


def _moment(in_utc: Callable[[datetime], datetime]) -> Hook:
    def read(value: Any, _: Any) -> datetime:
        try:
            moment = msgspec.convert(value, datetime)
        except ValueError:  # as all of msgspec's errors are
            raise _no("an RFC 3339 time such as 2030-03-04T01:00:00Z", value) from None
        try:
            return in_utc(moment)
        except ValueError as error:  # it has no zone, or is outside the calendar
            raise Unfit(Problem("", Coded(error))) from None

    return read


def _origin(hint: Any) -> Any:
    return typing.get_origin(hint)


def _is_open_enum(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, OpenEnum)


def _listed(hint: Any, made: "cattrs.Converter") -> Hook:
    inner = typing.get_args(hint)[0]
    hook = made.get_structure_hook(inner)

    def read(value: Any, _: Any) -> tuple[Any, ...]:
        if type(value) not in (list, tuple):
            raise _no("a list", value)
        items, problems = [], []
        for number, item in enumerate(value):
            try:
                items.append(hook(item, inner))
            except Unfit as error:
                problems += error.below(f"[{number}]")
        if problems:
            raise Unfit(*problems)
        return tuple(items)

    return read


class _Reader:
    """Reads one class: usual answers by its compiled hook, all others field by field."""

    def __init__(self, cls: Any, made: "cattrs.Converter", structs: Structs, strict: bool, in_utc: Hook) -> None:
        self._cls, self._strict, self._struct = cls, strict, structs.of(cls)
        self._hook_of = made.get_structure_hook
        self._names = frozenset(field.name for field in fields_of(cls))
        self._hooks = [
            (
                field,
                _id_hook if field.name == "id" and field.required else made.get_structure_hook(field.hint),
                strict or _is_vital(cls, field),
            )
            for field in fields_of(cls)
        ]
        self.hook = reading_hook(cls, structs, made.get_structure_hook, self._otherwise, id_of, in_utc)

    def _otherwise(self, value: Any) -> Any:
        if type(value) is not dict:
            raise _no("an object", value)
        plain: Plain = value
        if not self._strict and self._cls.__name__ in _ADAPTERS:
            plain = _ADAPTERS[self._cls.__name__](value)
        try:
            return self.hook(msgspec.convert(plain, self._struct))
        except (ValueError, TypeError):
            return self._field_by_field(plain)

    def _field_by_field(self, plain: Plain) -> Any:
        # In one order, whatever the hashes of the names: an order's text and its fingerprint are made of them.
        extra = {name: plain[name] for name in sorted(plain.keys() - self._names)}
        values: Plain = {}
        problems: list[Problem] = []
        for field, hook, vital in self._hooks:
            name, value = field.name, plain.get(field.name)
            if value is None and not (field.required and name in plain):
                problems += [Problem(name, Coded("is required but missing", "E211"))] if field.required else []
            elif type(value) is int and field.is_id and not self._strict:
                values[name], extra[name] = str(value), value
            else:
                try:
                    values[name] = hook(value, field.hint)
                except Unfit as error:
                    if (
                        not self._strict
                        and _PARTLY.get(self._cls.__name__) == name
                        and self._partly(field, value, values, extra)
                    ):
                        continue
                    if vital and (self._strict or field.required or not says_nothing(value)):
                        problems += error.below(name, field)
                    else:
                        extra[name] = value
        if not self._strict:
            for name, others in self._cls.OTHER_NAMES.items():
                ids = (id_of(plain.get(other)) for other in others)
                if values.get(name) is None:
                    values[name] = next((value for value in ids if value is not None), None)
        try:
            if not problems:
                return self._cls(**values, extra=extra)
        except (ValueError, TypeError) as error:
            problems = [Problem("", Coded(error))]
        raise Unfit(*problems)

    def _partly(self, field: Field, value: Any, values: Plain, extra: Plain) -> bool:
        """Read the items of a list that can be read, and leave the others in ``extra``; False if there are none."""
        items, left = [], []
        for item in value if type(value) is list else ():
            try:
                items.append(self._hook_of(field.inner)(item, field.inner))
            except Unfit:
                left.append(item)
        if items:
            values[field.name], extra[field.name] = tuple(items), left
        return bool(items)


def _is_vital(cls: Any, field: Field) -> bool:
    """Whether an object cannot be distinguished from others without the field."""
    named = field.many and is_model(field.inner) and bool(field.inner.IDENTITY)
    return field.required or field.name in cls.IDENTITY or named


def _not_blank(value: str) -> str:
    if not value.strip() or value in NO_PATHS:
        raise _no("an id", value)
    return value


_id_hook = _leaf("text", str, then=_not_blank)


def says_nothing(value: Any) -> bool:
    """Whether a value is an empty object or list: another form of no value, whatever the field."""
    return type(value) in (dict, list) and not value


def id_of(value: Any) -> str | None:
    """The id in a value: text that is not blank and can stand in a path, or a whole number; else None."""
    if type(value) is int:
        return str(value)
    return value if type(value) is str and value.strip() and value not in NO_PATHS else None


# --- shapes that the document leaves open, brought to one -------------------------------------------------------------


def task_list(tasks: Any, *, named: bool = False) -> Any:
    """The tasks as a list: ``tasks`` may also be an object of tasks by their ids, or one task with its id.

    If ``named``, only an object with a name is a task, and a name or a mere number is not an id: which ids a create's
    answer contains is not known yet.
    """
    if type(tasks) is not dict:
        return tasks
    if id_of(tasks.get("id")) is not None:
        return [tasks]
    names = {id_of(task.get(name)) for task in tasks.values() if type(task) is dict for name in _NAMES}
    return [
        {**task, "id": key}
        if type(task) is dict
        and task.get("id") is None
        and not (
            named and (key in names or _COUNTED.fullmatch(key) or not any(id_of(task.get(name)) for name in _NAMES))
        )
        else task
        for key, task in tasks.items()
    ]


_NAMES = ("tracking_id", "invoice_number")
_COUNTED = pattern(r"\d{1,3}")
"""The keys of a list that became an object: counting numbers of up to three digits."""


def _created(plain: Plain) -> Plain:
    return {**plain, "tasks": task_list(plain["tasks"], named=True)} if plain.get("tasks") else plain


def _updated(plain: Plain) -> Plain:
    tasks = task_list(plain.get("updated_tasks"))
    if type(tasks) is not list or not tasks:
        return plain
    if type(plain["updated_tasks"]) is list:  # a text in an object may be anything, and is not an id
        tasks = [task if id_of(task) is None else {"id": task} for task in tasks]
    return {**plain, "updated_tasks": tasks}


_PARTLY: Mapping[str, str] = {"CreatedTasks": "tasks"}
"""Lists whose unreadable items are left out: the ids of the others must not be lost."""
_ADAPTERS: Mapping[str, Callable[[Plain], Plain]] = {"CreatedTasks": _created, "UpdatedTasks": _updated}
"""By the names of the classes, of which a push needs only the first."""


# --- models to plain values -------------------------------------------------------------------------------------------


def _with_extra(model: Model, plain: Plain) -> Plain:
    """Plain values with ``extra``. A value that was read in another form is written as it came, unless changed.

    Items of a list that could not be read follow those that could.
    """
    extra = model.extra
    for name, value in extra.items():
        finite(name, value)
    for name, others in model.OTHER_NAMES.items():
        if name in plain and plain[name] in [id_of(extra.get(other)) for other in others]:
            del plain[name]
    ids = {name: value for name, value in extra.items() if type(value) is int and plain.get(name) == str(value)}
    left = {name: plain[name] + value for name, value in extra.items() if type(plain.get(name)) is type(value) is list}
    return {**extra, **plain, **ids, **left}


class _Made:
    """A converter that is made when it is first used: few commands use all of them, and some need no cattrs."""

    def __init__(self, make: Callable[[], "cattrs.Converter"]) -> None:
        self._make = functools.cache(make)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._make(), name)
        setattr(self, name, found)
        return found


def _writing() -> "cattrs.Converter":
    import cattrs

    made = cattrs.Converter()
    made.register_unstructure_hook_factory(
        is_model, lambda cls: struct_hook(cls, made.get_unstructure_hook, checking.get_unstructure_hook)
    )
    made.register_unstructure_hook(Money, lambda value: value.millicents)
    return made


USUAL = Structs({})
READING: "cattrs.Converter" = cast("cattrs.Converter", _Made(lambda: converter(USUAL, strict=False)))
checking: "cattrs.Converter" = cast("cattrs.Converter", _Made(lambda: converter(USUAL, strict=True, in_utc=utc)))
"""Checks what users give, and makes plain values from models."""
OWN: "cattrs.Converter" = cast("cattrs.Converter", _Made(lambda: converter(USUAL, strict=True)))
"""Reads our own text, such as an order in the ledger; a time in it that has no zone is in UTC."""

writing: "cattrs.Converter" = cast("cattrs.Converter", _Made(_writing))
"""Makes from a model what msgspec writes as the plain values that ``checking`` makes from it: see `struct_hook`."""
