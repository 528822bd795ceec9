"""Drafts, and tasks named by their ids (section "Platform Partners")."""

from typing import Any
from uuid import UUID

import msgspec

from gotsurge_async.simulator.book import TaskRecord
from gotsurge_async.simulator.checks import read_body
from gotsurge_async.simulator.intake import check_size, take_in, tracking_problems
from gotsurge_async.simulator.operations.tasks import created_reply, created_views
from gotsurge_async.simulator.replies import Call, Caller, Problem, RefusedError, Reply, invalid, json_reply
from gotsurge_async.simulator.service import Service
from gotsurge_async.simulator.views import task_view


class BroadcastBody(msgspec.Struct):
    """The body of Broadcast Draft Tasks."""

    task_ids: list[UUID]


class Assignment(msgspec.Struct):
    """Which tracking id a task is to carry."""

    id: UUID
    tracking_id: str


class TrackingBody(msgspec.Struct):
    """The body of Broadcast with Tracking and of Patch Tracking IDs."""

    tasks: list[Assignment]


def create(service: Service, call: Call, caller: Caller) -> Reply:
    """Create Draft Tasks."""
    intake = take_in(service, call, caller, draft=True)
    server_time = service.instant(call.now)
    views = created_views(service, intake, caller, server_time)
    shape = service.options.draft_tasks
    tasks: Any = views
    if shape == "map":
        tasks = {view["id"]: view for view in views}
    elif shape == "single" and len(views) == 1:
        tasks = views[0]
    return created_reply(service, intake, {"total_tasks": len(views), "tasks": tasks, "server_time": server_time})


def broadcast(service: Service, call: Call, caller: Caller) -> Reply:
    """Broadcast Draft Tasks."""
    body: BroadcastBody = read_body(call.body, BroadcastBody)
    check_size("task_ids", len(body.task_ids))
    records = _find_all(service, body.task_ids, call, caller)
    drafts = _drafts_of(service, records)
    for record in drafts:
        service.book.broadcast(record, call.now)
    return _updated(service, records if service.options.rebroadcast == "passes" else drafts, call, caller)


def broadcast_with_tracking(service: Service, call: Call, caller: Caller) -> Reply:
    """Broadcast with Tracking: only what was broadcast by this very call gets its tracking id."""
    body = _read_tracking(call)
    records = _find_all(service, [wanted.id for wanted in body.tasks], call, caller)
    drafts = _drafts_of(service, records)
    wanted = {str(assignment.id): assignment.tracking_id for assignment in body.tasks}
    _check_tracking(service, drafts, wanted)
    for record in drafts:
        service.book.broadcast(record, call.now)
        service.book.retrack(record, wanted[record.id])
    return _updated(service, records if service.options.rebroadcast == "passes" else drafts, call, caller)


def patch_tracking_ids(service: Service, call: Call, caller: Caller) -> Reply:
    """Patch Tracking IDs, of any of the partner's tasks."""
    body = _read_tracking(call)
    records = _find_all(service, [wanted.id for wanted in body.tasks], call, caller)
    wanted = {str(assignment.id): assignment.tracking_id for assignment in body.tasks}
    _check_tracking(service, records, wanted)
    for record in records:
        service.book.retrack(record, wanted[record.id])
        record.touch(call.now)
    return _updated(service, records, call, caller)


def _read_tracking(call: Call) -> TrackingBody:
    body: TrackingBody = read_body(call.body, TrackingBody)
    check_size("tasks", len(body.tasks))
    problems = [
        Problem(index, "tracking_id", "must not be empty")
        for index, assignment in enumerate(body.tasks)
        if not assignment.tracking_id
    ]
    if problems:
        raise invalid(*problems)
    return body


def _find_all(service: Service, ids: list[UUID], call: Call, caller: Caller) -> list[TaskRecord]:
    """The tasks that are named, each once; raises a refusal when one of them is not the caller's."""
    found: dict[str, TaskRecord] = {}
    problems = []
    for index, task_id in enumerate(map(str, ids)):
        record = service.book.get(caller.account.name, task_id, call.now)
        if record is None:
            problems.append(Problem(index, "id", f"There is no task {task_id}"))
        else:
            found[task_id] = record
    if problems:
        raise RefusedError(404, "not_found", problems[0].message, tuple(problems))
    return list(found.values())


def _drafts_of(service: Service, records: list[TaskRecord]) -> list[TaskRecord]:
    """Those that can be broadcast; raises a refusal for the others where the options say so."""
    drafts = [record for record in records if record.can_broadcast]
    if len(drafts) == len(records) or service.options.rebroadcast != "refused":
        return drafts
    problems = tuple(
        Problem(index, "id", f"Task {record.id} is {record.status}, not a draft")
        for index, record in enumerate(records)
        if not record.can_broadcast
    )
    raise RefusedError(409, "not_a_draft", problems[0].message, problems)


def _check_tracking(service: Service, records: list[TaskRecord], wanted: dict[str, str]) -> None:
    seen: set[str] = set()
    problems: list[Problem] = []
    for index, record in enumerate(records):
        if wanted[record.id] != record.tracking_id:
            problems += tracking_problems(service, wanted[record.id], seen, index)
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
