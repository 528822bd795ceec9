"""What a program gives, as the object that belongs there: the object itself, or a dict as the API writes it."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

import attrs

from gotsurge_async.codec.converters import Unfit
from gotsurge_async.codec.text import checking, encode, misfits
from gotsurge_async.errors import InvalidData, Problem, UsageError
from gotsurge_async.models.base import NOT_GIVEN, Field, Model, fields_of, is_model, utc
from gotsurge_async.models.places import Address
from gotsurge_async.models.prices import Stop
from gotsurge_async.models.rules import NO_CURRENCY, Severity, check_order, nearest
from gotsurge_async.models.tasks import Order, TaskBatch, TaskFields
from gotsurge_async.money import Money

M = TypeVar("M", bound=Model)

OrderLike: TypeAlias = Order | Mapping[str, Any]
"""An order, or a dict of its fields as the API writes them."""
StopLike: TypeAlias = Stop | Address | Mapping[str, Any]
"""A stop of a route, an address, or a dict of the fields of either as the API writes them."""


class Faulty(NamedTuple):
    """What is no order, as it was given, and why; the paths begin in it."""

    given: Any
    error: InvalidData


def as_read(given: Any) -> "Order | Faulty":
    """An order as it is at this moment: who gives a dict may change it, and give it again, before it is sent."""
    if type(given) is Order and _is_whole(given) and _has_currency(given):
        return given
    try:
        return made_of(given, Order)
    except InvalidData as error:
        return Faulty(given, error)


def each_as_read(
    given: Iterable[Any] | AsyncIterable[Any], read: "Callable[[Any], Order | Faulty]" = as_read
) -> "Iterable[Order | Faulty] | AsyncIterable[Order | Faulty]":
    """`as_read` of each, when it is asked for.

    Args:
        read: reads each instead of `as_read`.

    Raises:
        UsageError: one order, one dict or a text was given, which is not several.
    """
    if isinstance(given, str | bytes | Mapping | Model) or not isinstance(given, Iterable | AsyncIterable):
        raise UsageError(f"orders: give several, such as a list, not {type(given).__name__}")
    return _each(given, read) if isinstance(given, AsyncIterable) else map(read, given)


async def _each(given: AsyncIterable[Any], read: "Callable[[Any], Order | Faulty]") -> "AsyncIterator[Order | Faulty]":
    async for each in given:
        yield read(each)


_OBJECTS = tuple(field.name for field in fields_of(Order) if is_model(field.inner))
_objects = attrgetter(*_OBJECTS)
_WHOLE = {*(field.inner for field in fields_of(Order) if is_model(field.inner)), type(None), tuple, type(NOT_GIVEN)}


def _is_whole(order: Order) -> bool:
    """Whether an object is in the place of each object, and no dict."""
    objects = _objects(order)
    return _WHOLE.issuperset(map(type, objects)) and all(
        type(one) in _WHOLE for each in objects if isinstance(each, tuple) for one in each
    )


_amounts_of = attrgetter(*TaskFields.MONEY)


def _has_currency(order: TaskFields) -> bool:
    """Whether no amount stands alone."""
    return bool(order.currency) or all(amount is None for amount in _amounts_of(order))


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
    made = _whole(given, cls, path, problems)
    if problems:
        raise InvalidData("", problems)
    return cast("M", made)


def each_made(given: Sequence[Any], kind_of: Callable[[Any], type[M]], path: str) -> tuple[M, ...]:
    """`made_of` of each, such as ``stops[0]``; ``kind_of`` tells of which class one is to be.

    Raises:
        InvalidData: the faults of all of them.
    """
    problems: list[Problem] = []
    made = [_whole(each, kind_of(each), f"{path}[{number}]", problems) for number, each in enumerate(given)]
    if problems:
        raise InvalidData("", problems)
    return tuple(made)


def several_of(given: Any, path: str) -> tuple[Any, ...]:
    """What was given as several: one object, one dict or a text is not several.

    Raises:
        InvalidData: it is not.
    """
    if isinstance(given, str | bytes | Mapping | Model) or not isinstance(given, Iterable):
        raise InvalidData("", [Problem(path, f"give several, such as a list, not {type(given).__name__}")])
    return tuple(given)


_OF_A_STOP = {"extra", *(field.name for field in fields_of(Stop))}


def stops_of(given: Iterable[StopLike]) -> tuple[Stop, ...]:
    """The stops of a route. A dict is a stop if it may be one: latitude and longitude are written alike in both.

    Raises:
        InvalidData: what is neither a stop nor an address; every fault with its path, such as ``stops[1].latitude``.
    """

    def kind_of(place: Any) -> type[Stop | Address]:
        if isinstance(place, Mapping):
            return Stop if "address" in place or _OF_A_STOP.issuperset(place) else Address
        return Address if isinstance(place, Address) else Stop

    places = each_made(several_of(given, "stops"), kind_of, "stops")
    return tuple(Stop(address=place) if isinstance(place, Address) else place for place in places)


def written_batch(given: Sequence[Any]) -> tuple[tuple[Order, ...], bytes]:
    """The orders of one create, and its body.

    Raises:
        InvalidData: what is no order, or cannot be written; every fault with its path, such as ``orders[2].price``.
    """
    if all(type(each) is Order and _has_currency(each) for each in given):
        try:
            return tuple(given), encode(TaskBatch(tasks=tuple(given)))
        except InvalidData:
            pass  # a dict where an object belongs, or a fault
    orders = each_made(given, lambda _: Order, "orders")
    return orders, encode(TaskBatch(tasks=orders))


def check_limit(validate: bool, max_price: object) -> None:
    """Hold that a limit for amounts is one, and is heeded.

    Raises:
        UsageError: it is no `Money`, or is given without ``validate``.
    """
    if max_price is not None and not (validate and isinstance(max_price, Money)):
        raise UsageError(f"max_price: give Money, together with validate=True, not {max_price!r:.60}")


def refuse_faulty(orders: Sequence[Order], now: datetime, max_price: Money | None) -> None:
    """Hold what can be said of each order before it is sent, by the rules that `gotsurge push` has for a file.

    Args:
        now, max_price: see `check_order`.

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
        for found in check_order(order, now=now, max_price=max_price)
        if found.severity is Severity.FAULT
    ]
    if problems:
        raise InvalidData("", problems)


def _whole(given: Any, cls: Any, path: str, problems: list[Problem]) -> Any:
    """`_made`, and what of the object cannot be written."""
    before = len(problems)
    made = _made(given, cls, path, problems)
    if len(problems) == before:
        problems += [Problem(_below(path, at), why, bad) for at, why, bad in misfits(made)]
        if isinstance(made, TaskFields) and not _has_currency(made):
            alone = [name for name in made.MONEY if getattr(made, name) is not None]
            problems += [Problem(_below(path, name), NO_CURRENCY, getattr(made, name)) for name in alone]
    return made


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
