"""Converts values that a program passes to objects of the API: each is the object itself, or a dict of its fields."""

import math
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

import attrs

from gotsurge_async.codec.compiled import whole_check
from gotsurge_async.codec.converters import Unfit, checking
from gotsurge_async.errors import Coded, InvalidData, Problem, UsageError, code_of
from gotsurge_async.models.base import Field, Model, fields_of, is_model
from gotsurge_async.models.rules import NO_CURRENCY, Severity, check_order, nearest
from gotsurge_async.models.tasks import Order, TaskFields
from gotsurge_async.money import Money

M = TypeVar("M", bound=Model)

OrderLike: TypeAlias = Order | Mapping[str, Any]
"""An order, or a dict of its fields as the API writes them."""


class Faulty(NamedTuple):
    """A value that is not an order, as it was passed, and its faults, whose paths begin in the value."""

    given: Any
    error: InvalidData


def as_read(value: Any) -> "Order | Faulty":
    """An order as it is at this moment: a program may change a dict, and pass it again, before the order is sent."""
    if type(value) is Order and _is_whole(value) and has_currency(value):
        return value
    try:
        return made_of(value, Order)
    except InvalidData as error:
        return Faulty(value, error)


def each_as_read(
    orders: Iterable[Any] | AsyncIterable[Any], read: "Callable[[Any], Order | Faulty]" = as_read
) -> "Iterable[Order | Faulty] | AsyncIterable[Order | Faulty]":
    """Read each order with ``read``, or `as_read`, when the iteration reaches it."""
    if isinstance(orders, str | bytes | Mapping | Model) or not isinstance(orders, Iterable | AsyncIterable):
        raise UsageError(f"orders: give a list or another iterable, not {type(orders).__name__}", "E903")
    return _each(orders, read) if isinstance(orders, AsyncIterable) else map(read, orders)


async def _each(orders: AsyncIterable[Any], read: "Callable[[Any], Order | Faulty]") -> "AsyncIterator[Order | Faulty]":
    async for order in orders:
        yield read(order)


_is_whole = whole_check(Order)
_amounts_of = attrgetter(*TaskFields.MONEY)


def has_currency(order: TaskFields) -> bool:
    """Whether every amount has a currency."""
    return bool(order.currency) or all(amount is None for amount in _amounts_of(order))


def made_of(value: Any, cls: type[M], path: str = "") -> M:
    """Make an object of a class, with every object in it, from an object or a dict at a ``path``.

    A dict has the names of the API, times as aware datetimes or RFC 3339 text with a zone, money as `Money` or in whole
    thousandths of a cent. A name that the class does not have is a fault: fields that only the service knows stand in
    ``extra``. Raises InvalidData, with every fault and its path.
    """
    (made,) = _all_made([(value, cls, path)])
    return cast("M", made)


def each_made(values: Sequence[Any], kind_of: Callable[[Any], type[M]], path: str) -> tuple[M, ...]:
    """Make an object of each value with `made_of`; ``kind_of`` returns its class, and ``stops[0]`` is such a path."""
    return _all_made([(value, kind_of(value), f"{path}[{number}]") for number, value in enumerate(values)])


def _all_made(values: Sequence[tuple[Any, Any, str]]) -> tuple[Any, ...]:
    problems: list[Problem] = []
    made = tuple(_whole(value, cls, path, problems) for value, cls, path in values)
    if problems:
        raise InvalidData("", problems)
    return made


def check_limit(validate: bool, max_price: object) -> None:
    """Check that a limit for amounts is `Money`, and that ``validate`` is set, so that the limit is used."""
    if max_price is None:
        return
    if not isinstance(max_price, Money):
        raise UsageError(f"max_price: give Money, not {max_price!r:.60}", "E903")
    if not validate:
        raise UsageError("max_price works only with validate=True", "E903")


def refuse_faulty(orders: Sequence[Order], now: datetime, max_price: Money | None) -> None:
    """Check each order by the rules of `gotsurge push` for a file, see `check_order`; InvalidData for faults."""
    problems = [
        Problem(
            f"orders[{number}].{finding.path}",
            Coded(f"{finding.message}; did you mean {finding.proposal}?", code_of(finding.message))
            if finding.proposal
            else finding.message,
            finding.value,
        )
        for number, order in enumerate(orders)
        for finding in check_order(order, now=now, max_price=max_price)
        if finding.severity is Severity.FAULT
    ]
    if problems:
        raise InvalidData("", problems)


# --- the one check of what stands in a field -------------------------------------------------------------------------


def misfits(model: Model) -> list[Problem]:
    """The values of an object that do not belong in their fields: every fault with its path."""
    problems: list[Problem] = []
    _object(model, type(model), "", problems, dicts=False)
    return problems


