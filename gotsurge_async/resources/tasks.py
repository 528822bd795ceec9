"""`gs.tasks`: orders of a plain partner (section "Order")."""

from collections.abc import Sequence

import attrs

from gotsurge_async.api.endpoints import TASKS_CANCEL, TASKS_CREATE, TASKS_GET
from gotsurge_async.calls.session import Session
from gotsurge_async.errors import CallError, OutcomeUnknown, Rejected, SignInNeeded, TooLateToCancel
from gotsurge_async.models.tasks import Cancellation, CreatedTasks, Message, Order, Task, TaskStatus
from gotsurge_async.resources.reading import create_tasks, read_task

_NO_STATE = (401, 403, 404, 429)
"""Refusals of a cancel that say nothing about where the task stands."""
_CANCEL_TRIES = 3


@attrs.frozen
class Tasks:
    """Create, read and cancel tasks."""

    _session: Session

    async def create(self, orders: Sequence[Order]) -> CreatedTasks:
        """Create and broadcast 1 to 20 orders in one call (section "Create & Broadcast Tasks").

        Drivers are asked at once. Never repeated when the answer was lost.

        Returns:
            The tasks as the service answers them: match them by tracking_id, their order is not promised, nor that
            there is one for each order.

        Raises:
            TooManyInOneCall: more than 20: `GotSurge.push` takes any number.
            Rejected: the service refused the chunk.
            OutcomeUnknown: nobody can say whether the orders were created.
            NotSent: they certainly were not.
        """
        return await create_tasks(self._session, TASKS_CREATE, orders, "gs.push(orders)")

    async def get(self, task_id: str) -> Task:
        """Read a task (section "Task Detail"). Safe to repeat.

        Raises:
            NotFound: no such task, or not this account's.
        """
        return await read_task(self._session, TASKS_GET, task_id)

    async def cancel(self, task_id: str, *, reason: str) -> Message:
        """Cancel a task that is still broadcasting (section "Cancel Task").

        Converges: when the service refuses, or its answer is lost, the task is read. A task that is cancelled counts as
        done, whoever did it; one that is still to be cancelled is asked for again. Of one that does not tell its status
        nothing is concluded: what became of the cancel is raised.

        Args:
            reason: for GotSurge and the drivers; not empty.

        Raises:
            TooLateToCancel: the task has moved past broadcasting; it is in the error's ``task``.
            NotFound: no such task, or not this account's.
        """
        for left in reversed(range(_CANCEL_TRIES)):
            try:
                return await self._session.call(
                    TASKS_CANCEL, path={"task_id": task_id}, body=Cancellation(reason=reason)
                )
            except (Rejected, OutcomeUnknown) as error:
                if isinstance(error, Rejected) and error.status in _NO_STATE:
                    raise
                try:
                    task = await self.get(task_id)
                except (CallError, SignInNeeded):  # what became of the cancel is the news
                    raise error from None
                if task.current_status == TaskStatus.CANCELLED:
                    return Message(message="the task is cancelled")
                if task.current_status is None:
                    raise
                if not _may_be_cancelled(task.current_status):
                    raise TooLateToCancel(
                        f"the task is {task.current_status}",
                        task=task,
                        operation=error.operation,
                        status=error.status,
                        service_message=error.service_message,
                        request_id=error.request_id,
                    ) from None
                if isinstance(error, Rejected) or not left:
                    raise
        raise AssertionError("the last try returns or raises")


def _may_be_cancelled(status: TaskStatus) -> bool:
    return status.is_draft or status == TaskStatus.BROADCASTING
