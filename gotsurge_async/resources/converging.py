"""Operations that converge: cancel, update, broadcast.

When the service refuses one, or its answer is lost, the tasks are read, and only what they still need is sent again.
"""

import difflib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import attrs

from gotsurge_async import codec
from gotsurge_async.api.endpoints import (
    DRAFTS_BROADCAST,
    DRAFTS_BROADCAST_WITH_TRACKING,
    PATCH_TRACKING_IDS,
    PLATFORM_TASKS_GET,
    PLATFORM_TASKS_UPDATE,
    TASKS_CANCEL,
    TASKS_GET,
)
from gotsurge_async.calls.session import Session
from gotsurge_async.errors import (
    CallError,
    InvalidData,
    NotFound,
    NotSent,
    OutcomeUnknown,
    Problem,
    Rejected,
    SignInNeeded,
    TooLateToCancel,
    UsageError,
    VersionConflict,
)
from gotsurge_async.models.platform import BroadcastRequest, UpdatedTask, UpdatedTasks
from gotsurge_async.models.tasks import Cancellation, Message, Task, TaskChanges, TaskFields, TaskStatus
from gotsurge_async.resources.reading import reader, task_of, tracking_request

R = TypeVar("R")

_TRIES = 3
_NO_STATE = (401, 403, 404, 413, 429)
"""Refusals that say nothing about where a task stands."""


async def converge(
    send: Callable[[], Awaitable[R]],
    read: Callable[[], Awaitable[Task]],
    judge: Callable[[Task, Rejected | OutcomeUnknown, bool], R | None],
) -> R:
    """Send; when the service refuses, or its answer is lost, read the task, and send again what was lost and not done.

    Args:
        judge: gets the task, the error, and whether any answer was lost: then what the task shows may be our doing.
            Gives the result of what is done, None for what is not; raises where there is more to say than the error.

    Raises:
        CallError: what became of the call, where the task does not tell. Once an answer was lost, that is unknown: what
            a later try meets says nothing of the first one.
    """
    lost: OutcomeUnknown | None = None
    for left in reversed(range(_TRIES)):
        try:
            return await send()
        except (Rejected, OutcomeUnknown) as error:
            if isinstance(error, OutcomeUnknown):
                lost = lost or error
            elif error.status in _NO_STATE:
                raise lost or error from None
            try:
                task = await read()
            except (CallError, SignInNeeded):  # what became of the call is the news, not that the task cannot be read
                raise lost or error from None
            done = judge(task, error, lost is not None)
            if done is not None:
                return done
            if isinstance(error, Rejected) or not left:
                raise lost or error from None
        except (NotSent, SignInNeeded) as error:
            raise lost or error from None
    raise AssertionError("the last try returns or raises")


def _details(error: CallError) -> dict[str, Any]:
    return {
        "operation": error.operation,
        "status": error.status,
        "service_message": error.service_message,
        "request_id": error.request_id,
    }


# --- cancel -----------------------------------------------------------------------------------------------------------


async def cancel_task(session: Session, task_id: str, reason: str) -> Message:
    """`Tasks.cancel`."""

    def judge(task: Task, error: Rejected | OutcomeUnknown, _: bool) -> Message | None:
        status = task.current_status
        if status == TaskStatus.CANCELLED:
            return Message(message="the task is cancelled")
        if status is None:
            raise error from None
        if not (status.is_draft or status == TaskStatus.BROADCASTING):
            raise TooLateToCancel(f"the task is {status}", task=task, **_details(error)) from None
        return None

    path = {"task_id": task_id}
    return await converge(
        lambda: session.call(TASKS_CANCEL, path=path, body=Cancellation(reason=reason)),
        lambda: session.call(TASKS_GET, path=path, read=task_of(task_id)),
        judge,
    )


# --- update: only what was given, from a revision, and never twice ----------------------------------------------------

_STALE = (409, 412)
"""Statuses of a refusal that mean the revision, unless the task says otherwise."""

_DISALLOWED = {
    "items": "the items of a task cannot be changed",
    "attachments": "attachments cannot be changed",
    "driver": "a driver is not assigned by an update",
    "current_status": "a task is not completed by an update: gs.tasks.cancel cancels it",
    "statuses": "a task is not completed by an update",
    "currency": 'is given with its amount: price=Money.of("48.50", "SGD")',
}


async def update_task(session: Session, task: Task | str, version_rev: str | None, changes: Mapping[str, Any]) -> Task:
    """`PlatformTasks.update`."""
    task_id = task if isinstance(task, str) else task.id
    revision = _revision(task, version_rev)
    wanted = _checked(changes)

    def judge(now: Task, error: Rejected | OutcomeUnknown, lost: bool) -> Task | None:
        # Done is what shows the changes, as another revision than before where revisions are told.
        if lost and now.version_rev != revision and shows(codec.unstructure(now), wanted):
            return now
        refused = isinstance(error, Rejected)
        if now.version_rev == revision or (now.version_rev is None and not (refused and error.status in _STALE)):
            return None
        why = "the task has changed since it was read"
        raise VersionConflict(
            f"{why if refused else 'the answer was lost, and the task does not show the changes'}: the changes were "
            f"made from revision {revision}, the newest is {now.version_rev or 'not told'}; read the task and decide "
            "again",
            task=now if now.version_rev else None,
            **_details(error),
        ) from None

    path = {"task_id": task_id}
    body = {**wanted, "version_rev": revision}
    return await converge(
        lambda: session.call(PLATFORM_TASKS_UPDATE, path=path, body=body, read=task_of(task_id)),
        lambda: session.call(PLATFORM_TASKS_GET, path=path, read=task_of(task_id)),
        judge,
    )


