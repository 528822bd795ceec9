"""Events (section "Task Status Updated"): an event is a hint at a task, never the truth.

The document does not show the content of ``data`` and ``updates``, so they are read tolerantly: an event is useful if
it names a task.
"""

import hashlib
import os
import re
import zlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs
import msgspec

from gotsurge_async import codec
from gotsurge_async.clock import to_microseconds
from gotsurge_async.errors import GotSurgeError, UnreadableAnswer
from gotsurge_async.models.base import read_utc

LARGEST = 256 * 1024
"""The most bytes of a body; an event with a whole task in it has some thousand."""
DEEPEST = 64
"""The most levels of nested objects and lists."""

_IDS = ("id", "task_id", "_id")
_STATUS = ("current_status", "status")
_NAME = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,200}")
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_TOO_DEEP = f"is nested more than {DEEPEST} levels deep"


class EventState(StrEnum):
    """The state of an event."""

    WAITING = "waiting"
    """Its task must still be read."""
    DONE = "done"
    """Its task was read, or it concerns no task."""
    DEAD = "dead"
    """It cannot be used: a person may read it, mend the cause, and replay it."""


class MalformedEvent(GotSurgeError, code="E804"):
    """A body is not an event; the message gives the reason, and quotes nothing of the body."""


@attrs.frozen(kw_only=True)
class Event:
    """An event as its body describes it; anybody may have written the body.

    Attributes:
        type: the kind of change, such as ``update``.
        model_name: the kind of object that changed, such as ``Task``.
        task_id: the task that it hints at; None if it is about something else.
        timestamp: when it was sent, if that can be read.
        tells_time: whether it contains the time when it was sent: then two with the same text are one event.
        tree: its whole content.
    """

    type: str | None = None
    model_name: str | None = None
    task_id: str | None = None
    timestamp: datetime | None = None
    tells_time: bool = False
    tree: Mapping[str, Any] = attrs.field(factory=dict, repr=False)

    @property
    def status(self) -> str | None:
        """The status that the event claims; ``updates`` take precedence over ``data``."""
        return _first([*reversed(_places(self.tree)), self.tree], _STATUS)

    @property
    def tracking_id(self) -> str | None:
        """The tracking id of the order that the event claims."""
        return self._name("tracking_id")

    @property
    def invoice_number(self) -> str | None:
        """The invoice number of the order that the event claims."""
        return self._name("invoice_number")

    @property
    def group_tag(self) -> str | None:
        """The group tag of the order that the event claims."""
        return self._name("group_tag")

    @property
    def names(self) -> tuple[str, ...]:
        """The tracking id and the invoice number that the event claims, without those that are missing."""
        return tuple(name for name in (self.tracking_id, self.invoice_number) if name)

    def shortened(self) -> bytes:
        """A body that contains only the names, the status and the time of this event."""
        names = {"tracking_id": self.tracking_id, "invoice_number": self.invoice_number, "group_tag": self.group_tag}
        return msgspec.json.encode(
            {
                "type": self.type,
                "model_name": self.model_name,
                "data": {"id": self.task_id, **{kind: name for kind, name in names.items() if name}},
                "updates": {"current_status": self.status} if self.status else {},
                "timestamp": self.timestamp,
            }
        )

    def _name(self, name: str) -> str | None:
        return _first([*_places(self.tree), self.tree], (name,))


def read_event(body: bytes) -> Event:
    """Read the body of an event.

    Raises:
        MalformedEvent: it is not a JSON object, too large or too deep, or concerns a task and does not name it.
    """
    tree = _tree(body)
    model = _text(tree.get("model_name"))
    task_id = None
    if model is None or model.casefold() in ("task", "tasks"):
        task_id = _first(_places(tree) or [tree], _IDS)
        if task_id is None:
            raise MalformedEvent('names no task: "data" has no "id"')
    return Event(
        type=_text(tree.get("type")),
        model_name=model,
        task_id=task_id,
        timestamp=_moment(tree.get("timestamp")),
        tells_time=tree.get("timestamp") is not None,
        tree=tree,
    )


def kept_event(body: bytes) -> Event:
    """The event from a stored body; an empty event if the body was dropped."""
    try:
        return read_event(body)
    except MalformedEvent:
        return Event()


def _tree(body: bytes) -> dict[str, Any]:
    body = _unpacked(body)
    if len(body) > LARGEST:
        raise MalformedEvent(f"is longer than {LARGEST} bytes")
    try:
        tree = codec.decode_plain(body)
    except UnreadableAnswer as error:
        raise MalformedEvent(_TOO_DEEP if _is_deep(body) else f"is {error}") from None
    if _is_deep(body) and not _is_shallow(tree):
        raise MalformedEvent(_TOO_DEEP)
    if isinstance(tree, list) and len(tree) == 1:
        tree = tree[0]
    if not isinstance(tree, dict):
        raise MalformedEvent("is not a JSON object")
    return tree


def _unpacked(body: bytes) -> bytes:
    """The text of a body, which may be packed by gzip; of a text that is too long, only enough to show that."""
    if not body.startswith(_GZIP):
        return body.removeprefix(_BOM)
    try:
        return zlib.decompressobj(wbits=31).decompress(body, LARGEST + 1)
    except zlib.error:
        raise MalformedEvent("is not JSON, and cannot be decompressed") from None


def _is_deep(body: bytes) -> bool:
    """Whether the body may be nested too deeply, by its number of brackets; nearly none is."""
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
    """The objects of an event that describe its task, what changed last."""
    found: list[dict[str, Any]] = []
    for name in ("data", "updates"):
        place = tree.get(name)
        if isinstance(place, dict):
            inner = place.get("task")
            found += [inner, place] if isinstance(inner, dict) else [place]
    return found


def _first(places: Iterable[Mapping[str, Any]], names: tuple[str, ...]) -> str | None:
    for place in places:
        for name in names:
            value = place.get(name)
            if value is not None and (text := _text(value)) is not None:
                return text
    return None


def _text(value: Any) -> str | None:
    """The text if it is a valid name: one line, and not too long; else None."""
    if type(value) is int and abs(value) < 2**64:
        value = str(value)
    return value if isinstance(value, str) and _NAME.fullmatch(value) else None


def _moment(value: Any) -> datetime | None:
    try:
        return read_utc(msgspec.convert(value, datetime)) if isinstance(value, str) else None
    except (msgspec.ValidationError, ValueError):
        return None


def digest(account: str, body: bytes, event: Event | None, now: int) -> bytes:
    """The value by which a repeated event is recognized: for an event with a time, a digest of its whole content.

    It begins with the time, so that events that come together are adjacent in the index: else each would change its
    own page there.
    """
    if event is None or event.tells_time:
        said = 0 if event is None or event.timestamp is None else to_microseconds(event.timestamp) % 2**63
        whole = hashlib.blake2b(body, digest_size=16, key=account.encode()[:64]).digest()
        return said.to_bytes(8, "big") + whole
    return now.to_bytes(8, "big") + os.urandom(16)  # the same text may come again, and mean another change
