"""`gs.tasks`: orders of a plain partner (section "Order"), and calls that platform partners make in the same way."""

import asyncio
import difflib
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, ClassVar, TypeAlias

import attrs
from msgspec import Struct

from gotsurge_async.api.endpoints import DRAFTS_CREATE, TASKS_CREATE, TASKS_GET, Endpoint
from gotsurge_async.calls.create import (
    Created,
    Identity,
    InDoubt,
    match_alone,
    report_chunk,
    results_of_error,
    sent_names,
)
from gotsurge_async.calls.limiter import yielding
from gotsurge_async.calls.outcome import denials
from gotsurge_async.calls.session import Session
from gotsurge_async.clock import Clock
from gotsurge_async.codec import Codec
from gotsurge_async.codec.given import OrderLike, check_limit, refuse_faulty
from gotsurge_async.codec.text import written_batch
from gotsurge_async.config import check_timeout
from gotsurge_async.errors import Coded, GotSurgeError, OutcomeUnknown, UnreadableAnswer, UsageError, what_is_known
from gotsurge_async.models.answers import CreatedTasks, Task
from gotsurge_async.models.base import several
from gotsurge_async.models.tasks import Message, StatusName, TaskStatus
from gotsurge_async.money import Money
from gotsurge_async.resources.converging import cancel_task
from gotsurge_async.resources.reading import check_chunk, task_of
from gotsurge_async.transports.base import Response

__all__ = ["Tasks"]

Status: TypeAlias = TaskStatus | StatusName
Until: TypeAlias = Status | Collection[Status] | Callable[[Task], bool] | None
"""A status that the task is in or has been in, several, or a function that decides; None for the task's end."""

FIRST, LONGEST, GROWTH = 1.0, 30.0, 1.5
"""For a wait: the first pause between two reads and the longest, in seconds, and the factor by which pauses grow."""
_SHOWN = 5


class TaskCalls(Struct, frozen=True):
    """The calls that plain and platform partners make in the same way, each on their own paths."""

    _session: Session
    _create: ClassVar[Endpoint[CreatedTasks]]
    _get: ClassVar[Endpoint[Task]]
    _any_number: ClassVar[str]
    """The name of the call that creates any number of orders."""

    async def create(
        self,
        orders: Sequence[OrderLike],
        *,
        validate: bool = False,
        max_price: Money | None = None,
        timeout: float | None = None,
    ) -> CreatedTasks:
        """Create and broadcast 1 to 20 orders in one call (section "Create & Broadcast Tasks"; for platform partners
        section "Platform Partners", "Create Tasks").

        Drivers are asked immediately. Never repeated when the answer was lost: a platform partner can repeat the
        creation of drafts instead, ``gs.platform.drafts``.

        Returns:
            One task for each order, in the order of ``orders``. An answer that names another order, fewer or more tasks
            than orders, or one task twice is never returned: it is `OutcomeUnknown`.

        Args:
            orders: each an `Order`, or a dict of its fields as the API writes them. A platform partner's order may name
                an organization in ``org_id``; without it the order is the partner's own.
            validate: refuse orders that `gotsurge push` would refuse, see `check_order`, before anything is sent.
            max_price: with ``validate`` the greatest amount that an order may have, see `check_order`; without it 1000
                units of the order's currency.
            timeout: seconds for the whole of it, see `GotSurge.with_options`.

        Raises:
            InvalidData: a value that is not an order, or a faulty order; every fault with its path. Nothing was sent.
            UsageError: ``max_price`` is not `Money`, or given without ``validate``. Nothing was sent.
            TooManyInOneCall: more than 20: `GotSurge.push` takes any number, for platform partners `create_all`.
            Rejected: the service refused the chunk.
            OutcomeUnknown: it is not known whether the orders were created. If an answer came that does not fit them,
                the error's ``done`` holds the tasks that are certain, and ``rows`` the indices of the orders in doubt.
            NotSent: they certainly were not.
        """
        session = self._session.within(timeout)
        return await create(session, self._create, orders, self._any_number, validate=validate, max_price=max_price)

    async def get(self, task_id: str, *, timeout: float | None = None) -> Task:
        """Read a task (section "Task Detail"; for platform partners section "Platform Partners", "Task Detail").

        Safe to repeat.

        Args:
            timeout: seconds for the whole of it, see `GotSurge.with_options`.

        Returns:
            The task. Its ``version_rev`` is what an update needs; it is None when the service names it nowhere.

        Raises:
            NotFound: no such task, or not this account's.
        """
        return await self._session.within(timeout).call(self._get, path={"task_id": task_id}, read=task_of(task_id))

    async def wait(self, task_id: str, *, until: Until = None, timeout: float | None = None) -> Task:
        """Wait until a task has been in a status, or is at its end (section "Order Statuses").

        The task is read less and less often, at most 30 s apart.

        A service that receives webhooks learns of it sooner, with fewer reads: `gotsurge_async.webhooks`. Calls that do
        not wait go first.

        Args:
            until: a status, several, or a function of the task; by default the task's end. A status that it has passed
                through counts, also before the wait: it is in ``statuses``.
            timeout: seconds; without it, for as long as it takes.

        Returns:
            The task as it was last read. It may have come to another end than the one that was waited for.

        Raises:
            TimeoutError: the task does not reach the status in time.
            UsageError: a status that neither the document nor the task as it is first read knows; no positive timeout.
            NotFound: no such task, or not this account's.
        """
        return await wait_for(self.get, task_id, until, timeout, self._session.clock)


