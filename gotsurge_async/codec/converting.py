"""The cattrs converter: the reference, and the one that names every fault."""

import types
import typing
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import cattrs
import msgspec
from cattrs.gen import make_dict_structure_fn

from gotsurge_async.codec.shapes import is_model, money_from_wire, shown
from gotsurge_async.codec.writing import writer_of
from gotsurge_async.errors import InvalidData, Problem
from gotsurge_async.models.base import OpenEnum, read_utc
from gotsurge_async.money import Money

T = TypeVar("T")


def _strict(expected: str, *accepted: type) -> Callable[[Any, Any], Any]:
    def check(value: Any, _: Any) -> Any:
        if type(value) not in accepted:
            raise ValueError(f"expected {expected}, not {shown(value)}")
        return value

    return check


def _structure_float(value: Any, _: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError(f"expected a number, not {shown(value)}")
    return float(value)


def _structure_datetime(value: Any, _: Any) -> datetime:
    try:
        moment = msgspec.convert(value, datetime, strict=True)
    except msgspec.ValidationError:
        raise ValueError(f"expected an RFC 3339 time such as 2030-03-04T01:00:00Z, not {shown(value)}") from None
    return read_utc(moment)


def _structure_enum(value: Any, cls: type[OpenEnum]) -> OpenEnum:
    return cls(_strict("text", str)(value, cls))


def _structure_list(cls: Any) -> Callable[[Any, Any], tuple[Any, ...]]:
    listed: Any = types.GenericAlias(list, typing.get_args(cls)[:1])

    def structure_list(value: Any, _: Any) -> tuple[Any, ...]:
        if type(value) not in (list, tuple):
            raise ValueError(f"expected a list, not {shown(value)}")
        return tuple(converter.structure(value, listed))

    return structure_list


def _structure_model(cls: Any, made: cattrs.Converter) -> Callable[[Any, Any], Any]:
    structure_fields = make_dict_structure_fn(cls, made)

    def structure_model(value: Any, _: Any) -> Any:
        # The generated function only asks for names: of a class without required fields, text would make an empty one.
        return structure_fields(_strict("an object", dict)(value, cls), cls)

    return structure_model


def _origin(cls: Any) -> Any:
    return typing.get_origin(cls)


def _is_open_enum(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, OpenEnum)


def _make_converter() -> cattrs.Converter:
    made = cattrs.Converter(detailed_validation=True)
    made.register_structure_hook(str, _strict("text", str))
    made.register_structure_hook(int, _strict("a whole number", int))
    made.register_structure_hook(bool, _strict("true or false", bool))
    made.register_structure_hook(float, _structure_float)
    made.register_structure_hook(datetime, _structure_datetime)
    made.register_structure_hook(Money, lambda value, cls: money_from_wire(cls, value))
    made.register_structure_hook_func(_is_open_enum, _structure_enum)
    made.register_structure_hook_factory(lambda cls: _origin(cls) is tuple, _structure_list)
    # The values inside are any JSON.
    made.register_structure_hook_func(lambda cls: _origin(cls) is dict, _strict("an object", dict))
    made.register_structure_hook_factory(is_model, lambda cls: _structure_model(cls, made))
    made.register_unstructure_hook_factory(is_model, lambda cls: writer_of(cls))
    return made


converter: cattrs.Converter = _make_converter()
"""The cattrs converter. `structure` and `encode` are its fast way in and out, and behave the same."""


def structure_slowly(tree: Any, cls: type[T]) -> T:
    try:
        return converter.structure(tree, cls)
    except cattrs.BaseValidationError as error:
        lines = cattrs.transform_error(error, path="$", format_exception=_told)
        raise InvalidData("", [_problem(line) for line in lines]) from None
    except (ValueError, TypeError) as error:
        raise InvalidData("", [Problem("", str(error))]) from None


def _told(error: BaseException, _: type | None) -> str:
    if isinstance(error, KeyError):
        return "is required and missing"
    return str(error)


def _problem(line: str) -> Problem:
    message, _, path = line.rpartition(" @ $")
    return Problem(path.removeprefix("."), message)
