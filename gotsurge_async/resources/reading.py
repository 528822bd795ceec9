"""What all resources share: what a call may carry, and reading answers that may hold less than was promised."""

import re
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import Any, TypeVar

import attrs

from gotsurge_async.api.endpoints import CHUNK
from gotsurge_async.codec import Codec
from gotsurge_async.errors import InvalidData, Problem, TooManyInOneCall, UnreadableAnswer, UsageError
from gotsurge_async.models.base import Field, Model, fields_of
from gotsurge_async.models.platform import TrackingAssignment, TrackingRequest
from gotsurge_async.models.tasks import Task
from gotsurge_async.transports.base import Response

M = TypeVar("M", bound=Model)

_REVISION = re.compile(r"\d+-[0-9A-Za-z]+")


def check_task_id(task_id: object) -> None:
    """Hold what an id must be: the tasks of a batch may be read by it afterwards.

    Raises:
        UsageError: it is no text, or would lead to another path: "", "." and "..".
    """
    if not isinstance(task_id, str) or task_id in ("", ".", ".."):
        raise UsageError(f"task_ids: an id is text that names one task, not {task_id!r}")


def task_ids_of(task_ids: Iterable[str], helper: str) -> list[str]:
    """The ids of one call, each once.

    Raises:
        TooManyInOneCall: more than 20, or none; names what takes any number.
        UsageError: one of them can name no task, or they are one text.
    """
    ids = list(several(task_ids, "task_ids"))
    check_chunk(len(ids), "ids", helper)
    for task_id in ids:
        check_task_id(task_id)
    return list(dict.fromkeys(ids))


def several(given: Any, name: str) -> Any:
    """What was given, unless it cannot be several: one text is not a list of its letters; else UsageError."""
    if isinstance(given, str | bytes) or not isinstance(given, Iterable | AsyncIterable):
        raise UsageError(f"{name}: give several, such as a list, not {given!r}")
    return given


def check_tracking(task_id: object, tracking_id: object) -> None:
    """Hold what a task and its tracking id must be.

    Raises:
        UsageError: the id can name no task.
        InvalidData: the tracking id is no text, or empty.
    """
    check_task_id(task_id)
    if not isinstance(tracking_id, str) or not tracking_id:
        raise InvalidData("", [Problem(f"tracking_ids[{task_id!r}]", "is text that is not empty", tracking_id)])


def check_tracking_ids(tracking_ids: Mapping[str, str], helper: str) -> None:
    """Hold what one call may carry.

    Raises:
        TooManyInOneCall: more than 20, or none; names what takes any number.
        UsageError: no mapping, or an id that can name no task.
        InvalidData: a tracking id that is no text, or empty.
    """
    if not isinstance(tracking_ids, Mapping):
        raise UsageError(f"tracking_ids: give the tracking id of each task by the task's id, not {tracking_ids!r}")
    check_chunk(len(tracking_ids), "tasks", helper)
    for task_id, tracking_id in tracking_ids.items():
        check_tracking(task_id, tracking_id)


def tracking_request(tracking_ids: Mapping[str, str]) -> TrackingRequest:
    """The body that gives tasks their tracking ids."""
    return TrackingRequest(
        tasks=tuple(TrackingAssignment(id=task_id, tracking_id=name) for task_id, name in tracking_ids.items())
    )


def check_chunk(count: int, what: str, helper: str) -> None:
    """Hold the limit of one call.

    Raises:
        TooManyInOneCall: more than 20, or none; names what takes any number.
    """
    if count > CHUNK:
        raise TooManyInOneCall(f"one call takes at most {CHUNK} {what}, not {count}: {helper} takes any number")
    if count < 1:
        raise TooManyInOneCall(f"one call takes 1 to {CHUNK} {what}, not none")


def reader(cls: type[M]) -> Callable[[Codec, Response], M]:
    """How to read an answer whose fields may all be missing: one that holds only others is not that answer.

    A success that says ``{"code": "error"}`` must not be taken for an empty list. One that names the list, empty as it
    is, may have any other fields beside it.
    """

    def read(codec: Codec, answer: Response) -> M:
        found = codec.decode(answer.body, cls)
        if found.extra and not any(_has(found, field) for field in fields_of(cls)):
            raise UnreadableAnswer("the answer holds nothing of what was asked for")
        return found

    return read


def _has(found: Model, field: Field) -> bool:
    return getattr(found, field.name) is not field.default or field.name in found.extra


def task_of(task_id: str) -> Callable[[Codec, Response], Task]:
    """How to read an answer that is a task: this one, or it counts as none. Its revision may come from a header."""

    def read(codec: Codec, answer: Response) -> Task:
        task = _with_revision(codec.decode(answer.body, Task), answer)
        if task.id != task_id:
            raise UnreadableAnswer(f"asked for the task {task_id}, the answer is of {task.id}")
        return task

    return read


def _with_revision(task: Task, answer: Response) -> Task:
    """The task with the revision that an ETag header names.

    Only text of the form that the document shows ("0-xxxxxxxx") is taken: a web server may put an ETag of its own
    there, which no update would accept.
    """
    tag = answer.headers.get("etag")
    if tag is None or task.version_rev is not None:
        return task
    tag = tag.removeprefix("W/").strip('"')
    return attrs.evolve(task, version_rev=tag) if _REVISION.fullmatch(tag) else task
