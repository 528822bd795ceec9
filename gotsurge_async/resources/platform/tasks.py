"""`gs.platform.tasks`: tasks of a platform partner and its organizations."""

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Literal, Unpack

from gotsurge_async.api.endpoints import (
    CHUNK,
    PATCH_TRACKING_IDS,
    PLATFORM_TASKS_CREATE,
    PLATFORM_TASKS_GET,
    PLATFORM_TASKS_LIST,
)
from gotsurge_async.calls.create import PushStream
from gotsurge_async.codec.given import OrderLike
from gotsurge_async.errors import UsageError
from gotsurge_async.models.platform import TaskPage, UpdatedTasks
from gotsurge_async.models.tasks import Task, TaskChanges
from gotsurge_async.money import Money
from gotsurge_async.resources.converging import update_task
from gotsurge_async.resources.listing import Listing, listing
from gotsurge_async.resources.platform.batches import TrackingPair, TrackingPairs, UpdateStream, tracking_stream
from gotsurge_async.resources.reading import check_tracking_ids, reader, tracking_request
from gotsurge_async.resources.tasks import TaskCalls

__all__ = ["PlatformTasks"]


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
            raise UsageError(f'the order is "asc" or "desc", not {order!r}', "E903")
        query = {"order": order}
        return listing(self._session, PLATFORM_TASKS_LIST, TaskPage, "tasks", per_page=per_page, query=query)

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
        return tracking_stream(tracking_ids, self.patch_tracking_ids, size=chunk, concurrency=in_flight)
