"""The base of all models: open enumerations, UTC times, and a place for fields that the classes do not name."""

import functools
import json
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from importlib import import_module
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

import attrs

from gotsurge_async.errors import Coded, InvalidData, Problem, UsageError

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
    """The same instant in UTC; InvalidData for a naive datetime, which names no instant, and for any other type."""
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
        raise ValueError(
            Coded(f"{moment.isoformat()}, converted to UTC, is outside the years 1 to 9999", "E903")
        ) from None


def several(value: Iterable[T], name: str) -> tuple[T, ...]:
    """The items of an iterable; raises InvalidData for text, bytes, a mapping or a model."""
    if isinstance(value, str | bytes | Mapping | Model) or not isinstance(value, Iterable):
        why = f"give a list or another iterable, not {type(value).__name__} {value!r:.40}"
        raise InvalidData("", [Problem(name, Coded(why, "E903"))])
    return tuple(value)


class _NotGiven(tuple[Any, ...]):
    __slots__ = ()

    def __reduce__(self) -> str:
        return "NOT_GIVEN"  # the one object, also after a pickle or a copy


NOT_GIVEN: tuple[Any, ...] = _NotGiven()
"""The default of every list: it equals an empty one, but is not written."""


NO_PATHS = (".", "..")
"""Texts that no path can have as a part: they would lead to another one."""


class JsonForm(NamedTuple):
    """Functions that write models as JSON text and build them from plain values; the codec sets them."""

    write: Callable[[Any], bytes]
    read: Callable[[Any, Any], Any]


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Model:
    """The base of every object of the API.

    pydantic reads and writes it as `from_dict` and `to_json` do: it may stand in a pydantic model, and is what an
    endpoint of FastAPI takes or returns.

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

    JSON_FORM: ClassVar[JsonForm]

    extra: dict[str, Any] = attrs.field(factory=dict, repr=lambda extra: "{...}" if extra else "{}")

    # attrs would write these two for each class: a third of what its definition costs, at every start.
    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(getattr(self, field.name) == getattr(other, field.name) for field in attrs.fields(type(self)))

    def __repr__(self) -> str:
        parts = []
        for field in attrs.fields(type(self)):
            if field.repr:
                write = repr if field.repr is True else field.repr
                parts.append(f"{field.name}={write(getattr(self, field.name))}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def to_json(self) -> str:
        """The object as JSON text, as the service writes it: the API's names, whole thousandths of a cent, UTC times.

        Fields that are None are left out, and ``extra`` is written with the others.

        Raises:
            InvalidData: JSON has no form for a value.
            UsageError: objects of the class hold secrets, which are not written.
        """
        _refuse_secrets(type(self))
        return _json_form().write(self).decode()

    def to_dict(self) -> dict[str, Any]:
        """The plain values of `to_json`, with the same errors."""
        plain: dict[str, Any] = json.loads(self.to_json())
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Self:
        """The object that `to_dict` wrote, or that the service wrote as JSON.

        What an answer contains is read as the client reads it: a value that does not fit stays in ``extra``. What
        programs write (an `Order`, an `Address`, …) must fit.

        Raises:
            InvalidData: ``problems`` lists every fault with its path.
        """
        made: Self = _json_form().read(plain, cls)
        return made

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> dict[str, Any]:
        _refuse_secrets(cls)
        # A schema is a dict: pydantic need not be imported, nor installed.
        return {
            "type": "function-plain",
            "function": {"type": "no-info", "function": lambda v: v if isinstance(v, cls) else cls.from_dict(v)},
            "serialization": {"type": "function-plain", "function": cls.to_dict},
        }

    @classmethod
    def __get_pydantic_json_schema__(cls, *_: Any) -> dict[str, Any]:
        return {"type": "object", "title": cls.__name__}


def _json_form() -> JsonForm:
    import_module("gotsurge_async.codec.text")  # by its name: it imports the models, and sets the form
    return Model.JSON_FORM


def _refuse_secrets(cls: Any) -> None:
    if any(field.secret for field in fields_of(cls)):
        raise UsageError(
            f"{cls.__name__} contains secrets, so it cannot be written: write only the fields that you need", "E903"
        )


class Field(NamedTuple):
    """A field of a model; ``inner`` is its type without None, or for a list (``many``) the type of its items.

    ``is_id``: it is an id, for which a whole number is accepted, too. ``secret``: its value must not be shown.
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