def _revision(task: Task | str, version_rev: str | None) -> str:
    if version_rev:
        return version_rev
    if isinstance(task, str):
        raise UsageError("an update needs the revision it is made from: give the task as it was read, or version_rev")
    if not task.version_rev:
        raise UsageError("the service did not name the revision of this task: an update needs version_rev")
    return task.version_rev


def _checked(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes as plain values.

    Raises:
        InvalidData: fields that cannot be updated, or amounts in two currencies or none.
    """
    problems = [Problem(name, _why_not(name)) for name in changes if name not in TaskChanges.__annotations__]
    if problems:
        raise InvalidData("", problems)
    if not changes:
        raise UsageError("an update changes at least one field")
    given = {name: value for name, value in changes.items() if value is not None}
    checked = TaskFields(**given)  # as strict as an order: money is Money, a time has its zone
    plain = codec.unstructure_changes(
        cast("TaskChanges", {name: getattr(checked, name) if name in given else None for name in changes})
    )
    if plain.get("currency") == "":
        raise InvalidData("", [Problem("currency", "an amount without a currency would be set to 0")])
    return plain


def _why_not(name: str) -> str:
    if name in _DISALLOWED:
        return _DISALLOWED[name]
    near = difflib.get_close_matches(name, TaskChanges.__annotations__, n=1)
    return f"is no field of an update{f': did you mean {near[0]}?' if near else ''}"


def shows(found: Any, wanted: Any) -> bool:
    """Whether plain values hold what is wanted; they may hold more. What is to be cleared is empty."""
    if wanted is None:
        return not found
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(shows(found.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(shows(mine, value) for mine, value in zip(found, wanted, strict=True))
        )
    return bool(found == wanted)


# --- broadcast: the document leaves open what becomes of one that names what is no draft ------------------------------


async def broadcast(
    session: Session, task_ids: Sequence[str], tracking_ids: Mapping[str, str] | None = None
) -> UpdatedTasks:
    """`Drafts.broadcast`, and with ``tracking_ids`` `Drafts.broadcast_with_tracking`."""

    async def send(some: Sequence[str]) -> UpdatedTasks:
        if tracking_ids is None:
            body = BroadcastRequest(task_ids=tuple(some))
            return await session.call(DRAFTS_BROADCAST, body=body, read=reader(UpdatedTasks))
        pairs = tracking_request({task_id: tracking_ids[task_id] for task_id in some})
        return await session.call(DRAFTS_BROADCAST_WITH_TRACKING, body=pairs, read=reader(UpdatedTasks))

    async def read(some: Sequence[str]) -> list[Task]:
        return [
            await session.call(PLATFORM_TASKS_GET, path={"task_id": task_id}, read=task_of(task_id)) for task_id in some
        ]

    try:
        answer = await send(task_ids)
    except Rejected as error:
        if error.status in _NO_STATE:
            raise
        try:
            found = await read(task_ids)
        except NotFound:  # an id that names no task is what the refusal was about
            raise error from None
        drafts = [task.id for task in found if _is_draft(task)]
        if len(drafts) == len(found):
            raise
        answer = await send(drafts) if drafts else UpdatedTasks()
    else:
        named = {task.id for task in answer.updated_tasks}
        found = await read([task_id for task_id in task_ids if task_id not in named])
    named = {task.id for task in answer.updated_tasks}
    tasks = [
        *answer.updated_tasks,
        *(
            UpdatedTask(id=task.id, tracking_id=task.tracking_id, current_status=task.current_status)
            for task in found
            if task.id not in named
        ),
    ]
    if tracking_ids is not None:
        tasks = await _track(session, tasks, tracking_ids)
    return attrs.evolve(answer, updated_tasks=tuple(tasks))


async def _track(session: Session, tasks: list[UpdatedTask], tracking_ids: Mapping[str, str]) -> list[UpdatedTask]:
    """Give those that are broadcast, and are not told to carry their tracking id, their own."""
    wrong = {
        task.id: tracking_ids[task.id]
        for task in tasks
        if task.id in tracking_ids
        and task.tracking_id != tracking_ids[task.id]
        and task.current_status != TaskStatus.CANCELLED
        and not _is_draft(task)
    }
    if not wrong:
        return tasks
    await session.call(PATCH_TRACKING_IDS, body=tracking_request(wrong), read=reader(UpdatedTasks))
    return [attrs.evolve(task, tracking_id=wrong.get(task.id, task.tracking_id)) for task in tasks]


def _is_draft(task: Task | UpdatedTask) -> bool:
    return task.current_status is not None and task.current_status.is_draft
