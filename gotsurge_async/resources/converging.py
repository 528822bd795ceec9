"""Operations that converge: cancel and update; `platform/broadcast.py` has the broadcast.

When the service refuses one, or its answer is lost, the tasks are read, and only what they still need is sent again.
"""

import copy
import difflib
import re
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar, cast

from gotsurge_async import codec
from gotsurge_async.api.endpoints import (
    PLATFORM_TASKS_GET,
    PLATFORM_TASKS_UPDATE,
    TASKS_CANCEL,
    TASKS_GET,
)
from gotsurge_async.calls.outcome import says_no, service_message
from gotsurge_async.calls.session import Session
from gotsurge_async.codec.given import made_of
from gotsurge_async.errors import (
    NOT_FOLLOWED,
    CallError,
    ClientClosed,
    Coded,
    InvalidData,
    NotSent,
    OutcomeUnknown,
    Problem,
    Rejected,
    SignInNeeded,
    TooLateToCancel,
    UnreadableAnswer,
    UsageError,
    VersionConflict,
)
from gotsurge_async.models.answers import Task
from gotsurge_async.models.tasks import Cancellation, Message, TaskChanges, TaskFields, TaskStatus, no_money
from gotsurge_async.money import Money
from gotsurge_async.resources.reading import task_of
from gotsurge_async.transports.base import Response

R = TypeVar("R")

_TRIES = 3
NO_STATE = (401, 403, 404, 413, 429)
"""Refusals that show nothing about the status of a task."""


async def converge(
    send: Callable[[], Awaitable[R]],
    read: Callable[[], Awaitable[Task]],
    judge: Callable[[Task, Rejected | OutcomeUnknown, OutcomeUnknown | None], R | None],
) -> R:
    """Send a request; after a refusal or a lost answer, read the task, and send the request again if it is not done.

    Args:
        judge: receives the task, the error, and the error of the first answer that was lost, if any: then the task may
            show the effect of this operation. Returns the result if it is done, None if not, or raises its own error.

    Raises:
        CallError: the outcome of the call, where the task does not show it. Once an answer was lost, the outcome is
            unknown: a later try says nothing of the first one.
    """
    lost: OutcomeUnknown | None = None
    for left in reversed(range(_TRIES)):
        try:
            return await send()
        except (Rejected, OutcomeUnknown) as error:
            if isinstance(error, OutcomeUnknown):
                lost = lost or error
            elif error.status in NO_STATE:
                raise lost or error from None
            try:
                task = await read()
            except NOT_FOLLOWED:  # the outcome of the call matters, not that of the read
                raise lost or error from None
            done = judge(task, error, lost)
            if done is not None:
                return done
            if isinstance(error, Rejected) or not left:
                raise lost or error from None
        except (NotSent, SignInNeeded, ClientClosed) as error:
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


async def cancel_task(
    session: Session, task_id: str, reason: str, before_send: Callable[[], Awaitable[None]] | None = None
) -> Message:
    """Cancel a task, for `Tasks.cancel`; ``before_send`` is called before each try, see `Session.call`."""

    def judge(task: Task, error: Rejected | OutcomeUnknown, lost: OutcomeUnknown | None) -> Message | None:
        status = task.current_status
        if status is None or not status.strip():
            raise lost or error from None
        if status == TaskStatus.CANCELLED:
            return Message(message="the task is cancelled")
        if not (status.is_draft or status == TaskStatus.BROADCASTING):
            if lost is not None and not status.is_past_draft:  # the lost cancel may act on an unknown status
                raise lost from None
            raise TooLateToCancel(f"the task is {status}", task=task, **_details(error)) from None
        return None

    path = {"task_id": task_id}
    return await converge(
        lambda: session.call(
            TASKS_CANCEL,
            path=path,
            body=Cancellation(reason=reason),
            read=lambda reading, answer: _cancelled(reading, answer, task_id),
            before_send=before_send,
        ),
        lambda: session.call(TASKS_GET, path=path, read=task_of(task_id)),
        judge,
    )


_YES = frozenset(("success", "ok", "done", "cancelled", "canceled", "true", "200", "204", "0"))


def _cancelled(reading: codec.Codec, answer: Response, task_id: str) -> Message:
    """Read the answer of a cancel. An answer that says no, or names another task, proves nothing."""
    if not answer.body.strip():  # 204, or an empty 200: done, without a message
        return Message()
    message = reading.decode(answer.body, Message)
    if _does_not_confirm(message.extra, task_id):
        said = service_message(answer.body) or "it is empty"
        raise UnreadableAnswer(f"the answer does not confirm that task {task_id} is cancelled: {said}")
    return message


def _does_not_confirm(content: Mapping[str, Any], task_id: str) -> bool:
    words = (content.get(name) for name in ("success", "ok", "code", "status", "current_status"))
    task = content.get("task")
    return (
        any(str(word).strip().casefold() not in _YES for word in words if word is not None)
        or says_no(content)
        or (content.get("id") is not None and str(content["id"]) != task_id)
        or (isinstance(task, Mapping) and _does_not_confirm(task, task_id))
    )


