"""What ``--set`` and ``--clear`` say about a task."""

import types
import typing
from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

import attrs
import click
import msgspec

from gotsurge_async import codec
from gotsurge_async.cli.shared.reading import MoneyAmount
from gotsurge_async.models.base import Model, OpenEnum
from gotsurge_async.models.tasks import TaskChanges
from gotsurge_async.money import Money

_HINT = "--set"


@attrs.frozen
class Changes:
    """Fields and their new values, None for those to be emptied."""

    values: dict[str, Any]

    @classmethod
    def read(cls, sets: Sequence[str], clears: Sequence[str]) -> "Changes":
        """Read ``FIELD=VALUE`` texts, and names.

        Raises:
            click.UsageError: a value that is none of its field, or a field that is named twice.
        """
        values: dict[str, Any] = {}
        for text in sets:
            name, equals, value = text.partition("=")
            if not equals or not name:
                raise click.BadParameter(f"{text!r} is not FIELD=VALUE", param_hint=_HINT)
            _once(values, name)
            values[name] = _value(name, value)
        for name in clears:
            _once(values, name)
            values[name] = None
        if not values:
            raise click.UsageError("say what to change: --set FIELD=VALUE or --clear FIELD")
        return cls(values)

    def for_currency(self, currency: str | None) -> TaskChanges:
        """The changes; an amount without a currency is in the task's."""
        values = {
            name: value.in_currency(currency) if isinstance(value, Money) and not value.currency and currency else value
            for name, value in self.values.items()
        }
        return cast("TaskChanges", values)


def _once(values: dict[str, Any], name: str) -> None:
    if name in values:
        raise click.UsageError(f"{name} is given twice")


def _value(name: str, text: str) -> Any:
    """The value of a field; what is no field of an update is left to the client to refuse, with its reason."""
    hint = typing.get_type_hints(TaskChanges).get(name, str)
    try:
        return _read(_inner(hint), text)
    except (ValueError, msgspec.MsgspecError) as error:
        raise click.BadParameter(f"{name}: {error}", param_hint=_HINT) from None
    except click.BadParameter as error:
        raise click.BadParameter(f"{name}: {error.message}", param_hint=_HINT) from None


def _inner(hint: Any) -> Any:
    """The type inside ``X | None``; an enumeration may be given as text."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        rest = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        return next((arg for arg in rest if isinstance(arg, type) and issubclass(arg, OpenEnum)), rest[0])
    return hint


def _read(kind: Any, text: str) -> Any:
    if kind is Money:
        return MoneyAmount().convert(text, None, None)
    if kind is int or kind is float:
        return _number(kind, text)
    if kind is datetime:
        return _time(text)
    if typing.get_origin(kind) is tuple:
        return tuple(codec.structure(each, typing.get_args(kind)[0]) for each in msgspec.json.decode(text, type=list))
    if isinstance(kind, type) and issubclass(kind, Model):
        return codec.structure(msgspec.json.decode(text, type=dict), kind)
    return text


def _number(kind: Any, text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a {'whole ' if kind is int else ''}number") from None


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"{text!r} is not a time with its zone, such as 2030-03-04T01:00:00Z")
    return moment
