"""New tasks: read, checked and created, all of them or as the options say (sections "Create …")."""

from math import inf
from typing import Any

import msgspec
from attrs import frozen
from msgspec import UNSET

from gotsurge_async.simulator.operations.checks import (
    MAX_BATCH,
    check_new_task,
    clear_price,
    read_body,
    read_task,
)
from gotsurge_async.simulator.operations.prices import distance
from gotsurge_async.simulator.operations.views import task_view
from gotsurge_async.simulator.replies import Call, Problem, Reply, invalid, json_reply
from gotsurge_async.simulator.state.accounts import Caller
from gotsurge_async.simulator.state.service import Service
from gotsurge_async.simulator.state.tasks import BROADCASTING, PENDING_BROADCAST, History, TaskRecord
from gotsurge_async.simulator.state.written import TaskShape

_DAY = 86_400.0


class Batch(msgspec.Struct):
    """The body of every create."""

    tasks: list[msgspec.Raw]


@frozen
class _Row:
    source: msgspec.Raw
    content: dict[str, Any]
    task: TaskShape


def check_size(field: str, count: int) -> None:
    """Refuse a batch that does not have 1 to 20 items."""
    if not 1 <= count <= MAX_BATCH:
        raise invalid(Problem(None, field, f"Send 1 to {MAX_BATCH} in one call, not {count}"))


def organization_problems(service: Service, task: TaskShape, caller: Caller, index: int | None) -> list[Problem]:
    """Problems with the organization that a task is for."""
    if task.org_id is UNSET or service.organizations.managed(caller.account.name, task.org_id) is not None:
        return []
    return [Problem(index, "org_id", "is not an organization of yours")]


def tracking_problems(service: Service, tracking_id: str, seen: set[str], index: int | None) -> list[Problem]:
    """Problems with a tracking id if they must be unique; ``seen``: the earlier ones of the same call."""
    rule = service.options.tracking_id_unique
    if rule == "no" or not tracking_id:
        return []
    if tracking_id in seen or service.tasks.in_use(tracking_id, drafts_too=rule == "drafts-too"):
        return [Problem(index, "tracking_id", "is in use by another task")]
    seen.add(tracking_id)
    return []


def task_distance(task: TaskShape) -> int:
    """Metres from pickup to delivery; 0 if one of them has no coordinates."""
    start, end = task.from_address.point, task.to_address.point
    return 0 if start is None or end is None else round(distance(start, end))


def create(service: Service, call: Call, caller: Caller, *, draft: bool = False, counted: bool = False) -> Reply:
    """Create & Broadcast Tasks, Create Tasks and Create Draft Tasks; the switch ``create_rule`` decides refusals.

    ``counted``: whether the answer contains the number of tasks.
    """
    options = service.options
    rows = read_body(call.body, Batch).tasks
    check_size("tasks", len(rows))
    good, problems = _sort_out(service, rows, caller, _latest_pickup(service, call.now))
    if problems and (options.create_rule == "all-or-nothing" or not good):
        raise invalid(*problems)
    records = _take_in(service, good, caller, call, draft=draft)
    if problems and options.create_rule == "partial-refused":
        raise invalid(*problems)
    server_time = service.instant(call.now)
    views = [
        task_view(service, record, caller.account, server_time, new=row.content)
        for record, row in zip(records, good, strict=True)
    ]
    if call.reuses_ids:
        _reuse_ids(service, views, records, caller)
    if options.answer_order == "shuffled" and len(views) > 1:
        # Turned by at least one place: a shuffle may leave everything where it was, and then shows nothing.
        turn = service.random.randrange(1, len(views))
        views = views[turn:] + views[:turn]
    answer: dict[str, Any] = {"total_tasks": len(views)} if counted else {}
    answer |= {"tasks": views, "server_time": server_time}
    if draft and options.draft_tasks == "map":
        answer["tasks"] = {view["id"]: view for view in views}
    elif draft and options.draft_tasks == "single" and len(views) == 1:
        answer["tasks"] = views[0]
    if problems:
        answer["errors"] = problems if options.refusal_names_rows else []
    return json_reply(answer, options.created_status)


def _reuse_ids(service: Service, views: list[dict[str, Any]], records: list[TaskRecord], caller: Caller) -> None:
    """Give the tasks of an answer the ids of earlier orders, the oldest first; the tasks themselves keep their own."""
    earlier = service.tasks.earlier(caller.account.name, records)
    for view, place in zip(views, range(len(earlier)), strict=False):
        view["id"] = earlier[(service.reused_ids + place) % len(earlier)]
    service.reused_ids += len(views)


def _latest_pickup(service: Service, now: float) -> float:
    """The latest end of a new task's pickup, by the switch ``pickup_end``."""
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
        content, task, wrong = read_task(raw, index)
        if task is not None:
            wrong += check_new_task(task, index, latest_pickup)
            wrong += tracking_problems(service, task.tracking_id or "", seen, index)
            wrong += organization_problems(service, task, caller, index)
            if not wrong:
                source = msgspec.Raw(msgspec.json.encode(content)) if clear_price(content) else raw
                good.append(_Row(source, content, task))
        problems += wrong
    return good, problems


def _take_in(service: Service, rows: list[_Row], caller: Caller, call: Call, *, draft: bool) -> list[TaskRecord]:
    now = call.now
    # One tuple for all of them: a hundred thousand tasks share a few thousand histories.
    history: History = ((PENDING_BROADCAST if draft else BROADCASTING, now),)
    group = service.tasks.new_group()
    records = []
    for row in rows:
        record = new_record(service, caller.account.name, row.source, row.task, history, group)
        record.hidden_until = now + call.hides_for if call.hides_for else 0.0
        service.tasks.add(record, listed=not draft or service.options.drafts_listed)
        records.append(record)
    return records


def new_record(
    service: Service, owner: str, source: bytes | msgspec.Raw, task: TaskShape, history: History, group: str
) -> TaskRecord:
    """A task that is not added yet; ``source`` is its JSON."""
    status, now = history[0]
    return TaskRecord(
        id=service.tasks.new_id(),
        owner=owner,
        source=source,
        tracking_id=task.tracking_id or "",
        history=history,
        group=group,
        preference=task.broadcast_preference,
        pickup_end=task.from_time_window.end_time_utc.timestamp(),
        distance=task_distance(task),
        updated_at=now,
        draft=status == PENDING_BROADCAST,
    )