# --- update: only the given fields, from a revision, and never twice --------------------------------------------------

_STALE = (409, 412)
"""Statuses of a refusal that are about the revision, unless the task shows otherwise."""

_DISALLOWED = {
    "items": "the items of a task cannot be changed",
    "attachments": "attachments cannot be changed",
    "driver": "a driver is not assigned by an update",
    "current_status": "a task is not completed by an update: gs.tasks.cancel cancels it",
    "statuses": "a task is not completed by an update",
    "currency": 'is given with its amount: price=Money.of("48.50", "SGD")',
}


async def update_task(session: Session, task: Task | str, version_rev: str | None, changes: Mapping[str, Any]) -> Task:
    """Update a task, for `PlatformTasks.update`."""
    task_id = task if isinstance(task, str) else task.id
    revision = _revision(task, version_rev)
    wanted = _checked(changes)

    def judge(now: Task, error: Rejected | OutcomeUnknown, lost: OutcomeUnknown | None) -> Task | None:
        # Done if the task shows the changes, and another revision than before where it has one.
        if lost and now.version_rev != revision and shows(codec.unstructure(now), wanted):
            return now
        if lost and now.version_rev not in (revision, None) and (unsure := _not_comparable(now, wanted)):
            raise OutcomeUnknown(
                "the answer was lost. The task has changed, perhaps by another update: its "
                f"{', '.join(unsure)} cannot be compared with your changes: read the task",
                "E412",
                **_details(error),
            ) from None
        refused = isinstance(error, Rejected)
        if now.version_rev == revision or (now.version_rev is None and not (refused and error.status in _STALE)):
            return None
        lost_changes = "the answer was lost, and the task does not show your changes"
        raise VersionConflict(
            f"{'the task has changed since you read it' if refused else lost_changes}; read the task and decide again: "
            f"your changes are based on revision {revision}, but the newest is {now.version_rev or 'unknown'}",
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
        why = "an update needs the revision that it is based on: give the task that you read, or version_rev"
        raise UsageError(why, "E413")
    if not task.version_rev:
        raise UsageError("this update needs version_rev: GotSurge's answer about the task contained none", "E413")
    return task.version_rev


def _checked(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes as plain values.

    Raises InvalidData for fields that cannot be updated, amounts in two currencies or none, a time without a zone, NaN.
    """
    problems = [Problem(name, _why_not(name)) for name in changes if name not in TaskChanges.__annotations__]
    if problems:
        raise InvalidData("", problems)
    if not changes:
        raise UsageError("an update must change at least one field", "E413")
    given = {name: value for name, value in changes.items() if value is not None}
    # In a dict of the API a number is an amount; as an argument it has no unit.
    bare = [name for name in TaskFields.MONEY if not isinstance(given.get(name), Money | None)]
    problems = [no_money(name, given.pop(name)) for name in bare]
    try:
        checked = made_of(given, TaskFields)  # as strict as an order
        codec.encode(checked)  # no NaN, which would be written as null, and clear the field
    except InvalidData as error:
        raise InvalidData(error.args[0], [*problems, *error.problems]) from None
    if problems:
        raise InvalidData("", problems)
    plain = codec.unstructure_changes(
        cast("TaskChanges", {name: getattr(checked, name) if name in given else None for name in changes})
    )
    # A copy: it is sent again when an answer is lost, and the caller may change a dict meanwhile.
    return copy.deepcopy(plain)


def _why_not(name: str) -> str:
    if name in _DISALLOWED:
        return Coded(_DISALLOWED[name], "E413")
    near = difflib.get_close_matches(name, TaskChanges.__annotations__, n=1)
    return Coded(f"is not a field that an update can change{f': did you mean {near[0]}?' if near else ''}", "E212")


def _not_comparable(now: Task, wanted: Mapping[str, Any]) -> list[str]:
    """The changed fields that the task does not show, or shows in a form that cannot be compared."""
    shown = codec.unstructure(now)
    unreadable = {re.split(r"[.\[]", path)[0] for path in codec.unreadable(now)}
    return [
        name
        for name, value in wanted.items()
        if not shows(shown.get(name), value) and ((shown.get(name) is None and value is not None) or name in unreadable)
    ]


def shows(shown: Any, wanted: Any) -> bool:
    """Whether plain values contain the wanted ones; they may contain more. A wanted None means empty.

    A number may appear as text, and a text such as an id as a number: 2, 2.0 and "2" are the same.
    """
    if wanted is None:
        return not shown
    if isinstance(wanted, Mapping):
        return isinstance(shown, Mapping) and all(shows(shown.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(shown, list) and len(shown) == len(wanted) and all(map(shows, shown, wanted))
    return bool(shown == wanted) or _same_number(shown, wanted)


def _same_number(one: Any, other: Any) -> bool:
    """Whether two values are the same number, where one of them may be text. Two texts never are."""
    kinds = {type(one), type(other)}
    if bool in kinds or not kinds <= {int, float, str} or kinds == {str}:
        return False
    try:
        return Decimal(str(one)) == Decimal(str(other))
    except InvalidOperation:
        return False
