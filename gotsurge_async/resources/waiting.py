"""Waiting for a task: read again and again, less and less often, until it is where it should be."""

import difflib
from collections.abc import Awaitable, Callable, Collection
from typing import TypeAlias

from gotsurge_async.calls.limiter import yielding
from gotsurge_async.clock import Clock
from gotsurge_async.config import check_timeout
from gotsurge_async.errors import UsageError
from gotsurge_async.models.tasks import StatusName, Task, TaskStatus

Status: TypeAlias = TaskStatus | StatusName
Until: TypeAlias = Status | Collection[Status] | Callable[[Task], bool] | None
"""A status that the task is in or has been in, several, or what tells whether it is enough; None for the task's end."""

FIRST, LONGEST, GROWTH = 1.0, 30.0, 1.5
"""Seconds between the first two reads, the most between two, and how they grow."""


async def wait_for(
    read: Callable[[str], Awaitable[Task]], task_id: str, until: Until, timeout: float | None, clock: Clock
) -> Task:
    """Read a task until it has been where it should be, or is at its end: then nothing more will happen.

    A status counts also where it stands in ``statuses[]`` alone, whenever that was: a task may pass through it between
    two reads, or before the first one.

    Raises:
        TimeoutError: it is not there after ``timeout`` seconds; the last read counts.
        UsageError: a time that is not positive; or a status that the document does not know, unless the first read
            shows that the service does.
    """
    if timeout is not None:
        check_timeout(timeout)
    is_enough = _test(until)
    unknown = _unknown(until)
    ends = None if timeout is None else clock.monotonic() + timeout
    pause = FIRST
    while True:
        with yielding():
            task = await read(task_id)
        if unknown and not unknown & _passed(task):
            raise UsageError(_advice(unknown))
        unknown = frozenset()  # it is the task's own
        if is_enough(task) or (task.current_status is not None and task.current_status.is_terminal):
            return task
        left = None if ends is None else ends - clock.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError(f"task {task_id} is {task.current_status} after {timeout:g} seconds")
        await clock.sleep(pause if left is None else min(pause, left))
        pause = min(LONGEST, pause * GROWTH)


def _test(until: Until) -> Callable[[Task], bool]:
    if until is None:
        return lambda _: False  # its end is enough in any case
    if callable(until):
        return until
    statuses = _wanted(until)
    return lambda task: not statuses.isdisjoint(_passed(task))


def _wanted(until: str | Collection[str]) -> frozenset[str]:
    return frozenset([until] if isinstance(until, str) else until)


def _passed(task: Task) -> set[str]:
    """Where a task is, and where it has been."""
    return {str(status) for status in (task.current_status, *(entry.status for entry in task.statuses)) if status}


def _unknown(until: Until) -> frozenset[str]:
    """The statuses that are waited for and that the document does not know."""
    if until is None or callable(until):
        return frozenset()
    return frozenset(status for status in _wanted(until) if not TaskStatus(status).known)


def _advice(unknown: frozenset[str]) -> str:
    status = min(unknown)
    near = difflib.get_close_matches(status, list(TaskStatus), n=1)
    hint = f"; did you mean {near[0]}?" if near else f": {', '.join(TaskStatus)}"
    return f"until: {status!r} is none of the document's statuses{hint}"
