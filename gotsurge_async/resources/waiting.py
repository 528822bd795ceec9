"""Waiting for a task: read again and again, less and less often, until it is where it should be."""

from collections.abc import Awaitable, Callable, Collection
from typing import TypeAlias

from gotsurge_async.calls.limiter import yielding
from gotsurge_async.clock import Clock
from gotsurge_async.errors import UsageError
from gotsurge_async.models.tasks import Task

Until: TypeAlias = str | Collection[str] | Callable[[Task], bool] | None
"""A status, several, or what tells whether it is enough; None for the task's end."""

FIRST, LONGEST, GROWTH = 1.0, 30.0, 1.5
"""Seconds between the first two reads, the most between two, and how they grow."""


async def wait_for(
    read: Callable[[str], Awaitable[Task]], task_id: str, until: Until, timeout: float | None, clock: Clock
) -> Task:
    """Read a task until it is where it should be, or at its end: then nothing more will happen.

    Raises:
        TimeoutError: it is not there after ``timeout`` seconds; the last read counts.
        UsageError: a time that is not positive.
    """
    if timeout is not None and timeout <= 0:
        raise UsageError(f"timeout: wait for more than {timeout:g} seconds")
    is_enough = _test(until)
    ends = None if timeout is None else clock.monotonic() + timeout
    pause = FIRST
    while True:
        with yielding():
            task = await read(task_id)
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
    statuses = {until} if isinstance(until, str) else set(until)
    return lambda task: task.current_status in statuses
