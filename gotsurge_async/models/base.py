"""What all models share: open enumerations, UTC times, and a place for fields that they do not name."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

import attrs


class OpenEnum(StrEnum):
    """Text with known values. A value that is not known is kept as it came, and compares equal to its text."""

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
        ValueError: for a naive datetime, which names no instant.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone: give an aware datetime")
    return _in_utc(moment)


def optional_utc(moment: datetime | None) -> datetime | None:
    """`utc`, passing None through."""
    return None if moment is None else utc(moment)


def read_utc(moment: datetime) -> datetime:
    """A time of the service in UTC. One without a zone is in UTC: every such field of the document is a UTC time."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else _in_utc(moment)


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{moment.isoformat()} lies outside the calendar in UTC") from None


def settle_times(model: object, *names: str) -> None:
    """Bring times that the JSON decoder has set, past the converters, to UTC."""
    for name in names:
        moment = getattr(model, name)
        if moment is not None and moment.tzinfo is not UTC:
            object.__setattr__(model, name, read_utc(moment))


@attrs.frozen(kw_only=True)
class Model:
    """The base of every object of the API.

    Attributes:
        extra: fields of the JSON object that the class does not name, as they came. They are written back.
    """

    extra: dict[str, Any] = attrs.field(factory=dict, repr=lambda extra: "{...}" if extra else "{}")
