"""Existing tasks: read, listed, updated, cancelled; drafts broadcast (sections "Order" and "Platform Partners")."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec

from gotsurge_async.simulator.operations.checks import REQUIRED, clear_price, read_body, read_task
from gotsurge_async.simulator.operations.creates import (
    check_size,
    organization_problems,
    task_distance,
    tracking_problems,
)
from gotsurge_async.simulator.operations.views import OWN_FIELDS, page_of, task_view
from gotsurge_async.simulator.replies import Call, Problem, RefusedError, Reply, invalid, json_reply
from gotsurge_async.simulator.state.accounts import Caller
from gotsurge_async.simulator.state.service import Service
from gotsurge_async.simulator.state.tasks import CANCELLABLE, CANCELLED, TRANSITIONS, TaskRecord

NEVER_UPDATED = OWN_FIELDS | {"items", "attachments", "driver", "org_transporter"}
"""The fields that an update cannot change: items, attachments, driver, transporter, and the service's own."""


class _Cancel(msgspec.Struct):
    reason: str


class _Revision(msgspec.Struct):
    """The fields that every update must contain."""

    version_rev: str


class _Broadcast(msgspec.Struct):
    task_ids: list[UUID]


class _Assignment(msgspec.Struct):
    """The new tracking id of a task."""

    id: UUID
    tracking_id: str


class _Tracking(msgspec.Struct):
    """The body of Broadcast with Tracking and of Patch Tracking IDs."""

    tasks: list[_Assignment]


def get(service: Service, call: Call, caller: Caller) -> Reply:
    """Task Detail, of any partner and of a platform partner."""
    record = service.tasks.seen(caller.account.name, call.path["task_id"], call.now, call.lag)
    return _shown(service, _known(record), call, caller)


def list_all(service: Service, call: Call, caller: Caller) -> Reply:
    """Task List."""
    listed = service.tasks.listed(caller.account.name, call.now, call.lag)
    records, meta = page_of(listed, call, service.options, ordered=True)
    server_time = service.instant(call.now)
    views = []
    for record in records:
        if not call.lag:
            service.tasks.expire(record, call.now)
        views.append(task_view(service, record, caller.account, server_time))
    return json_reply({"meta": meta, "tasks": views})


def cancel(service: Service, call: Call, caller: Caller) -> Reply:
    """Cancel Task: only before or during its broadcast."""
    reason = read_body(call.body, _Cancel).reason
    if not reason.strip():
        raise invalid(Problem(None, "reason", "Say why the task is cancelled"))
    record = _find(service, call, caller)
    if record.status not in CANCELLABLE:
        raise RefusedError(409, "not_cancellable", f"A task that is {record.status} cannot be cancelled")
    service.tasks.enter(record, CANCELLED, call.now, reason.strip())
    if service.options.cancel_answer == "empty":
        return Reply(204)
    answers = {"object": {}, "null": {"message": None}}
    return json_reply(answers.get(service.options.cancel_answer, {"message": "Successfully cancel the task"}))


def update(service: Service, call: Call, caller: Caller) -> Reply:
    """Update Task: change the fields of the body, clear those with null; only from the newest revision."""
    record = _find(service, call, caller)
    revision = read_body(call.body, _Revision).version_rev
    changes: dict[str, Any] = msgspec.json.decode(call.body)
    del changes["version_rev"]
    written = record.content()
    if record.tracking_id:
        written["tracking_id"] = record.tracking_id  # a call of its own may have changed it since
    if changes.get("items") == written.get("items", []):
        del changes["items"]  # the document's sample names them: as they stand that is no change
    _check_changes(changes)
    if revision != record.version_rev:
        raise RefusedError(409, "version_conflict", "The task has changed since: version_rev is not the newest")
    if not TRANSITIONS[record.status]:
        raise RefusedError(422, "not_updatable", f"A task that is {record.status} cannot be updated")
    content = {name: value for name, value in {**written, **changes}.items() if value is not None}
    source = msgspec.json.encode(content)
    _, task, problems = read_task(source, None)
    if task is not None:
        problems += organization_problems(service, task, caller, None)
        if task.tracking_id and task.tracking_id != record.tracking_id:
            problems += tracking_problems(service, task.tracking_id, set(), None)
    if task is None or problems:
        raise invalid(*problems)
    record.keep(call.now)
    record.source = msgspec.json.encode(content) if clear_price(content) else source
    record.preference = task.broadcast_preference
    record.pickup_end = task.from_time_window.end_time_utc.timestamp()
    record.distance = task_distance(task)
    if record.course is not None and "price" in changes:
        record.course.price = None
    service.tasks.set_tracking_id(record, task.tracking_id or "", call.now)
    service.tasks.touch(record, call.now)
    return _shown(service, record, call, caller)


def broadcast(service: Service, call: Call, caller: Caller) -> Reply:
    """Broadcast Draft Tasks."""
    ids = read_body(call.body, _Broadcast).task_ids
    check_size("task_ids", len(ids))
    return _broadcast(service, _find_all(service, ids, call, caller), {}, call, caller)