class Tasks(TaskCalls, frozen=True):
    """Create, read and cancel tasks."""

    _create = TASKS_CREATE
    _get = TASKS_GET
    _any_number = "gs.push(orders)"

    async def cancel(self, task_id: str, *, reason: str, timeout: float | None = None) -> Message:
        """Cancel a task that is still broadcasting (section "Cancel Task").

        Converges: when the service refuses, or its answer is lost, the task is read. A task that is cancelled counts as
        done, even if another process did it; one that can still be cancelled is cancelled again. If the task does not
        show its status, nothing is concluded: the error of the cancel is raised.

        Args:
            reason: for GotSurge and the drivers; not empty.
            timeout: seconds for the whole of it, see `GotSurge.with_options`.

        Raises:
            UsageError: no reason; nothing was sent.
            TooLateToCancel: the task has moved past broadcasting; it is in the error's ``task``.
            NotFound: no such task, or not this account's.
        """
        if not isinstance(reason, str) or not reason.strip():
            raise UsageError("give a reason, as text: GotSurge cancels no task without one", "E414")
        return await cancel_task(self._session.within(timeout), task_id, reason)


# --- create: a success only if the answer names one task for each order, and no other ---------------------------------


async def create(
    session: Session,
    endpoint: Endpoint[CreatedTasks],
    orders: Sequence[OrderLike],
    any_number: str,
    *,
    validate: bool,
    max_price: Money | None,
) -> CreatedTasks:
    """Create orders or drafts, for `TaskCalls.create` and `Drafts.create`; too many are referred to ``any_number``."""
    check_limit(validate, max_price)
    batch = several(orders, "orders")
    check_chunk(len(batch), "orders", any_number)
    made, body = written_batch(batch)
    if validate:
        refuse_faulty(made, session.clock.now(), max_price)
    certain: tuple[CreatedTasks, tuple[int, ...]] | None = None

    def read(codec: Codec, answer: Response) -> CreatedTasks:
        nonlocal certain
        created = codec.decode(answer.body, CreatedTasks)
        done, rows, faults = _matched([sent_names(order) for order in made], created, endpoint.name)
        if faults:
            certain = done, rows
            more = [f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
            why = f"the answer cannot be matched with the orders: {'; '.join([*faults[:_SHOWN], *more])}"
            raise UnreadableAnswer(Coded(why, "E404"))
        return done

    started = session.clock.monotonic()

    def report(*results: type[Any]) -> None:
        if endpoint is not DRAFTS_CREATE:
            report_chunk(session, results, started)

    try:
        created = await session.call(endpoint, body=body, read=read)
    except (GotSurgeError, asyncio.CancelledError) as error:
        known = error if isinstance(error, GotSurgeError) else what_is_known(error)
        if isinstance(error, OutcomeUnknown) and certain is not None:
            error.done, error.rows = certain
            report(*[Created] * len(error.done.tasks), *[InDoubt] * len(error.rows))
        elif known is not None:
            report(*map(type, results_of_error(made, known)))
        raise
    report(*[Created] * len(created.tasks))
    return created


def _matched(
    identities: Sequence[Identity], created: CreatedTasks, operation: str
) -> tuple[CreatedTasks, tuple[int, ...], list[str]]:
    """The tasks of an answer that are certain, the indices of the orders in doubt, and the answer's faults."""
    if not created.tasks:
        raise UnreadableAnswer("the answer names no task")
    unread = created.extra.get("tasks") or ()
    denied = denials((task.id, task.extra) for task in created.tasks)
    tasks, doubts = match_alone(identities, created.tasks, operation, denied=denied, whole=not unread)
    done = tuple(task for task in tasks if task is not None)
    counts = Counter(task.id for task in created.tasks)
    faults = [f"task {task_id} appears twice" for task_id, count in counts.items() if count > 1]
    known = {task.id for task in done} | denied.keys()
    foreign = [task_id for task_id, count in counts.items() if task_id not in known and count == 1]
    if foreign:
        more = f" and {len(foreign) - _SHOWN} more" if len(foreign) > _SHOWN else ""
        names = f"{', '.join(foreign[:_SHOWN])}{more}"
        faults.append(f"task {names} is left over" if len(foreign) == 1 else f"tasks {names} are left over")
    if unread:
        faults.append(f"{len(unread)} task{'' if len(unread) == 1 else 's'} cannot be read")
    for row, error in doubts.items():
        name = identities[row][0] or identities[row][1]
        faults.append(f"for orders[{row}]{f' ({name})' if name else ''}, {error.args[0]}")
    return attrs.evolve(created, tasks=done), tuple(doubts), faults


# --- waiting ----------------------------------------------------------------------------------------------------------


async def wait_for(
    read: Callable[[str], Awaitable[Task]], task_id: str, until: Until, timeout: float | None, clock: Clock
) -> Task:
    """Wait as `TaskCalls.wait`, with ``read`` as the function that reads a task.

    A status counts also where it is only in ``statuses[]``, whenever that was: a task may pass through it between two
    reads, or before the first one. The last read, at ``timeout`` seconds, counts too.
    """
    if timeout is not None:
        check_timeout(timeout)
    statuses = frozenset[str]()
    if until is not None and not callable(until):
        statuses = frozenset(str(TaskStatus(status)) for status in ([until] if isinstance(until, str) else until))
    unknown = {status for status in statuses if not TaskStatus(status).known}
    ends = None if timeout is None else clock.monotonic() + timeout
    pause = FIRST
    while True:
        with yielding():
            task = await read(task_id)
        passed = {str(status) for status in (task.current_status, *(entry.status for entry in task.statuses)) if status}
        if unknown and not unknown & passed:
            raise UsageError(_unknown_status(min(unknown)), "E903")
        unknown.clear()  # the service knows it
        is_enough = until(task) if callable(until) else statuses & passed
        if is_enough or (task.current_status is not None and task.current_status.is_terminal):
            return task
        left = None if ends is None else ends - clock.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError(Coded(f"task {task_id} is {task.current_status} after {timeout:g} seconds", "E905"))
        await clock.sleep(pause if left is None else min(pause, left))
        pause = min(LONGEST, pause * GROWTH)


def _unknown_status(status: str) -> str:
    near = difflib.get_close_matches(status, list(TaskStatus), n=1)
    hint = f"; did you mean {near[0]}?" if near else f": {', '.join(TaskStatus)}"
    return f"until: {status!r} is not one of GotSurge's statuses{hint}"
