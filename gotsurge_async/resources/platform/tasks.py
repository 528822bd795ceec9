"""`gs.platform.tasks` and `gs.platform.drafts`: one task, 20 in a call, or any number, with a result for each."""

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Generic, Literal, TypeVar, Unpack, cast

from msgspec import Struct

from gotsurge_async.api.endpoints import (
    CHUNK,
    DRAFTS_CREATE,
    PATCH_TRACKING_IDS,
    PLATFORM_TASKS_CREATE,
    PLATFORM_TASKS_GET,
    PLATFORM_TASKS_LIST,
)
from gotsurge_async.calls.create import PushStream, stops_all
from gotsurge_async.calls.session import Session
from gotsurge_async.calls.stream import ResultStream
from gotsurge_async.codec.given import OrderLike
from gotsurge_async.errors import (
    NOT_FOLLOWED,
    ClientClosed,
    GotSurgeError,
    InvalidData,
    OutcomeUnknown,
    PartlyDone,
    UsageError,
)
from gotsurge_async.models.answers import CreatedTasks, Task
from gotsurge_async.models.platform import TaskPage, UpdatedTask, UpdatedTasks
from gotsurge_async.models.tasks import TaskChanges
from gotsurge_async.money import Money
from gotsurge_async.resources.converging import update_task
from gotsurge_async.resources.listing import Listing, listing
from gotsurge_async.resources.platform.broadcast import broadcast, tracking_request
from gotsurge_async.resources.reading import (
    check_task_id,
    check_tracking,
    check_tracking_ids,
    reader,
    several,
    task_ids_of,
)
from gotsurge_async.resources.tasks import TaskCalls, create

__all__ = ["Drafts", "NotUpdated", "PlatformTasks", "UpdateResult", "UpdateStream", "Updated"]

T = TypeVar("T")

TrackingPair = tuple[str, str]
"""A task's id, and its new tracking id."""
TrackingPairs = Mapping[str, str] | Iterable[TrackingPair] | AsyncIterable[TrackingPair]


class Updated(Struct, Generic[T], frozen=True, kw_only=True):
    """The service changed a task; ``task`` is its answer, and ``item`` the item of the stream."""

    item: T
    task: UpdatedTask


class NotUpdated(Struct, Generic[T], frozen=True, kw_only=True):
    """The service did not change a task, or did not confirm it. Sending ``item``, that of the stream, again is safe."""

    item: T
    error: GotSurgeError


UpdateResult = Updated[T] | NotUpdated[T]


class UpdateStream(ResultStream[T, UpdateResult[T]], Generic[T]):
    """An `Updated` or a `NotUpdated` for each item, as they arrive.

    ``async for result in stream``; in an ``async with`` block it also ends cleanly when the loop is left early. A
    chunk that the service refuses as a whole gives a `NotUpdated` for each of its items.

    When the service no longer accepts the account's token, no more chunks are sent, and the error is raised after the
    last result.

    Args:
        size: tasks in a call, 1 to 20.
        concurrency: the most calls in flight, or a function that returns it.
    """

    def __init__(
        self,
        session: Session,
        items: Iterable[T] | AsyncIterable[T],
        *,
        call: Callable[[Sequence[T]], Awaitable[UpdatedTasks]],
        check: Callable[[T], None],
        task_id: Callable[[T], str],
        size: int,
        concurrency: int | Callable[[], int],
    ) -> None:
        super().__init__(items, size=size, concurrency=concurrency, clock=session.clock)
        self._session = session
        self._call = call
        self._check = check
        self._task_id = task_id

    async def _send(self, items: Sequence[T]) -> list[UpdateResult[T]]:
        # An item that cannot be sent keeps no other of its chunk from being sent.
        faults = [self._fault(item) for item in items]
        fit = [item for item, fault in zip(items, faults, strict=True) if fault is None]
        with self._session.recording() as answers:
            outcomes = await self._outcomes(fit) if fit else {}
        results: list[UpdateResult[T]] = []
        for item, fault in zip(items, faults, strict=True):
            outcome = outcomes.get(self._task_id(item)) if fault is None else fault
            if isinstance(outcome, UpdatedTask):
                results.append(Updated(item=item, task=outcome))
            else:
                if outcome is None:
                    why = "GotSurge's answer does not name this task"
                    outcome = OutcomeUnknown(why, "E404", status=answers[-1].status)
                results.append(NotUpdated(item=item, error=outcome))
        return results

    def _fault(self, item: T) -> GotSurgeError | None:
        try:
            self._check(item)
        except (UsageError, InvalidData) as error:
            return error
        return None

    async def _outcomes(self, items: Sequence[T]) -> dict[str, UpdatedTask | GotSurgeError]:
        """The outcome of each task by its id, without the tasks that the answer does not name."""
        failed: Mapping[str, GotSurgeError] = {}
        answer = UpdatedTasks()
        try:
            answer = await self._call(items)
        except PartlyDone as error:
            answer, failed = error.done, error.failed
        except NOT_FOLLOWED as error:
            failed = {self._task_id(item): error for item in items}
            if isinstance(error, ClientClosed):
                self.stop(error)
        for reason in filter(stops_all, failed.values()):
            self.stop(reason)
        return {task.id: task for task in answer.updated_tasks} | dict(failed)


