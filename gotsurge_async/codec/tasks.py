"""The fast readers of tasks, and of answers that hold a list of them."""

import functools
import re
import typing
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from gotsurge_async.codec.shapes import inner_type
from gotsurge_async.codec.wires import fields_of, reading_wire, unpacker
from gotsurge_async.models.tasks import Task

MOST_MORE = 32
"""So many fields that no document names are read as quickly as those that one does."""

_PLAIN_NAME = re.compile(r"[\w.:-]+")

_OTHER_REVISIONS = frozenset(("_rev", "rev"))


@functools.cache
def reader(cls: Any) -> "Callable[[bytes], Any] | None":
    """The fast reader of a task, or of an answer that holds a list of tasks; None for other classes.

    It raises (whatever: msgspec's errors, ValueError, TypeError) for what the general way must read: other shapes than
    the usual, unknown fields elsewhere than in a task itself, and all that is wrong.
    """
    if cls is Task:
        return _TaskReader(cls, None).read
    lists = [f.name for f in fields_of(cls) if inner_type(typing.get_type_hints(cls)[f.name]) == (Task, True)]
    return _TaskReader(cls, lists[0]).read if len(lists) == 1 else None


class _TaskReader:
    """Reads a ``cls``, and puts what its tasks have and `Task` does not name into their ``extra``.

    To find such fields takes a second pass over the text. But a service has the same ones in every task, so they are
    remembered: an answer that has no others is read in one pass.

    Args:
        name: the field that holds the tasks; None if ``cls`` is `Task`.
    """

    def __init__(self, cls: Any, name: str | None) -> None:
        self._cls = cls
        self._name = name
        self._unpack = unpacker(cls)
        self._known = frozenset(field.name for field in fields_of(Task))
        self._open = msgspec.json.Decoder(reading_wire(cls, None)).decode
        parts: Any = dict[str, msgspec.Raw]
        if name is not None:
            parts = msgspec.defstruct("Parts", [(name, list[parts], msgspec.field(default_factory=list))])
        self._parts = msgspec.json.Decoder(parts).decode
        self._quick: _Quick | None = _Quick(cls, ())

    def read(self, body: bytes) -> Any:
        quick = self._quick
        if quick is not None:
            try:
                wire = quick.decode(body)
            except msgspec.ValidationError:
                pass  # an unknown field, or something wrong
            else:
                answer = self._unpack(wire)
                if quick.more:
                    self._take_more(answer, wire, quick)
                return answer
        return self._read_in_two_passes(body)

    def _take_more(self, answer: Any, wire: Any, quick: "_Quick") -> None:
        for task, its in zip(self._tasks(answer), self._tasks(wire), strict=True):
            extra = task.extra
            for name, place in quick.places:
                value = getattr(its, place)
                if value is not msgspec.UNSET:
                    extra[name] = value

    def _read_in_two_passes(self, body: bytes) -> Any:
        answer = self._unpack(self._open(body))
        parts = self._parts(body)
        found: set[str] = set()
        for task, its in zip(self._tasks(answer), self._tasks(parts), strict=True):
            unknown = sorted(its.keys() - self._known)  # as they stand when they are remembered
            if task.version_rev is None and not _OTHER_REVISIONS.isdisjoint(unknown):
                raise ValueError("the revision stands under another name")
            task.extra.update((name, msgspec.json.decode(its[name])) for name in unknown)
            found.update(unknown)
        self._remember({name for name in found - _OTHER_REVISIONS if _PLAIN_NAME.fullmatch(name)})
        return answer

    def _remember(self, names: set[str]) -> None:
        quick = self._quick
        if quick is None or names <= quick.more.keys():
            return
        more = sorted(names | quick.more.keys())
        # Beyond that they are no fixed set, and not worth the try.
        self._quick = _Quick(self._cls, more) if len(more) <= MOST_MORE else None

    def _tasks(self, holder: Any) -> Any:
        """The tasks in an answer, in a wire, or in their parts."""
        return (holder,) if self._name is None else getattr(holder, self._name)


class _Quick:
    """The decoder of answers whose tasks have, beside what `Task` names, no more than some fields; and their places."""

    def __init__(self, cls: Any, more: Sequence[str]) -> None:
        self.decode = msgspec.json.Decoder(reading_wire(cls, more)).decode
        self.more = {name: f"more_{number}" for number, name in enumerate(more)}
        self.places = tuple(self.more.items())
