"""What an event says (section "Task Status Updated"): a hint at a task, never the truth.

The document folds what stands in ``data`` and ``updates``, so all of it is read tolerantly: an event is of use once it
names a task.
"""

import re
import zlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import attrs
import msgspec

from gotsurge_async import codec
from gotsurge_async.errors import GotSurgeError, UnreadableAnswer
from gotsurge_async.models.base import read_utc
from gotsurge_async.models.tasks import Task

LARGEST = 256 * 1024
"""Bytes of a body; an event with a whole task in it is some thousand."""
DEEPEST = 64
"""Objects and lists in each other."""

_IDS = ("id", "task_id", "_id")
_STATUS = ("current_status", "status")
_NAMES = ("tracking_id", "invoice_number", "group_tag")
_NAME = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,200}")
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_TOO_DEEP = f"has more than {DEEPEST} objects and lists in each other"


class MalformedEvent(GotSurgeError):
    """A body that is no event; it says why, and quotes nothing of it."""


@attrs.frozen(kw_only=True)
class Event:
    """An event as its body says it; anybody may have written it.

    Attributes:
        type: what happened, such as ``update``.
        model_name: what it happened to, such as ``Task``.
        task_id: the task that it hints at; None if it is about something else.
        status: the status that it claims.
        tracking_id, invoice_number, group_tag: the order that it claims to be about.
        timestamp: when it was sent; None if it does not say.
        tells_time: whether two events of the same text are one and the same.
        tree: all of it.
    """

    type: str | None = None
    model_name: str | None = None
    task_id: str | None = None
    status: str | None = None
    tracking_id: str | None = None
    invoice_number: str | None = None
    group_tag: str | None = None
    timestamp: datetime | None = None
    tells_time: bool = False
    tree: Mapping[str, Any] = attrs.field(factory=dict, repr=False)

    @property
    def is_of_a_task(self) -> bool:
        """Whether it is about a task, as far as it says."""
        return self.model_name is None or self.model_name.casefold() in ("task", "tasks")

    def task(self) -> Task:
        """The task as the body claims it to be, for who believes bodies.

        Raises:
            MalformedEvent: it does not tell enough of one.
        """
        told: dict[str, Any] = {name: value for place in _places(self.tree) for name, value in place.items()}
        told["id"] = self.task_id
        told.setdefault("current_status", self.status)
        try:
            return codec.Codec().decode(msgspec.json.encode(told), Task)
        except UnreadableAnswer as error:
            raise MalformedEvent(f"tells of no task that can be read: {error}") from None


def read_event(body: bytes) -> Event:
    """What a body says.

    Raises:
        MalformedEvent: it is no JSON object, too large or too deep, or is about a task and does not name it.
    """
    tree = _tree(body)
    places = [tree, *_places(tree)]
    event = Event(
        type=_text(tree.get("type")),
        model_name=_text(tree.get("model_name")),
        task_id=_first(places[1:] or places, _IDS),
        status=_first(reversed(places), _STATUS),
        **{name: _first(places, (name,)) for name in _NAMES},
        timestamp=_moment(tree.get("timestamp")),
        tells_time=tree.get("timestamp") is not None,
        tree=tree,
    )
    if not event.is_of_a_task:
        return attrs.evolve(event, task_id=None)
    if event.task_id is None:
        raise MalformedEvent("names no task: there is no id in its data")
    return event


def _tree(body: bytes) -> dict[str, Any]:
    body = _unpacked(body)
    if len(body) > LARGEST:
        raise MalformedEvent(f"is longer than {LARGEST} bytes")
    try:
        tree = codec.decode_plain(body)
    except UnreadableAnswer as error:
        raise MalformedEvent(_TOO_DEEP if _is_deep(body) else f"is no JSON: {error}") from None
    if _is_deep(body) and not _is_shallow(tree):
        raise MalformedEvent(_TOO_DEEP)
    if isinstance(tree, list) and len(tree) == 1:
        tree = tree[0]
    if not isinstance(tree, dict):
        raise MalformedEvent("is no JSON object")
    return tree


def _unpacked(body: bytes) -> bytes:
    """The text of a body, which may be packed by gzip; of one that is too long when unpacked, too much."""
    if not body.startswith(_GZIP):
        return body.removeprefix(_BOM)
    try:
        return zlib.decompressobj(wbits=31).decompress(body, LARGEST + 1)
    except zlib.error:
        raise MalformedEvent("is no JSON, and cannot be unpacked") from None


def _is_deep(body: bytes) -> bool:
    """Whether it may be, by how much of it there is; nearly none is."""
    return body.count(b"{") + body.count(b"[") > DEEPEST


def _is_shallow(tree: Any) -> bool:
    level = [tree]
    for _ in range(DEEPEST):
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner += each.values()
            elif isinstance(each, list):
                inner += each
        level = [each for each in inner if isinstance(each, dict | list)]
        if not level:
            return True
    return False


def _places(tree: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects of an event that tell of its task, what changed last."""
    found: list[dict[str, Any]] = []
    for name in ("data", "updates"):
        place = tree.get(name)
        if isinstance(place, dict):
            inner = place.get("task")
            found += [inner, place] if isinstance(inner, dict) else [place]
    return found


def _first(places: Iterable[Mapping[str, Any]], names: Iterable[str]) -> str | None:
    names = tuple(names)
    return next((text for place in places for name in names if (text := _text(place.get(name)))), None)


def _text(value: Any) -> str | None:
    """A name that can be one: on one line, and not too long."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**64:
        value = str(value)
    return value if isinstance(value, str) and _NAME.fullmatch(value) else None


def _moment(value: Any) -> datetime | None:
    try:
        return read_utc(msgspec.convert(value, datetime)) if isinstance(value, str) else None
    except (msgspec.ValidationError, ValueError):
        return None
