"""Helpers of all resources: checks of arguments, and readers of answers that may have less than was promised."""

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from gotsurge_async.api.endpoints import CHUNK
from gotsurge_async.codec import Codec
from gotsurge_async.errors import Coded, InvalidData, Problem, TooManyInOneCall, UnreadableAnswer, UsageError
from gotsurge_async.models.base import Field, Model, fields_of
from gotsurge_async.starting import pattern
from gotsurge_async.transports.base import Response

if TYPE_CHECKING:
    from gotsurge_async.models.answers import Task

M = TypeVar("M", bound=Model)

_REVISION = pattern(r"\d+-[0-9A-Za-z]+")


def check_task_id(task_id: object) -> None:
    """Check a task's id before it is sent: its task may have to be read by the id later.

    Raises UsageError if it is not text, or would lead to another path: "", "." and "..".
    """
    if not isinstance(task_id, str) or task_id in ("", ".", ".."):
        raise UsageError(f"task_ids: {task_id!r} is not an id: give text that names one task", "E903")


def task_ids_of(task_ids: Iterable[str], any_number: str) -> list[str]:
    """The ids of one call, each once; raises TooManyInOneCall as `check_chunk`.

    Raises UsageError if one of them can name no task, or the ids are one text, not a list.
    """
    ids = list(several(task_ids, "task_ids"))
    check_chunk(len(ids), "ids", any_number)
    for task_id in ids:
        check_task_id(task_id)
    return list(dict.fromkeys(ids))


def several(values: Any, name: str) -> Any:
    """The values of an argument that takes several. Raises UsageError for text, which is not a list of its letters."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable | AsyncIterable):
        raise UsageError(f"{name}: give a list or another iterable, not {values!r}", "E903")
    return values


def check_tracking(task_id: object, tracking_id: object) -> None:
    """Check a task's id and its tracking id.

    Raises UsageError if the id can name no task; InvalidData if the tracking id is not text, or empty.
    """
    check_task_id(task_id)
    if not isinstance(tracking_id, str) or not tracking_id:
        why = Coded("must be text, and not empty", "E237")
        raise InvalidData("", [Problem(f"tracking_ids[{task_id!r}]", why, tracking_id)])


def check_tracking_ids(tracking_ids: Mapping[str, str], any_number: str) -> None:
    """Check the tracking ids of one call, as `check_chunk` and `check_tracking`; UsageError if not a mapping."""
    if not isinstance(tracking_ids, Mapping):
        why = f"tracking_ids: give a mapping from each task's id to its tracking id, not {tracking_ids!r}"
        raise UsageError(why, "E903")
    check_chunk(len(tracking_ids), "tasks", any_number)
    for task_id, tracking_id in tracking_ids.items():
        check_tracking(task_id, tracking_id)


def check_chunk(count: int, what: str, any_number: str) -> None:
    """Check the number of items of one call: UsageError for none, TooManyInOneCall for more than 20.

    The message of the latter names the call that takes ``any_number``.
    """
    if count > CHUNK:
        raise TooManyInOneCall(f"one call takes at most {CHUNK} {what}, not {count}: {any_number} takes any number")
    if count < 1:
        raise UsageError(f"there are no {what}: give 1 to {CHUNK}", "E235")


def reader(cls: type[M]) -> Callable[[Codec, Response], M]:
    """Return a function that reads an answer whose fields may all be missing, but not one that has only other fields.

    A success that says ``{"code": "error"}`` must not be taken for an empty list. An answer with the list itself, even
    an empty one, may have any other fields.
    """

    def read(codec: Codec, answer: Response) -> M:
        content = codec.decode(answer.body, cls)
        if content.extra and not any(_has(content, field) for field in fields_of(cls)):
            raise UnreadableAnswer("the answer contains nothing that was requested")
        return content

    return read


def _has(content: Model, field: Field) -> bool:
    return getattr(content, field.name) is not field.default or field.name in content.extra


def task_of(task_id: str) -> "Callable[[Codec, Response], Task]":
    """Return a function that reads an answer that must be this task. Its revision may come from a header."""
    from gotsurge_async.models.answers import Task  # most pushes read none

    def read(codec: Codec, answer: Response) -> "Task":
        task = _with_revision(codec.decode(answer.body, Task), answer)
        if task.id != task_id:
            why = Coded(f"{task.id}, but the request was for {task_id}", "E403")
            raise UnreadableAnswer("the answer contains a different task than the one requested", [Problem("id", why)])
        return task

    return read


def _with_revision(task: "Task", answer: Response) -> "Task":
    """The task with the revision that an ETag header names.

    Only text in the document's form ("0-xxxxxxxx") counts: a web server may put an ETag of its own there, which no
    update would accept.
    """
    tag = answer.headers.get("etag")
    if tag is None or task.version_rev is not None:
        return task
    tag = tag.removeprefix("W/").strip('"')
    return attrs.evolve(task, version_rev=tag) if _REVISION.fullmatch(tag) else task