def broadcast_with_tracking(service: Service, call: Call, caller: Caller) -> Reply:
    """Broadcast with Tracking: only tasks that this very call broadcasts get their tracking ids."""
    tracking_ids = _read_tracking(call)
    return _broadcast(service, _find_all(service, tracking_ids, call, caller), tracking_ids, call, caller)


def patch_tracking_ids(service: Service, call: Call, caller: Caller) -> Reply:
    """Patch Tracking IDs, of any of the partner's tasks."""
    tracking_ids = _read_tracking(call)
    records = _find_all(service, tracking_ids, call, caller)
    _check_tracking(service, records, tracking_ids)
    for record in records:
        service.tasks.set_tracking_id(record, tracking_ids[record.id], call.now)
        service.tasks.touch(record, call.now)
    return _updated(service, records, call, caller)


def _check_changes(changes: dict[str, Any]) -> None:
    problems = [Problem(None, name, "cannot be updated") for name in changes if name in NEVER_UPDATED]
    cleared = (name for name, value in changes.items() if value is None and name in REQUIRED)
    problems += [Problem(None, name, "is required") for name in cleared]
    if problems:
        raise invalid(*problems)


def _find(service: Service, call: Call, caller: Caller) -> TaskRecord:
    """The task in the path; another account's task is unknown."""
    return _known(service.tasks.owned(caller.account.name, call.path["task_id"], call.now))


def _known(record: TaskRecord | None) -> TaskRecord:
    if record is None:
        raise RefusedError(404, "not_found", "There is no such task")
    return record


def _shown(service: Service, record: TaskRecord, call: Call, caller: Caller) -> Reply:
    headers = {"ETag": f'"{record.version_rev}"'} if service.options.version_rev == "etag" else {}
    view = task_view(service, record, caller.account, service.instant(call.now))
    return json_reply(view, headers=headers)


def _broadcast(
    service: Service, records: list[TaskRecord], tracking_ids: dict[str, str], call: Call, caller: Caller
) -> Reply:
    drafts = _drafts_of(service, records)
    _check_tracking(service, drafts, tracking_ids)
    for record in drafts:
        if record.id in tracking_ids:
            service.tasks.set_tracking_id(record, tracking_ids[record.id], call.now)
        service.tasks.broadcast(record, call.now)
    return _updated(service, records if service.options.rebroadcast == "passes" else drafts, call, caller)


def _read_tracking(call: Call) -> dict[str, str]:
    """The new tracking ids by task id."""
    assignments = read_body(call.body, _Tracking).tasks
    check_size("tasks", len(assignments))
    problems = [
        Problem(index, "tracking_id", "must not be empty")
        for index, assignment in enumerate(assignments)
        if not assignment.tracking_id
    ]
    if problems:
        raise invalid(*problems)
    return {str(assignment.id): assignment.tracking_id for assignment in assignments}


def _find_all(service: Service, ids: Iterable[object], call: Call, caller: Caller) -> list[TaskRecord]:
    """The tasks with these ids, each once; raises a refusal if one of them is not the caller's."""
    records: dict[str, TaskRecord] = {}
    problems = []
    for index, task_id in enumerate(map(str, ids)):
        record = service.tasks.owned(caller.account.name, task_id, call.now)
        if record is None:
            problems.append(Problem(index, "id", f"There is no task {task_id}"))
        else:
            records[task_id] = record
    if problems:
        raise RefusedError(404, "not_found", problems[0].message, tuple(problems))
    return list(records.values())


def _drafts_of(service: Service, records: list[TaskRecord]) -> list[TaskRecord]:
    """The tasks that can be broadcast; refuses the others if the options require that."""
    drafts = [record for record in records if record.can_broadcast]
    if len(drafts) == len(records) or service.options.rebroadcast != "refused":
        return drafts
    problems = tuple(
        Problem(index, "id", f"Task {record.id} is {record.status}, not a draft")
        for index, record in enumerate(records)
        if not record.can_broadcast
    )
    raise RefusedError(409, "not_a_draft", problems[0].message, problems)


def _check_tracking(service: Service, records: list[TaskRecord], tracking_ids: dict[str, str]) -> None:
    seen: set[str] = set()
    problems: list[Problem] = []
    for index, record in enumerate(records):
        tracking_id = tracking_ids.get(record.id, record.tracking_id)
        if tracking_id != record.tracking_id:
            problems += tracking_problems(service, tracking_id, seen, index)
    if problems:
        raise invalid(*problems)


def _updated(service: Service, records: list[TaskRecord], call: Call, caller: Caller) -> Reply:
    server_time = service.instant(call.now)
    updated: list[Any] = [record.id for record in records]
    shape = service.options.updated_tasks
    if shape == "tasks":
        updated = [task_view(service, record, caller.account, server_time) for record in records]
    elif shape != "ids":
        updated = [{"id": record.id} for record in records] if shape == "objects" else []
    return json_reply({"updated_tasks": updated, "server_time": server_time})
