"""What all resources share: the limit of a call, and reading answers that may hold less than the document promises."""

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

import attrs

from gotsurge_async.api.endpoints import CHUNK
from gotsurge_async.codec import Codec
from gotsurge_async.errors import TooManyInOneCall, UnreadableAnswer
from gotsurge_async.models.base import Field, Model, fields_of
from gotsurge_async.models.platform import TrackingAssignment, TrackingRequest
from gotsurge_async.models.tasks import CreatedTasks, Task
from gotsurge_async.transports.base import Response

M = TypeVar("M", bound=Model)

_REVISION = re.compile(r"\d+-[0-9A-Za-z]+")


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


def read_created(codec: Codec, answer: Response) -> CreatedTasks:
    """The answer of a create: one without any task leaves open what became of the orders."""
    created = codec.decode(answer.body, CreatedTasks)
    if not created.tasks:
        raise UnreadableAnswer("the answer names no task")
    return created


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
