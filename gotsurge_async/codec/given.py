"""What a program gives, as the object that belongs there: the object itself, or a dict as the API writes it."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

import attrs

from gotsurge_async.codec.converters import Unfit
from gotsurge_async.codec.text import checking, encode, misfits
from gotsurge_async.errors import InvalidData, Problem
from gotsurge_async.models.base import NOT_GIVEN, Field, Model, fields_of, is_model, utc
from gotsurge_async.models.rules import Severity, check_order, nearest
from gotsurge_async.models.tasks import Order, TaskBatch
from gotsurge_async.money import Money

M = TypeVar("M", bound=Model)

OrderLike: TypeAlias = Order | Mapping[str, Any]
"""An order, or a dict of its fields as the API writes them."""


class Faulty(NamedTuple):
    """What is no order, as it was given, and why; the paths begin in it."""

    given: Any
    error: InvalidData


def as_read(given: Any) -> "Order | Faulty":
    """An order as it is at this moment: who gives a dict may change it, and give it again, before it is sent."""
    if type(given) is Order and _is_whole(given):
        return given
    try:
        return made_of(given, Order)
    except InvalidData as error:
        return Faulty(given, error)


def each_as_read(
    given: Iterable[Any] | AsyncIterable[Any],
) -> "Iterable[Order | Faulty] | AsyncIterable[Order | Faulty]":
    """`as_read` of each, when it is asked for."""
    return _each(given) if isinstance(given, AsyncIterable) else map(as_read, given)


async def _each(given: AsyncIterable[Any]) -> "AsyncIterator[Order | Faulty]":
    async for each in given:
        yield as_read(each)


_OBJECTS = tuple(field.name for field in fields_of(Order) if is_model(field.inner))
_objects = attrgetter(*_OBJECTS)
_WHOLE = {*(field.inner for field in fields_of(Order) if is_model(field.inner)), type(None), tuple, type(NOT_GIVEN)}


def _is_whole(order: Order) -> bool:
    """Whether an object is in the place of each object, and no dict."""
    objects = _objects(order)
    return _WHOLE.issuperset(map(type, objects)) and all(
        type(one) in _WHOLE for each in objects if isinstance(each, tuple) for one in each
    )


def made_of(given: Any, cls: type[M], path: str = "") -> M:
    """An object of a class, and every object in it.

    A dict has the names of the API, times as aware datetimes or RFC 3339 text with a zone, money as `Money` or in whole
    thousandths of a cent. A name that the class does not have is a fault: what the service knows and the document does
    not stands in ``extra``.

    Args:
        path: where it stands.

    Raises:
        InvalidData: it is neither, or something in it does not fit; every fault with its path.
    """
    problems: list[Problem] = []
    made = _made(given, cls, path, problems)
    if problems:
        raise InvalidData("", problems)
    return cast("M", made)


def written_batch(given: Sequence[Any]) -> tuple[tuple[Order, ...], bytes]:
    """The orders of one create, and its body.

    Raises:
        InvalidData: what is no order, or cannot be written; every fault with its path, such as ``orders[2].price``.
    """
    if all(type(each) is Order for each in given):
        try:
            return tuple(given), encode(TaskBatch(tasks=tuple(given)))
        except InvalidData:
            pass  # a dict where an object belongs, or a fault
    problems: list[Problem] = []
    orders = [_made(each, Order, f"orders[{number}]", problems) for number, each in enumerate(given)]
    for number, order in enumerate(orders):
        if order is not None and not any(problem.path.startswith(f"orders[{number}]") for problem in problems):
            problems += [Problem(f"orders[{number}].{path}", why, bad) for path, why, bad in misfits(order)]
    if problems:
        raise InvalidData("", problems)
    return tuple(orders), encode(TaskBatch(tasks=tuple(orders)))


def refuse_faulty(orders: Sequence[Order], now: datetime) -> None:
    """Hold what can be said of each order before it is sent, by the rules that `gotsurge push` has for a file.

    Raises:
        InvalidData: every fault with its path; what is a warning is none.
    """
    problems = [
        Problem(
            f"orders[{number}].{found.path}",
            found.message + (f"; did you mean {found.proposal}?" if found.proposal else ""),
            found.value,
        )
        for number, order in enumerate(orders)
        for found in check_order(order, now=now)
        if found.severity is Severity.FAULT
    ]
    if problems:
        raise InvalidData("", problems)


def _made(given: Any, cls: Any, path: str, problems: list[Problem]) -> Any:
    """The object; None where there are faults, which are put to the others."""
    before = len(problems)
    if isinstance(given, cls):
        # Only what holds objects can hold dicts in their places.
        named = [field for field in fields_of(cls) if is_model(field.inner) and getattr(given, field.name) is not None]
        values = {field.name: _value(getattr(given, field.name), field, path, problems) for field in named}
        changed = {name: value for name, value in values.items() if value != getattr(given, name)}
        return attrs.evolve(given, **changed) if changed and len(problems) == before else given
    if not isinstance(given, Mapping):
        problems.append(Problem(path, f"expected {_named(cls)}, not {type(given).__name__} {given!r:.40}", given))
        return None
    fields = {field.name: field for field in fields_of(cls)}
    for name in given:
        if name not in fields and name != "extra":
            near = nearest(str(name), fields)
            meant = f'; did you mean "{near}"?' if near else ""
            problems.append(Problem(_below(path, str(name)), f"{_named(cls)} has no such field{meant}"))
    extra = given.get("extra") or {}
    if not isinstance(extra, Mapping):
        problems.append(
            Problem(_below(path, "extra"), f"expected a dict, not {type(extra).__name__} {extra!r:.40}", extra)
        )
    values = {}
    for name, field in fields.items():
        if given.get(name) is not None:
            values[name] = _value(given[name], field, path, problems)
        elif field.required:
            problems.append(Problem(_below(path, name), "is required and missing"))
    if len(problems) == before:
        try:
            return cls(**values, extra=dict(extra))
        except InvalidData as error:
            problems += [Problem(_below(path, at), why, bad) for at, why, bad in error.problems]
    return None


def _value(given: Any, field: Field, path: str, problems: list[Problem]) -> Any:
    path = _below(path, field.name)
    if not field.many:
        return _one(given, field, path, problems)
    if not isinstance(given, list | tuple):
        problems.append(Problem(path, f"give several, such as a list, not {type(given).__name__} {given!r:.40}", given))
        return None
    return tuple(_one(each, field, f"{path}[{number}]", problems) for number, each in enumerate(given))


def _one(given: Any, field: Field, path: str, problems: list[Problem]) -> Any:
    kind = field.inner
    if is_model(kind):
        return _made(given, kind, path, problems)
    if kind is Money and isinstance(given, Money):
        return given
    try:
        if kind is datetime:
            return utc(given if isinstance(given, datetime) else _moment(given))
        return checking.structure(str(given) if isinstance(given, str) else given, kind)
    except InvalidData as error:
        problems += [Problem(path, why, bad) for _, why, bad in error.problems]
    except Unfit as error:
        problems += [Problem(f"{path}{at}", why, given) for at, why, _ in error.problems]
    except (ValueError, OverflowError) as error:  # a time beyond all calendars
        problems.append(Problem(path, str(error), given))
    return None


def _moment(text: Any) -> datetime:
    checking.structure(text, datetime)  # takes what has no zone for UTC, as the service's times are
    return datetime.fromisoformat(text.upper())  # RFC 3339 takes a small z, Python does not


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name


def _named(cls: type) -> str:
    return f"{'an' if cls.__name__[:1] in 'AEIO' else 'a'} {cls.__name__}"
