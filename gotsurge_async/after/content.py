"""Whether a task has the content of an order."""

import re
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from gotsurge_async import codec
from gotsurge_async.models.tasks import TaskFields

if TYPE_CHECKING:
    from gotsurge_async.models.answers import Task

_FRACTION = re.compile(r"(?<=:\d\d)\.\d+(?=z$)")
"""A fraction of a second, at the end of a time."""


def has_content_of(task: "Task", payload: bytes) -> bool:
    """Whether a task that was read whole has an order's content: no value differs, none is missing or additional.

    Ignored are fields that only the service sets, and values that it may have filled in and that change nothing for
    the driver. If in doubt, the answer is no: the draft stays unused.
    """
    mine, theirs = msgspec.json.decode(payload), msgspec.json.decode(codec.encode(task))
    added = attrs.fields_dict(type(task)).keys() - attrs.fields_dict(TaskFields).keys()
    return not any(
        _differ(mine.get(name), theirs.get(name))
        for name in mine.keys() | (theirs.keys() - added)
        if not (name in _SET_BY_SERVICE and (_is_empty(mine.get(name)) or _is_empty(theirs.get(name))))
        if name != "client_time_utc"
    )


_SET_BY_SERVICE = frozenset(("client_timezone", "currency", "org_id"))
"""Fields of an order that the service may fill in, and that change nothing for the driver by themselves."""


def _differ(mine: Any, theirs: Any) -> bool:
    """Whether two values differ; not by fractions of a second, capitals or spaces. Empty, 0 and missing are equal."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return any(_differ(mine.get(name), theirs.get(name)) for name in mine.keys() | theirs.keys())
    if isinstance(mine, list) and isinstance(theirs, list):
        return len(mine) != len(theirs) or any(map(_differ, mine, theirs))
    if isinstance(mine, str) and isinstance(theirs, str):
        mine, theirs = (_FRACTION.sub("", " ".join(text.casefold().split())) for text in (mine, theirs))
    return bool(mine != theirs) and not (_is_empty(mine) and _is_empty(theirs))


def _is_empty(value: Any) -> bool:
    return (value in (None, "", [], 0) and value is not False) or (
        isinstance(value, dict) and all(map(_is_empty, value.values()))
    )