def _whole(value: Any, cls: Any, path: str, problems: list[Problem]) -> Any:
    """Make an object as `_object`, and report its amounts without a currency."""
    before = len(problems)
    made = _object(value, cls, path, problems)
    if len(problems) == before and isinstance(made, TaskFields) and not has_currency(made):
        alone = [name for name in made.MONEY if getattr(made, name) is not None]
        problems += [Problem(_below(path, name), NO_CURRENCY, getattr(made, name)) for name in alone]
    return made


def _object(value: Any, cls: Any, path: str, problems: list[Problem], *, dicts: bool = True) -> Any:
    """Make an object of a class, from a dict too if ``dicts``; None if there are faults, added to ``problems``."""
    before = len(problems)
    if isinstance(value, cls):
        changed: dict[str, Any] = {}
        for field in fields_of(cls):
            inner = getattr(value, field.name)
            if inner is not None:
                made = _value(inner, field, _below(path, field.name), problems, _of_object, dicts=dicts)
                if is_model(field.inner) and made != inner:
                    changed[field.name] = made
        return attrs.evolve(value, **changed) if changed and len(problems) == before else value
    if dicts and isinstance(value, Mapping):
        return _from_dict(value, cls, path, problems)
    problems.append(Problem(path, Coded(f"expected {_named(cls)}, not {_shown(value)}", "E237"), value))
    return None


def _from_dict(value: Mapping[str, Any], cls: Any, path: str, problems: list[Problem]) -> Any:
    before = len(problems)
    fields = {field.name: field for field in fields_of(cls)}
    for name in value:
        if name not in fields and name != "extra":
            near = nearest(str(name), fields)
            meant = f'; did you mean "{near}"?' if near else ""
            problems.append(Problem(_below(path, str(name)), Coded(f"{_named(cls)} has no such field{meant}", "E212")))
    extra = value.get("extra") or {}
    if not isinstance(extra, Mapping):
        problems.append(Problem(_below(path, "extra"), Coded(f"expected a dict, not {_shown(extra)}", "E237"), extra))
    values = {}
    for name, field in fields.items():
        if value.get(name) is not None:
            values[name] = _value(value[name], field, _below(path, name), problems, _of_dict)
        elif field.required:
            problems.append(Problem(_below(path, name), Coded("is required but missing", "E211")))
    if len(problems) == before:
        try:
            return cls(**values, extra=dict(extra))
        except InvalidData as error:
            problems += [Problem(_below(path, at), why, bad) for at, why, bad in error.problems]
    return None


def _value(
    value: Any,
    field: Field,
    path: str,
    problems: list[Problem],
    check: Callable[[Any, Field, str, list[Problem]], Any],
    *,
    dicts: bool = True,
) -> Any:
    """The value of a field; ``check`` is called for one that is neither an object nor a list."""

    def one(item: Any, at: str) -> Any:
        if is_model(field.inner):
            return _object(item, field.inner, at, problems, dicts=dicts)
        if field.inner in (int, float) and isinstance(item, float) and not math.isfinite(item):
            problems.append(Problem(at, Coded(f"is {item}, which JSON cannot contain", "E237"), item))
            return None
        return check(item, field, at, problems)

    if not field.many:
        return one(value, path)
    if not isinstance(value, list | tuple):
        problems.append(Problem(path, Coded(f"give a list or another iterable, not {_shown(value)}", "E903"), value))
        return None
    return tuple(one(item, f"{path}[{number}]") for number, item in enumerate(value))


_WORDS: Mapping[Any, tuple[str, tuple[type, ...]]] = {
    str: ("text", (str,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float, Decimal)),
    bool: ("true or false", (bool,)),
    Money: ('Money, such as Money.of("2.00", "SGD")', (Money,)),
    datetime: ("an aware datetime", (datetime,)),
}


def _of_object(value: Any, field: Field, path: str, problems: list[Problem]) -> Any:
    """The value of a field in an object, as the class declares it."""
    words, kinds = _WORDS.get(field.inner, (_named(field.inner), (field.inner,)))
    if isinstance(field.inner, type) and field.inner is not Any and not isinstance(value, kinds):
        shown = "what it is" if field.secret else _shown(value)
        problems.append(Problem(path, Coded(f"expected {words}, not {shown}", "E237"), None if field.secret else value))
    return value


def _of_dict(value: Any, field: Field, path: str, problems: list[Problem]) -> Any:
    """The value of a field in a dict, as the API writes it, or as the class declares it."""
    kind = field.inner
    if kind is Money and isinstance(value, Money):
        return value
    try:
        return checking.structure(str(value) if isinstance(value, str) else value, kind)
    except Unfit as error:
        problems += [Problem(f"{path}{at}", why, value) for at, why, _ in error.problems]
    return None


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name


def _named(kind: Any) -> str:
    name = getattr(kind, "__name__", str(kind))
    return f"{'an' if name[:1] in 'AEIO' else 'a'} {name}"


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 40 else f'{text[:37]}...'}"
