"""Tasks that are there: read, listed, updated and cancelled (sections "Order" and "Platform Partners")."""

from typing import Any

import msgspec

from gotsurge_async.simulator.operations.checks import REQUIRED, clear_price, read_body, read_task
from gotsurge_async.simulator.operations.creates import organization_problems, task_distance, tracking_problems
from gotsurge_async.simulator.operations.views import OWN_FIELDS, page_of, task_view
from gotsurge_async.simulator.replies import Call, Problem, RefusedError, Reply, invalid, json_reply
from gotsurge_async.simulator.state.partners import Caller
from gotsurge_async.simulator.state.service import Service
from gotsurge_async.simulator.state.tasks import CANCELLABLE, CANCELLED, TRANSITIONS, TaskRecord

NEVER_UPDATED = OWN_FIELDS | {"items", "attachments", "driver", "org_transporter"}
"""What an update cannot touch: items, attachments, the driver, completion, and what the service decides."""


class CancelBody(msgspec.Struct):
    """The body of Cancel Task."""

    reason: str


class Revision(msgspec.Struct):
    """What every update must name."""

    version_rev: str


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
    """Cancel Task: only while it is broadcast, or not even that."""
    reason = read_body(call.body, CancelBody).reason
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
    """Update Task: what is given is changed, null clears, and a revision that is not the newest is refused."""
    record = _find(service, call, caller)
    revision = read_body(call.body, Revision).version_rev
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


def _check_changes(changes: dict[str, Any]) -> None:
    problems = [Problem(None, name, "cannot be updated") for name in changes if name in NEVER_UPDATED]
    cleared = (name for name, value in changes.items() if value is None and name in REQUIRED)
    problems += [Problem(None, name, "is required") for name in cleared]
    if problems:
        raise invalid(*problems)


def _find(service: Service, call: Call, caller: Caller) -> TaskRecord:
    """The task that the path names; a stranger's task is as unknown as one that never was."""
    return _known(service.tasks.owned(caller.account.name, call.path["task_id"], call.now))


def _known(record: TaskRecord | None) -> TaskRecord:
    if record is None:
        raise RefusedError(404, "not_found", "There is no such task")
    return record


def _shown(service: Service, record: TaskRecord, call: Call, caller: Caller) -> Reply:
    headers = {"ETag": f'"{record.version_rev}"'} if service.options.version_rev == "etag" else {}
    view = task_view(service, record, caller.account, service.instant(call.now))
    return json_reply(view, headers=headers)