def tracking_stream(
    session: Session,
    tracking_ids: TrackingPairs,
    call: Callable[[Mapping[str, str]], Awaitable[UpdatedTasks]],
    *,
    size: int,
    concurrency: int | Callable[[], int],
) -> UpdateStream[TrackingPair]:
    """Give any number of tasks their tracking ids; ``call`` does it for 1 to 20, by the task's id."""
    pairs = cast("Mapping[str, str]", tracking_ids).items() if isinstance(tracking_ids, Mapping) else tracking_ids
    return UpdateStream(
        session,
        several(pairs, "tracking_ids"),
        call=lambda chunk: call(dict(chunk)),
        check=_check_pair,
        task_id=lambda pair: pair[0],
        size=size,
        concurrency=concurrency,
    )


def _check_pair(pair: TrackingPair) -> None:
    if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
        raise UsageError(f"tracking_ids: each pair must be a task's id and its tracking id, not {pair!r}", "E903")
    check_tracking(*pair)


# --- tasks ------------------------------------------------------------------------------------------------------------


class PlatformTasks(TaskCalls, frozen=True):
    """Create, list, read and change tasks. Only the platform partner's OrgAdmin may."""

    _create = PLATFORM_TASKS_CREATE
    _get = PLATFORM_TASKS_GET
    _any_number = "gs.platform.tasks.create_all(orders)"

    def create_all(
        self,
        orders: Iterable[OrderLike] | AsyncIterable[OrderLike],
        *,
        concurrency: int | None = None,
        chunk: int = CHUNK,
        validate: bool = False,
        max_price: Money | None = None,
    ) -> PushStream:
        """Create and broadcast any number of orders, as `GotSurge.push` does for a plain partner
        (section "Platform Partners", "Create Tasks").

        Args:
            concurrency: the most chunks in flight, by default the client's own limit.
            chunk: orders in a call, 1 to 20.
            validate, max_price: see `GotSurge.push`.
        """
        return PushStream(
            self._session,
            PLATFORM_TASKS_CREATE,
            orders,
            size=chunk,
            concurrency=concurrency,
            validate=validate,
            max_price=max_price,
        )

    def list(self, *, per_page: int = 200, order: Literal["asc", "desc"] = "asc") -> Listing[TaskPage, Task]:
        """List the tasks of the partner and its organizations (section "Platform Partners", "Task List").

        Safe to repeat. ``async for task in gs.platform.tasks.list()`` reads all pages; see `Listing`. The document does
        not say whether drafts are among them.

        Args:
            per_page: how many tasks to ask for at once; the service may return fewer.
            order: "asc" or "desc".

        Raises:
            UsageError: a page of no items, or another order.
        """
        if order not in ("asc", "desc"):
            raise UsageError(f'order must be "asc" or "desc", not {order!r}', "E903")
        query = {"order": order}
        return listing(self._session, PLATFORM_TASKS_LIST, reader(TaskPage), "tasks", per_page=per_page, query=query)

    async def update(
        self,
        task: Task | str,
        /,
        *,
        version_rev: str | None = None,
        timeout: float | None = None,
        **changes: Unpack[TaskChanges],
    ) -> Task:
        """Change a task (section "Update Task")::

            task = await gs.platform.tasks.get(task_id)
            task = await gs.platform.tasks.update(task, group_tag="MV Example", officer_contact=None)

        Only the given fields are sent; None clears one. An update made from an old revision changes nothing.

        Converges: when the answer was lost, the task is read. If it has a new revision and shows the changes, they are
        done; if it still has the old revision they are sent again.

        Args:
            task: the task as it was read, or its id together with ``version_rev``.
            version_rev: the revision that the changes are made from, instead of the task's own.
            changes: see `TaskChanges`; an object may be a dict of its fields as the API writes them. Items,
                attachments and the driver cannot be changed.
            timeout: seconds for the whole of it, see `GotSurge.with_options`.

        Returns:
            The task as it is now, with its new revision.

        Raises:
            UsageError: nothing to change, or no revision to make the change from.
            InvalidData: a field that cannot be updated; a price that is not `Money`; amounts in two currencies; a time
                without a zone; a value that does not fit its field. Every fault with its path; nothing was sent.
            VersionConflict: the task has changed since: its ``task`` is the newest, if the service shows its revision.
            Rejected: the service refused the change.
            OutcomeUnknown: the answer was lost, again and again, and the task does not show the outcome; or it has
                changed since, and shows a field in no form that can be compared.
        """
        return await update_task(self._session.within(timeout), task, version_rev, changes)

    async def patch_tracking_ids(
        self, tracking_ids: Mapping[str, str], *, timeout: float | None = None
    ) -> UpdatedTasks:
        """Give 1 to 20 tasks other tracking ids (section "Patch Tracking IDs"). Safe to repeat.

        Args:
            tracking_ids: the new tracking id of each task, by the task's id.
            timeout: seconds for the whole of it, see `GotSurge.with_options`.

        Raises:
            TooManyInOneCall: more than 20: `patch_all_tracking_ids` takes any number.
            UsageError, InvalidData: an id that can name no task, or no tracking id; nothing was sent.
            NotFound: one of the ids is no task of this account's; then none was changed.
        """
        check_tracking_ids(tracking_ids, "gs.platform.tasks.patch_all_tracking_ids(pairs)")
        body = tracking_request(tracking_ids)
        return await self._session.within(timeout).call(PATCH_TRACKING_IDS, body=body, read=reader(UpdatedTasks))

    def patch_all_tracking_ids(
        self,
        tracking_ids: TrackingPairs,
        *,
        concurrency: int | None = None,
        chunk: int = CHUNK,
    ) -> UpdateStream[TrackingPair]:
        """`patch_tracking_ids` for any number (section "Patch Tracking IDs"): results as they arrive.

        Args:
            tracking_ids: pairs of a task's id and its new tracking id, or a mapping.
            concurrency: the most chunks in flight, by default the client's own limit.
            chunk: tasks in a call, 1 to 20.
        """
        in_flight = self._session.limiter.at_most(concurrency)
        call = self.patch_tracking_ids
        return tracking_stream(self._session, tracking_ids, call, size=chunk, concurrency=in_flight)


