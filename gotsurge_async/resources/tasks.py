"""`gs.tasks`: orders of a plain partner (section "Order")."""

from collections.abc import Sequence

import attrs

from gotsurge_async.api.endpoints import TASKS_CREATE, TASKS_GET
from gotsurge_async.calls.session import Session
from gotsurge_async.codec.given import OrderLike
from gotsurge_async.errors import UsageError
from gotsurge_async.models.tasks import CreatedTasks, Message, Task
from gotsurge_async.money import Money
from gotsurge_async.resources.converging import cancel_task
from gotsurge_async.resources.creating import create
from gotsurge_async.resources.reading import task_of
from gotsurge_async.resources.waiting import Until, wait_for

__all__ = ["Tasks"]


@attrs.frozen
class Tasks:
    """Create, read and cancel tasks."""

    _session: Session

    async def create(
        self,
        orders: Sequence[OrderLike],
        *,
        validate: bool = False,
        max_price: Money | None = None,
        timeout: float | None = None,
    ) -> CreatedTasks:
        """Create and broadcast 1 to 20 orders in one call (section "Create & Broadcast Tasks").

        Drivers are asked at once. Never repeated when the answer was lost.

        Returns:
            One task for each order, in the order of ``orders``. An answer that names another order, fewer or more tasks
            than orders, or one task twice is never returned: it is `OutcomeUnknown`.

        Args:
            orders: each an `Order`, or a dict of its fields as the API writes them.
            validate: refuse orders that `gotsurge push` would refuse, see `check_order`, before anything is sent.
            max_price: with ``validate`` the greatest amount that an order may have, see `check_order`; without it 1000
                units of the order's currency.
            timeout: seconds for the whole of it, see `GotSurge.with_options`.

        Raises:
            InvalidData: what is no order, or is a faulty one; every fault with its path. Nothing was sent.
            UsageError: ``max_price`` is no `Money`, or given without ``validate``. Nothing was sent.
            TooManyInOneCall: more than 20: `GotSurge.push` takes any number.
            Rejected: the service refused the chunk.
            OutcomeUnknown: it is not known whether the orders were created. If an answer came that does not fit them,
                the error's ``done`` holds the tasks that are certain, and ``rows`` the indices of the orders in doubt.
            NotSent: they certainly were not.
        """
        session = self._session.within(timeout)
        return await create(
            session, TASKS_CREATE, orders, helper="gs.push(orders)", validate=validate, max_price=max_price
        )

    async def get(self, task_id: str, *, timeout: float | None = None) -> Task:
        """Read a task (section "Task Detail"). Safe to repeat.

        Args:
            timeout: seconds for the whole of it, see `GotSurge.with_options`.

        Raises:
            NotFound: no such task, or not this account's.
        """
        return await self._session.within(timeout).call(TASKS_GET, path={"task_id": task_id}, read=task_of(task_id))

    async def wait(self, task_id: str, *, until: Until = None, timeout: float | None = None) -> Task:
        """Wait until a task has been in a status, or is at its end (section "Order Statuses").

        It is read less and less often, at most 30 s apart.

        A service that receives webhooks learns of it sooner, with fewer reads: `gotsurge_async.webhooks`. Calls that do
        not wait go first.

        Args:
            until: a status, several, or a function of the task; unless given, the task's end. A status that it has
                passed through counts, also before the wait: it stands in ``statuses``.
            timeout: seconds; unless given, for as long as it takes.

        Returns:
            The task as it was last read. It may have come to another end than the one that was waited for.

        Raises:
            TimeoutError: it is not there in time.
            UsageError: a status that neither the document nor the task as it is first read knows; a time of nothing.
            NotFound: no such task, or not this account's.
        """
        return await wait_for(self.get, task_id, until, timeout, self._session.clock)

    async def cancel(self, task_id: str, *, reason: str, timeout: float | None = None) -> Message:
        """Cancel a task that is still broadcasting (section "Cancel Task").

        Converges: when the service refuses, or its answer is lost, the task is read. A task that is cancelled counts as
        done, whoever did it; one that is still to be cancelled is asked for again. Of one that does not tell its status
        nothing is concluded: what became of the cancel is raised.

        Args:
            reason: for GotSurge and the drivers; not empty.
            timeout: seconds for the whole of it, see `GotSurge.with_options`.

        Raises:
            UsageError: no reason; nothing was sent.
            TooLateToCancel: the task has moved past broadcasting; it is in the error's ``task``.
            NotFound: no such task, or not this account's.
        """
        if not isinstance(reason, str) or not reason.strip():
            raise UsageError("say why the task is cancelled: the service wants a reason, which is text")
        return await cancel_task(self._session.within(timeout), task_id, reason)
