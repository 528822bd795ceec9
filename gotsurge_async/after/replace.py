"""Updating the tasks of orders that were changed after they had been pushed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from gotsurge_async import codec
from gotsurge_async.after.lookup import Names, call_each, not_its_own
from gotsurge_async.api.endpoints import PLATFORM_TASKS_UPDATE
from gotsurge_async.calls.create import stops_all
from gotsurge_async.clock import uninterrupted
from gotsurge_async.errors import (
    CallError,
    GotSurgeError,
    InvalidData,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    SignInNeeded,
    UsageError,
)
from gotsurge_async.ledger import IllegalTransition, OrderState, Rival, Run
from gotsurge_async.ledger.states import in_words
from gotsurge_async.models.answers import Task
from gotsurge_async.models.tasks import Order, TaskChanges
from gotsurge_async.push.changes import UNCERTAIN, changed_orders, differing_fields, uncertain_fields, why_changed
from gotsurge_async.resources.converging import shows
from gotsurge_async.system import shell

if TYPE_CHECKING:
    from gotsurge_async.client import GotSurge


class Replaced(Struct, frozen=True, kw_only=True):
    """The result of updating the tasks of changed orders.

    Attributes:
        replaced: the number of tasks that are now the same as the orders.
        left: the number of tasks that were not changed; the error of each order gives the reason.
        unknown: the number of tasks that may or may not have been changed.
        stopped_by: the error that a person must act on before the rest can be changed.
    """

    replaced: int = 0
    left: int = 0
    unknown: int = 0
    stopped_by: GotSurgeError | None = None


async def replace_changed(
    gs: "GotSurge", run: Run, *, concurrency: int, is_stopped: Callable[[], bool] = lambda: False
) -> Replaced:
    """Update the tasks of changed orders to the present orders (section "Update Task"; platform partners).

    A task that has ended is left alone, and so are items, which no update can change: the order's error says what to
    do. While it is unknown whether a task was changed, any order that is pushed under its key differs from it, until an
    update of all its fields has gone through. Once ``is_stopped`` returns True, no further task is changed.

    Raises EndpointsAssumed, with nothing sent, where the path is a guess.
    """
    gs.session.require(PLATFORM_TASKS_UPDATE)
    replaced = left = unknown = 0
    not_known = (await run.counts()).changed
    stopped_by: GotSurgeError | None = None

    async def change(rival: Rival) -> None:
        nonlocal replaced, left, unknown, stopped_by, not_known
        not_known -= 1
        try:
            why = await _replace(gs, run, rival)
        except OutcomeUnknown as error:
            unknown += 1
            why = f"it is unknown whether the update changed the task: {error}"
        except (CallError, SignInNeeded, UsageError, InvalidData) as error:
            left += 1
            why = f"not changed: {error}"
            # Even after all tries: the next one would meet the same error.
            if stops_all(error) or isinstance(error, NotSent | RateLimited):
                stopped_by = error
                changes.stop()
        else:
            left += bool(why)
            replaced += not why
        if why:
            reason = f"{why_changed(rival.other_run, differing_fields(rival), rival.other_payload)}; {why}"
            await uninterrupted(run.note_changed([(rival.id, reason)]))

    async def rivals() -> AsyncIterator[Rival]:
        async for block in changed_orders(run):
            for rival in block:
                if is_stopped():
                    return
                yield rival

    changes = call_each(gs, rivals(), change, concurrency)
    async with changes:
        async for _ in changes:
            pass
    # Left, too, are orders whose former text is not known: their error says so.
    left += 0 if stopped_by is not None or is_stopped() else not_known
    return Replaced(replaced=replaced, left=left, unknown=unknown, stopped_by=stopped_by)


async def count_uncertain(run: Run) -> int:
    """The number of changed orders of a run whose tasks may or may not have been changed by an update."""
    return sum([bool(uncertain_fields(rival.other_payload)) async for block in changed_orders(run) for rival in block])


async def _replace(gs: "GotSurge", run: Run, rival: Rival) -> str:
    """Change one task; returns the reason why it was not changed, or ""."""
    if rival.other_state is not OrderState.CREATED or not rival.task_id:
        return f"the order is {in_words(rival.other_state)} in run {rival.other_run}: reconcile that run first"
    fields = dict.fromkeys(path.partition(".")[0] for path in differing_fields(rival))
    fixed = [name for name in fields if name not in TaskChanges.__annotations__ and name != "currency"]
    if fixed:
        undo = f"gotsurge undo {rival.other_run} --key {shell.word(rival.key)}"
        return f"{', '.join(fixed)} cannot be changed in a task: run {undo}, then push the order again"
    try:
        task = await gs.platform.tasks.get(rival.task_id)
    except OutcomeUnknown as error:
        return f"the order's task could not be read, and was not changed: {error}"
    # Compared as it was pushed: this update may be what gives the task another tracking id.
    if other := not_its_own(Names(tracking_id=codec.decode_names(rival.other_payload)[0]), task):
        return f"{other}; the task was not changed"
    if task.current_status is not None and task.current_status.is_terminal:
        return (
            f"the order's task is {task.current_status}: if you still need the order, push it under another tracking id"
        )
    order = codec.parse(rival.payload, Order)
    changes: Any = {name: getattr(order, name) for name in ("price" if name == "currency" else name for name in fields)}

    def doubt(payload: bytes) -> bytes:
        return _doubtful(payload, fields, run.id)

    why = f"run {run.id} may have changed the order's task"
    noted = await uninterrupted(run.note_text(rival, doubt(rival.other_payload), why))
    if noted is None:
        return "another push is changing the order's task, or has changed it: push the order again"
    try:
        changed = await gs.platform.tasks.update(task, **changes)
    except OutcomeUnknown:
        raise
    except asyncio.CancelledError:
        reason = why_changed(noted.other_run, differing_fields(noted), noted.other_payload)
        await uninterrupted(run.note_changed([(rival.id, reason)]))
        raise
    except GotSurgeError:
        # Left as it is if another push has changed it meanwhile: that push knows more.
        await uninterrupted(run.note_text(noted, rival.other_payload, ""))
        raise
    return await _record(run, noted, changed, fields, doubt)


async def _record(
    run: Run, rival: Rival, changed: Task, fields: Collection[str], doubt: Callable[[bytes], bytes]
) -> str:
    """Record that a task was changed; returns the reason why it was not recorded, or ""."""
    wanted = {name: value for name, value in msgspec.json.decode(rival.payload).items() if name in fields}
    if not shows(codec.unstructure(changed), wanted):
        why = "GotSurge accepted the update, but the task does not show it"
        raise OutcomeUnknown(why, "E412", operation=PLATFORM_TASKS_UPDATE.name)
    try:
        replaced = await uninterrupted(run.replace(rival, changed.current_status, doubt=doubt))
    except IllegalTransition:
        return f"the order was taken back in the meantime: see gotsurge status {rival.other_run}"
    if not replaced:
        why = "GotSurge accepted the update, but another push changed the task in the meantime"
        raise OutcomeUnknown(why, "E412", operation=PLATFORM_TASKS_UPDATE.name)
    return ""


def _doubtful(payload: bytes, fields: Iterable[str], run_id: str) -> bytes:
    """An order whose task is being changed: its other fields, and the names of the fields that are uncertain.

    With the run that changes them, so that no two runs note the same text, and each sees whether another one noted its.
    """
    uncertain = dict.fromkeys(sorted({*fields, *uncertain_fields(payload)}), run_id)
    order = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
    named = {name: value for name, value in order.items() if name not in uncertain}
    return msgspec.json.encode({**named, UNCERTAIN: uncertain})
