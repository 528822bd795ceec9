"""The base of all models: open enumerations, UTC times, and a place for fields that the classes do not name."""

import functools
import types
import typing
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

import attrs

from gotsurge_async.errors import Coded, InvalidData, Problem

__all__ = ["Model", "OpenEnum"]

T = TypeVar("T")


class OpenEnum(StrEnum):
    """Text with known values. An unknown value is kept as it came, and compares equal to its text."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = value
        member._value_ = value
        return member

    @property
    def known(self) -> bool:
        """Whether the document lists this value."""
        return self._value_ in type(self)._value2member_map_


def utc(moment: datetime) -> datetime:
    """The same instant in UTC.

    Raises:
        InvalidData: for a naive datetime, which names no instant, and for any other type.
    """
    if not isinstance(moment, datetime):
        why = Coded(f"expected an aware datetime, not {type(moment).__name__} {moment!r:.40}", "E903")
        raise InvalidData("", [Problem("", why)])
    if moment.utcoffset() is None:
        why = Coded(f"{moment.isoformat()} has no time zone: give an aware datetime", "E903")
        raise InvalidData("", [Problem("", why, moment)])
    return _in_utc(moment)


def utc_if_aware(moment: datetime) -> datetime:
    """`utc` as the converter of a field. It leaves other values to `names_an_instant`, which knows the field's name."""
    return _in_utc(moment) if isinstance(moment, datetime) and moment.utcoffset() is not None else moment


def names_an_instant(_: object, field: "attrs.Attribute[datetime]", moment: datetime) -> None:
    """The validator of a field whose converter is `utc_if_aware`."""
    if not isinstance(moment, datetime) or moment.tzinfo is not UTC:
        try:
            utc(moment)
        except InvalidData as error:
            raise InvalidData("", [problem._replace(path=field.name) for problem in error.problems]) from None


def optional_utc(moment: datetime | None) -> datetime | None:
    """`utc`, passing None through."""
    return None if moment is None else utc(moment)


def read_utc(moment: datetime) -> datetime:
    """A time of the service in UTC. A time without a zone is in UTC, as the API document says of every such field."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else _in_utc(moment)


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(Coded(f"{moment.isoformat()} lies outside the calendar in UTC", "E903")) from None


def several(value: Iterable[T], name: str) -> tuple[T, ...]:
    """The items of an iterable; raises InvalidData for text, bytes, a mapping or a model."""
    if isinstance(value, str | bytes | Mapping | Model) or not isinstance(value, Iterable):
        why = f"give several, such as a list, not {type(value).__name__} {value!r:.40}"
        raise InvalidData("", [Problem(name, Coded(why, "E903"))])
    return tuple(value)


class _NotGiven(tuple[Any, ...]):
    __slots__ = ()

    def __reduce__(self) -> str:
        return "NOT_GIVEN"  # the one object, also after a pickle or a copy


NOT_GIVEN: tuple[Any, ...] = _NotGiven()
"""The default of every list: it equals an empty one, but is not written."""


@attrs.frozen(kw_only=True)
class Model:
    """The base of every object of the API.

    Attributes:
        extra: fields that the class does not name, and values that do not fit their field, as they came
            (`gotsurge_async.codec.unreadable` lists these, with reasons). It is written back.
    """

    IDENTITY: ClassVar[frozenset[str]] = frozenset()
    """The fields that distinguish one object from another. An answer is unreadable if one of them does not fit."""
    OTHER_NAMES: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Fields that may come under another name."""
    CURRENCY: ClassVar[str] = ""
    """The field that names the currency of the amounts; "" for none."""

    extra: dict[str, Any] = attrs.field(factory=dict, repr=lambda extra: "{...}" if extra else "{}")


class Field(NamedTuple):
    """A field of a model.

    Attributes:
        inner: its type without None; for a list, the type of its items.
        many: whether it is a list.
        is_id: whether it is an id, for which a whole number is accepted, too.
        secret: whether its value must not be shown.
    """

    name: str
    hint: Any
    inner: Any
    many: bool
    required: bool
    default: Any
    is_id: bool
    secret: bool


def fields_of(cls: Any) -> tuple[Field, ...]:
    """The fields of a model, without ``extra``."""
    return _fields(cls)


@functools.cache
def _fields(cls: Any) -> tuple[Field, ...]:
    hints = typing.get_type_hints(cls)
    return tuple(
        Field(
            attribute.name,
            hints[attribute.name],
            *_inner(hints[attribute.name]),
            required=attribute.default is attrs.NOTHING,
            default=attribute.default,
            is_id=attribute.name == "id"
            or attribute.name.endswith("_id")
            or attribute.name in {*cls.IDENTITY, *cls.OTHER_NAMES},
            secret=attribute.repr is False,
        )
        for attribute in attrs.fields(cls)
        if attribute.name != "extra"
    )


def _inner(hint: Any) -> tuple[Any, bool]:
    if is_union(hint):
        hint = next(kind for kind in typing.get_args(hint) if kind is not types.NoneType)
    return (typing.get_args(hint)[0], True) if typing.get_origin(hint) is tuple else (hint, False)


def is_union(hint: Any) -> bool:
    """Whether a type is one of several, such as ``X | None``."""
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def is_model(cls: Any) -> bool:
    """Whether a type is a class of the API's objects."""
    return isinstance(cls, type) and issubclass(cls, Model)
