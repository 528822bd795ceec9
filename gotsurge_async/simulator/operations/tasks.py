"""Orders of any partner (section "Order")."""

from typing import Any

import msgspec

from gotsurge_async.simulator.book import TaskRecord
from gotsurge_async.simulator.checks import read_body
from gotsurge_async.simulator.intake import Intake, take_in
from gotsurge_async.simulator.life import CANCELLABLE, CANCELLED
from gotsurge_async.simulator.replies import (
    Call,
    Caller,
    Problem,
    RefusedError,
    Reply,
    invalid,
    json_reply,
    problem_rows,
)
from gotsurge_async.simulator.service import Service
from gotsurge_async.simulator.views import task_view


class CancelBody(msgspec.Struct):
    """The body of Cancel Task."""

    reason: str


def create(service: Service, call: Call, caller: Caller) -> Reply:
    """Create & Broadcast Tasks."""
    intake = take_in(service, call, caller, draft=False)
    server_time = service.instant(call.now)
    answer: dict[str, Any] = {"tasks": created_views(service, intake, caller, server_time), "server_time": server_time}
    return created_reply(service, intake, answer)


def created_views(service: Service, intake: Intake, caller: Caller, server_time: str) -> list[dict[str, Any]]:
    """The new tasks as the answer of a create shows them, in the order that the options ask for."""
    views = [task_view(service, record, caller.account, server_time, new=content) for record, content in intake.tasks]
    if service.options.answer_order == "shuffled" and len(views) > 1:
        # Turned by at least one place: a shuffle may leave everything where it was, and then shows nothing.
        turn = service.random.randrange(1, len(views))
        views = views[turn:] + views[:turn]
    return views


def created_reply(service: Service, intake: Intake, answer: dict[str, Any]) -> Reply:
    """The reply of a create, with what it left out where it was partial."""
    if intake.problems:
        answer["errors"] = problem_rows(intake.problems if service.options.refusal_names_rows else ())
    return json_reply(answer, service.options.created_status)


def find(service: Service, call: Call, caller: Caller) -> TaskRecord:
    """The task that the path names; a stranger's task is as unknown as one that never was."""
    record = service.book.get(caller.account.name, call.path["task_id"], call.now)
    if record is None:
        raise RefusedError(404, "not_found", "There is no such task")
    return record


def get(service: Service, call: Call, caller: Caller) -> Reply:
    """Task Detail."""
    return task_reply(service, find(service, call, caller), call, caller)


def task_reply(service: Service, record: TaskRecord, call: Call, caller: Caller) -> Reply:
    """The reply that shows one task."""
    headers = {"ETag": f'"{record.version_rev}"'} if service.options.version_rev == "etag" else {}
    view = task_view(service, record, caller.account, service.instant(call.now))
    return json_reply(view, headers=headers)


def cancel(service: Service, call: Call, caller: Caller) -> Reply:
    """Cancel Task: only while it is broadcast, or not even that."""
    body: CancelBody = read_body(call.body, CancelBody)
    if not body.reason.strip():
        raise invalid(Problem(None, "reason", "Say why the task is cancelled"))
    record = find(service, call, caller)
    if record.status not in CANCELLABLE:
        raise RefusedError(409, "not_cancellable", f"A task that is {record.status} cannot be cancelled")
    record.enter(CANCELLED, call.now)
    if service.options.cancel_answer == "empty":
        return Reply(204)
    answers = {"object": {}, "null": {"message": None}}
    return json_reply(answers.get(service.options.cancel_answer, {"message": "Successfully cancel the task"}))
