"""What all resources share: the limit of a call, and reading answers that may hold less than the document promises."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs
import msgspec

from gotsurge_async import codec
from gotsurge_async.api.endpoints import CHUNK
from gotsurge_async.errors import TooManyInOneCall, UnreadableAnswer
from gotsurge_async.models.base import Model
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


def reader(cls: type[M]) -> Callable[[bytes], M]:
    """How to read an answer whose fields may all be missing: one that holds only others is not that answer.

    A success that says ``{"code": "error"}`` must not be taken for an empty list. One that names the list, empty as it
    is, may have any other fields beside it.
    """

    def read(body: bytes) -> M:
        answer = codec.decode(body, cls)
        if answer.extra and answer == cls(extra=answer.extra) and not _says_more_than(answer.extra, body):
            raise UnreadableAnswer("the answer holds nothing of what was asked for")
        return answer

    return read


def _says_more_than(unknown: Mapping[str, Any], body: bytes) -> bool:
    """Whether an answer has a field that is known, and not null: a model does not tell an empty list from none."""
    plain: dict[str, Any] = msgspec.json.decode(body)
    return any(value is not None for name, value in plain.items() if name not in unknown)


def read_created(body: bytes) -> CreatedTasks:
    """The answer of a create: one without any task leaves open what became of the orders."""
    created = codec.decode(body, CreatedTasks)
    if not created.tasks:
        raise UnreadableAnswer("the answer names no task")
    return created


def task_of(task_id: str) -> Callable[[Response], Task]:
    """How to read an answer that is a task: this one, or it counts as none. Its revision may come from a header."""

    def read(answer: Response) -> Task:
        task = _task_with_revision(answer)
        if task.id != task_id:
            raise UnreadableAnswer(f"asked for the task {task_id}, the answer is of {task.id}")
        return task

    return read


def _task_with_revision(answer: Response) -> Task:
    """The task with the revision that an ETag header names.

    Only text of the form that the document shows ("0-xxxxxxxx") is taken: a web server may put an ETag of its own
    there, which no update would accept.
    """
    task = codec.decode(answer.body, Task)
    tag = answer.headers.get("etag")
    if tag is None or task.version_rev is not None:
        return task
    tag = tag.removeprefix("W/").strip('"')
    return attrs.evolve(task, version_rev=tag) if _REVISION.fullmatch(tag) else task
