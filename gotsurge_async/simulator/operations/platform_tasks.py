"""Tasks of a platform partner and its organizations (section "Platform Partners")."""

from typing import Any

import msgspec

from gotsurge_async.simulator.book import TaskRecord
from gotsurge_async.simulator.checks import REQUIRED, TaskShape, read_body, read_task, settle_price
from gotsurge_async.simulator.intake import organization_problems, take_in, task_distance, tracking_problems
from gotsurge_async.simulator.life import TRANSITIONS
from gotsurge_async.simulator.operations.tasks import created_reply, created_views, find, task_reply
from gotsurge_async.simulator.paging import page_of
from gotsurge_async.simulator.replies import Call, Caller, Problem, RefusedError, Reply, invalid, json_reply
from gotsurge_async.simulator.service import Service
from gotsurge_async.simulator.views import OWN_FIELDS, task_view

NEVER_UPDATED = OWN_FIELDS | {"items", "attachments", "driver", "org_transporter"}
"""What an update cannot touch: items, attachments, the driver, completion, and what the service decides."""


class Revision(msgspec.Struct):
    """What every update must name."""

    version_rev: str


def create(service: Service, call: Call, caller: Caller) -> Reply:
    """Create Tasks, for the partner itself or for its organizations."""
    intake = take_in(service, call, caller, draft=False)
    server_time = service.instant(call.now)
    views = created_views(service, intake, caller, server_time)
    return created_reply(service, intake, {"total_tasks": len(views), "tasks": views, "server_time": server_time})


def list_all(service: Service, call: Call, caller: Caller) -> Reply:
    """Task List."""
    page = page_of(service.book.listed(caller.account.name), call, service.options, ordered=True)
    server_time = service.instant(call.now)
    views = []
    for record in page.rows:
        record.settle(call.now)
        views.append(task_view(service, record, caller.account, server_time))
    return json_reply({"meta": page.meta, "tasks": views})


def update(service: Service, call: Call, caller: Caller) -> Reply:
    """Update Task: what is given is changed, null clears, and a revision that is not the newest is refused."""
    record = find(service, call, caller)
    revision: Revision = read_body(call.body, Revision)
    changes: dict[str, Any] = msgspec.json.decode(call.body)
    del changes["version_rev"]
    _check_changes(changes)
    if revision.version_rev != record.version_rev:
        raise RefusedError(409, "version_conflict", "The task has changed since: version_rev is not the newest")
    if not TRANSITIONS[record.status]:
        raise RefusedError(422, "not_updatable", f"A task that is {record.status} cannot be updated")
    content = {name: value for name, value in {**record.content(), **changes}.items() if value is not None}
    source = msgspec.json.encode(content)
    _, task, problems = read_task(source, None)
    if task is not None:
        problems += organization_problems(service, task, caller, None)
        if task.tracking_id and task.tracking_id != record.tracking_id:
            problems += tracking_problems(service, task.tracking_id, set(), None)
    if task is None or problems:
        raise invalid(*problems)
    if settle_price(content):
        source = msgspec.json.encode(content)
    _rewrite(service, record, source, task, call.now)
    return task_reply(service, record, call, caller)


def _check_changes(changes: dict[str, Any]) -> None:
    problems = [Problem(None, name, "cannot be updated") for name in changes if name in NEVER_UPDATED]
    cleared = (name for name, value in changes.items() if value is None and name in REQUIRED)
    problems += [Problem(None, name, "is required") for name in cleared]
    if problems:
        raise invalid(*problems)


def _rewrite(service: Service, record: TaskRecord, source: bytes, task: TaskShape, now: float) -> None:
    record.source = source
    record.preference = task.broadcast_preference
    record.pickup_end = task.from_time_window.end_time_utc.timestamp()
    record.distance = task_distance(task)
    service.book.retrack(record, task.tracking_id or "")
    record.touch(now)
