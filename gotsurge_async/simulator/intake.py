"""New tasks: read, checked and put into the book, all of them or as the options say."""

from math import inf
from typing import Any

import msgspec
from attrs import frozen
from msgspec import UNSET

from gotsurge_async.simulator.book import History, TaskRecord
from gotsurge_async.simulator.checks import MAX_BATCH, TaskShape, check_new_task, read_body, read_task, settle_price
from gotsurge_async.simulator.life import BROADCASTING, PENDING_BROADCAST
from gotsurge_async.simulator.pricing import distance
from gotsurge_async.simulator.replies import Call, Caller, Problem, invalid
from gotsurge_async.simulator.service import Service


class Batch(msgspec.Struct):
    """The body of every create."""

    tasks: list[msgspec.Raw]


@frozen
class _Row:
    raw: msgspec.Raw
    content: dict[str, Any]
    task: TaskShape


@frozen
class Intake:
    """What a create took in, in the order of the call: each task with its content. And what it left out."""

    tasks: list[tuple[TaskRecord, dict[str, Any]]]
    problems: tuple[Problem, ...]


def check_size(field: str, count: int) -> None:
    """Refuse a batch of another size than 1 to 20."""
    if not 1 <= count <= MAX_BATCH:
        raise invalid(Problem(None, field, f"Send 1 to {MAX_BATCH} in one call, not {count}"))


def take_in(service: Service, call: Call, caller: Caller, *, draft: bool) -> Intake:
    """Create the tasks of a call; raises a refusal as the switch ``create_rule`` says."""
    body: Batch = read_body(call.body, Batch)
    check_size("tasks", len(body.tasks))
    good, problems = _sort_out(service, body.tasks, caller, _latest_pickup(service, call.now))
    rule = service.options.create_rule
    if problems and (rule == "all-or-nothing" or not good):
        raise invalid(*problems)
    tasks = _record(service, good, caller, call.now, draft=draft)
    if problems and rule == "partial-refused":
        raise invalid(*problems)
    return Intake(tasks, tuple(problems))


_DAY = 86_400.0


def _latest_pickup(service: Service, now: float) -> float:
    """When the pickup of a new task ends at the latest, as the switch ``pickup_end`` says."""
    if service.options.pickup_end == "any":
        return inf
    return now if service.options.pickup_end == "past" else (now // _DAY + 1) * _DAY


def _sort_out(
    service: Service, rows: list[msgspec.Raw], caller: Caller, latest_pickup: float
) -> tuple[list[_Row], list[Problem]]:
    good: list[_Row] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    for index, raw in enumerate(rows):
        content, task, found = read_task(raw, index)
        if task is not None:
            found += check_new_task(task, index, latest_pickup)
            found += tracking_problems(service, task.tracking_id or "", seen, index)
            found += organization_problems(service, task, caller, index)
            if not found:
                source = msgspec.Raw(msgspec.json.encode(content)) if settle_price(content) else raw
                good.append(_Row(source, content, task))
        problems += found
    return good, problems


def organization_problems(service: Service, task: TaskShape, caller: Caller, index: int | None) -> list[Problem]:
    """What is wrong with the organization that a task is for."""
    if task.org_id is UNSET or service.organizations.managed(caller.account.name, task.org_id) is not None:
        return []
    return [Problem(index, "org_id", "is not an organization of yours")]


def tracking_problems(service: Service, tracking_id: str, seen: set[str], index: int | None) -> list[Problem]:
    """What is wrong with a tracking id where they must be unique; ``seen`` holds those of the same call."""
    rule = service.options.tracking_id_unique
    if rule == "no" or not tracking_id:
        return []
    drafts_too = rule == "drafts-too"
    if tracking_id in seen or service.book.in_use(tracking_id, drafts_too=drafts_too):
        return [Problem(index, "tracking_id", "is in use by another task")]
    seen.add(tracking_id)
    return []


def _record(
    service: Service, rows: list[_Row], caller: Caller, now: float, *, draft: bool
) -> list[tuple[TaskRecord, dict[str, Any]]]:
    book = service.book
    # One tuple for all of them: a hundred thousand tasks share a few thousand histories.
    history: History = ((PENDING_BROADCAST if draft else BROADCASTING, now),)
    group = book.new_group()
    listed = not draft or service.options.drafts_listed
    tasks = []
    for row in rows:
        task = row.task
        record = TaskRecord(
            id=book.new_id(),
            owner=caller.account.name,
            source=row.raw,
            tracking_id=task.tracking_id or "",
            history=history,
            group=group,
            preference=task.broadcast_preference,
            pickup_end=task.from_time_window.end_time_utc.timestamp(),
            distance=task_distance(task),
            updated_at=now,
            draft=draft,
        )
        book.add(record, listed=listed)
        tasks.append((record, row.content))
    return tasks


def task_distance(task: TaskShape) -> int:
    """Metres from pickup to delivery; 0 when one of them has no coordinates."""
    start, end = task.from_address.point, task.to_address.point
    return 0 if start is None or end is None else round(distance(start, end))
