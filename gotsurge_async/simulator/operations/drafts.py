"""Drafts, and tasks named by their ids (section "Platform Partners")."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec

from gotsurge_async.simulator.operations.checks import read_body
from gotsurge_async.simulator.operations.creates import check_size, tracking_problems
from gotsurge_async.simulator.operations.views import task_view
from gotsurge_async.simulator.replies import Call, Problem, RefusedError, Reply, invalid, json_reply
from gotsurge_async.simulator.state.partners import Caller
from gotsurge_async.simulator.state.service import Service
from gotsurge_async.simulator.state.tasks import TaskRecord


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


def broadcast(service: Service, call: Call, caller: Caller) -> Reply:
    """Broadcast Draft Tasks."""
    ids = read_body(call.body, BroadcastBody).task_ids
    check_size("task_ids", len(ids))
    return _broadcast(service, _find_all(service, ids, call, caller), {}, call, caller)


def broadcast_with_tracking(service: Service, call: Call, caller: Caller) -> Reply:
    """Broadcast with Tracking: only what was broadcast by this very call gets its tracking id."""
    wanted = _read_tracking(call)
    return _broadcast(service, _find_all(service, wanted, call, caller), wanted, call, caller)


def patch_tracking_ids(service: Service, call: Call, caller: Caller) -> Reply:
    """Patch Tracking IDs, of any of the partner's tasks."""
    wanted = _read_tracking(call)
    records = _find_all(service, wanted, call, caller)
    _check_tracking(service, records, wanted)
    for record in records:
        service.tasks.set_tracking_id(record, wanted[record.id], call.now)
        service.tasks.touch(record, call.now)
    return _updated(service, records, call, caller)


def _broadcast(
    service: Service, records: list[TaskRecord], wanted: dict[str, str], call: Call, caller: Caller
) -> Reply:
    drafts = _drafts_of(service, records)
    _check_tracking(service, drafts, wanted)
    for record in drafts:
        if record.id in wanted:
            service.tasks.set_tracking_id(record, wanted[record.id], call.now)
        service.tasks.broadcast(record, call.now)
    return _updated(service, records if service.options.rebroadcast == "passes" else drafts, call, caller)


def _read_tracking(call: Call) -> dict[str, str]:
    """The tracking id that each task is to carry, by the id of the task."""
    assignments = read_body(call.body, TrackingBody).tasks
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
    """The tasks that are named, each once; raises a refusal when one of them is not the caller's."""
    found: dict[str, TaskRecord] = {}
    problems = []
    for index, task_id in enumerate(map(str, ids)):
        record = service.tasks.owned(caller.account.name, task_id, call.now)
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
        tracking_id = wanted.get(record.id, record.tracking_id)
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