# --- drafts -----------------------------------------------------------------------------------------------------------


class Drafts(Struct, frozen=True):
    """Create drafts, and broadcast them. Only the platform partner's OrgAdmin may.

    This is the way to create tasks that can be repeated: a lost answer to `create` leaves drafts that are never used,
    and `broadcast` acts only on what is still a draft.
    """

    _session: Session

    async def create(
        self,
        orders: Sequence[OrderLike],
        *,
        validate: bool = False,
        max_price: Money | None = None,
        timeout: float | None = None,
    ) -> CreatedTasks:
        """Create 1 to 20 drafts in one call (section "Create Draft Tasks"). No driver is asked.

        Not repeated automatically when the answer was lost; creating them again leaves the first ones unused.

        Returns:
            One draft for each order, in the order of ``orders``. An answer that names another order, fewer or more
            drafts than orders, or one draft twice is never returned: it is `OutcomeUnknown`.

        Args:
            orders: each an `Order`, or a dict of its fields as the API writes them.
            validate: refuse orders that `gotsurge push` would refuse, see `check_order`, before anything is sent.
            max_price: with ``validate`` the greatest amount that an order may have, see `check_order`; without it 1000
                units of the order's currency.
            timeout: seconds for the whole of it, see `GotSurge.with_options`.

        Raises:
            InvalidData: a value that is not an order, or a faulty order; every fault with its path. Nothing was sent.
            UsageError: ``max_price`` is not `Money`, or given without ``validate``. Nothing was sent.
            TooManyInOneCall: more than 20: `create_all` takes any number.
            Rejected: the service refused the chunk.
            OutcomeUnknown: the drafts may exist, and their ids are not known. If an answer came that does not fit the
                orders, the error's ``done`` holds the drafts that are certain, and ``rows`` the indices of the other
                orders.
        """
        session = self._session.within(timeout)
        any_number = "gs.platform.drafts.create_all(orders)"
        return await create(session, DRAFTS_CREATE, orders, any_number, validate=validate, max_price=max_price)

    def create_all(
        self,
        orders: Iterable[OrderLike] | AsyncIterable[OrderLike],
        *,
        concurrency: int | None = None,
        chunk: int = CHUNK,
        validate: bool = False,
        max_price: Money | None = None,
    ) -> PushStream:
        """Create any number of drafts (section "Create Draft Tasks"): chunks of at most 20, results as they arrive.

        The results are those of `GotSurge.push`.

        Args:
            concurrency: the most chunks in flight, by default the client's own limit.
            chunk: orders in a call, 1 to 20.
            validate, max_price: see `GotSurge.push`.
        """
        return PushStream(
            self._session,
            DRAFTS_CREATE,
            orders,
            size=chunk,
            concurrency=concurrency,
            validate=validate,
            max_price=max_price,
        )

    async def broadcast(self, task_ids: Sequence[str], *, timeout: float | None = None) -> UpdatedTasks:
        """Broadcast 1 to 20 drafts: drivers are asked from now on (section "Broadcast Draft Tasks"). Safe to repeat.

        The document does not say whether the service refuses a task that is no longer a draft, leaves it out or accepts
        it. So a task that the answer does not name is read, and after a refusal those that are still drafts are sent
        again.

        Args:
            timeout: seconds for the whole of it, see `GotSurge.with_options`.

        Returns:
            All of the tasks. Their ``current_status`` is known where the answer names it, or the task was read.

        Raises:
            TooManyInOneCall: more than 20: `broadcast_all` takes any number.
            UsageError: an id that can name no task; nothing was sent.
            NotFound: an id is no task of this account's, and no other was broadcast.
            PartlyDone: some are broadcast: its ``done`` names them, its ``failed`` why others are not known to be.
            Rejected: the service refused drafts that it could have broadcast, or tasks that do not show their status.
            OutcomeUnknown: neither the answers nor the tasks show that they are broadcast.
        """
        checked = task_ids_of(task_ids, "gs.platform.drafts.broadcast_all(task_ids)")
        return await broadcast(self._session.within(timeout), checked)

    def broadcast_all(
        self, task_ids: Iterable[str] | AsyncIterable[str], *, concurrency: int | None = None, chunk: int = CHUNK
    ) -> UpdateStream[str]:
        """`broadcast` for any number (section "Broadcast Draft Tasks"): chunks of at most 20, results as they arrive.

        Args:
            concurrency: the most chunks in flight, by default the client's own limit.
            chunk: tasks in a call, 1 to 20.
        """
        return UpdateStream(
            self._session,
            several(task_ids, "task_ids"),
            call=self.broadcast,
            check=check_task_id,
            task_id=str,
            size=chunk,
            concurrency=self._session.limiter.at_most(concurrency),
        )

    async def broadcast_with_tracking(
        self, tracking_ids: Mapping[str, str], *, timeout: float | None = None
    ) -> UpdatedTasks:
        """Broadcast 1 to 20 drafts, each with its tracking id (section "Broadcast with Tracking"). Safe to repeat.

        As `broadcast`. The service gives tracking ids only to tasks that this very call broadcasts: a task that an
        earlier call has broadcast, and that does not show its tracking id, receives it by Patch Tracking IDs.

        Args:
            tracking_ids: the tracking id of each draft, by the draft's id.
            timeout: seconds for the whole of it, see `GotSurge.with_options`.

        Raises:
            TooManyInOneCall: more than 20: `broadcast_all_with_tracking` takes any number.
            UsageError, InvalidData: an id that can name no task, or no tracking id; nothing was sent.
            NotFound: an id is no task of this account's, and no other was broadcast.
            PartlyDone: some are broadcast: its ``done`` names them, its ``failed`` why others are not known to be.
            Rejected: the service refused drafts that it could have broadcast, or a tracking id.
        """
        check_tracking_ids(tracking_ids, "gs.platform.drafts.broadcast_all_with_tracking(pairs)")
        return await broadcast(self._session.within(timeout), list(tracking_ids), tracking_ids)

    def broadcast_all_with_tracking(
        self,
        tracking_ids: TrackingPairs,
        *,
        concurrency: int | None = None,
        chunk: int = CHUNK,
    ) -> UpdateStream[TrackingPair]:
        """`broadcast_with_tracking` for any number (section "Broadcast with Tracking"): results as they arrive.

        Args:
            tracking_ids: pairs of a draft's id and its tracking id, or a mapping.
            concurrency: the most chunks in flight, by default the client's own limit.
            chunk: tasks in a call, 1 to 20.
        """
        in_flight = self._session.limiter.at_most(concurrency)
        call = self.broadcast_with_tracking
        return tracking_stream(self._session, tracking_ids, call, size=chunk, concurrency=in_flight)
