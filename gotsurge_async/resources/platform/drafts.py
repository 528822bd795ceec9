"""`gs.platform.drafts`: tasks that no driver sees until they are broadcast."""

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence

import attrs

from gotsurge_async.api.endpoints import (
    CHUNK,
    DRAFTS_BROADCAST,
    DRAFTS_BROADCAST_WITH_TRACKING,
    DRAFTS_CREATE,
    PATCH_TRACKING_IDS,
    PLATFORM_TASKS_GET,
)
from gotsurge_async.calls.create import PushStream
from gotsurge_async.calls.session import Session
from gotsurge_async.errors import NotFound, Rejected
from gotsurge_async.models.platform import BroadcastRequest, UpdatedTask, UpdatedTasks
from gotsurge_async.models.tasks import CreatedTasks, Order, Task, TaskStatus
from gotsurge_async.resources.platform.batches import TrackingPair, UpdateStream, tracking_pairs, tracking_request
from gotsurge_async.resources.reading import check_chunk, create_tasks, read_task, reader

_NO_STATE = (401, 403, 404, 413, 429)
"""Refusals of a broadcast that say nothing about where its tasks stand."""


@attrs.frozen
class Drafts:
    """Create drafts, and broadcast them. Only the platform partner's OrgAdmin may.

    This is the way to create tasks that can be repeated: a lost answer to `create` leaves drafts that nobody uses, and
    `broadcast` acts only on what is still a draft.
    """

    _session: Session
    _concurrency: int

    async def create(self, orders: Sequence[Order]) -> CreatedTasks:
        """Create 1 to 20 drafts in one call (section "Create Draft Tasks"). No driver is asked.

        Not repeated by itself when the answer was lost; creating them again leaves the first ones unused.

        Returns:
            The drafts: match them by tracking_id, their order is not promised, nor that there is one for each order.

        Raises:
            TooManyInOneCall: more than 20: `create_all` takes any number.
            Rejected: the service refused the chunk.
            OutcomeUnknown: the drafts may exist; nobody knows their ids.
        """
        return await create_tasks(self._session, DRAFTS_CREATE, orders, "gs.platform.drafts.create_all(orders)")

    def create_all(
        self, orders: Iterable[Order] | AsyncIterable[Order], *, concurrency: int | None = None, chunk: int = CHUNK
    ) -> PushStream:
        """Create any number of drafts: chunks of at most 20, results as they come, as `GotSurge.push` gives them."""
        return PushStream(
            self._session, DRAFTS_CREATE, orders, size=chunk, concurrency=concurrency or self._concurrency
        )

    async def broadcast(self, task_ids: Sequence[str]) -> UpdatedTasks:
        """Broadcast 1 to 20 drafts: drivers are asked from now on (section "Broadcast Draft Tasks"). Safe to repeat.

        Whether the service refuses a task that is no draft any more, leaves it out or passes it is not promised. So a
        task that the answer does not name is read, and after a refusal those that are still drafts are sent again.

        Returns:
            Every task that was given. Its ``current_status`` is known where the service told it, or the task was read.

        Raises:
            TooManyInOneCall: more than 20: `broadcast_all` takes any number.
            NotFound: one of the ids is no task of this account's; then none was broadcast.
            Rejected: the service refused drafts that it could have broadcast.
        """
        check_chunk(len(task_ids), "ids", "gs.platform.drafts.broadcast_all(task_ids)")
        return await self._converge(list(dict.fromkeys(task_ids)), self._send)

    def broadcast_all(
        self, task_ids: Iterable[str] | AsyncIterable[str], *, concurrency: int | None = None, chunk: int = CHUNK
    ) -> UpdateStream[str]:
        """`broadcast` for any number: chunks of at most 20, results as they come, see `UpdateStream`."""
        return UpdateStream(
            self._session,
            task_ids,
            send=self.broadcast,
            task_id=lambda task_id: task_id,
            size=chunk,
            concurrency=concurrency or self._concurrency,
        )

    async def broadcast_with_tracking(self, tracking_ids: Mapping[str, str]) -> UpdatedTasks:
        """Broadcast 1 to 20 drafts, each with its tracking id (section "Broadcast with Tracking"). Safe to repeat.

        As `broadcast`. The service gives tracking ids only to what this very call broadcasts: a task that was
        broadcast by an earlier one, and is not told to carry its tracking id, is given it by Patch Tracking IDs.

        Args:
            tracking_ids: the tracking id of each draft, by the draft's id.

        Raises:
            TooManyInOneCall: more than 20: `broadcast_all_with_tracking` takes any number.
            NotFound: one of the ids is no task of this account's; then none was broadcast.
            Rejected: the service refused drafts that it could have broadcast, or a tracking id.
        """
        helper = "gs.platform.drafts.broadcast_all_with_tracking(pairs)"
        check_chunk(len(tracking_ids), "tasks", helper)

        async def send(task_ids: Sequence[str]) -> UpdatedTasks:
            body = tracking_request({task_id: tracking_ids[task_id] for task_id in task_ids}, helper)
            return await self._session.call(DRAFTS_BROADCAST_WITH_TRACKING, body=body, decode=reader(UpdatedTasks))

        return await self._converge(list(tracking_ids), send, tracking_ids)

    def broadcast_all_with_tracking(
        self,
        tracking_ids: Mapping[str, str] | Iterable[TrackingPair] | AsyncIterable[TrackingPair],
        *,
        concurrency: int | None = None,
        chunk: int = CHUNK,
    ) -> UpdateStream[TrackingPair]:
        """`broadcast_with_tracking` for any number: results as they come, see `UpdateStream`.

        Args:
            tracking_ids: pairs of a draft's id and its tracking id, or a mapping.
        """
        return UpdateStream(
            self._session,
            tracking_pairs(tracking_ids),
            send=lambda chunk_of: self.broadcast_with_tracking(dict(chunk_of)),
            task_id=lambda pair: pair[0],
            size=chunk,
            concurrency=concurrency or self._concurrency,
        )

    # --- what the document leaves open: a broadcast that names what is no draft -------------------------------------

    async def _send(self, task_ids: Sequence[str]) -> UpdatedTasks:
        body = BroadcastRequest(task_ids=tuple(task_ids))
        return await self._session.call(DRAFTS_BROADCAST, body=body, decode=reader(UpdatedTasks))

    async def _converge(
        self,
        task_ids: Sequence[str],
        send: Callable[[Sequence[str]], Awaitable[UpdatedTasks]],
        tracking_ids: Mapping[str, str] | None = None,
    ) -> UpdatedTasks:
        try:
            answer = await send(task_ids)
        except Rejected as error:
            if error.status in _NO_STATE:
                raise
            read = await self._read(task_ids, error)
            drafts = [task.id for task in read if _is_draft(task)]
            if len(drafts) == len(read):
                raise
            answer = await send(drafts) if drafts else UpdatedTasks()
        else:
            named = {task.id for task in answer.updated_tasks}
            read = await self._read([task_id for task_id in task_ids if task_id not in named], None)
        named = {task.id for task in answer.updated_tasks}
        tasks = [*answer.updated_tasks, *(_told(task) for task in read if task.id not in named)]
        if tracking_ids is not None:
            tasks = await self._track(tasks, tracking_ids)
        return attrs.evolve(answer, updated_tasks=tuple(tasks))

    async def _read(self, task_ids: Sequence[str], refusal: Rejected | None) -> list[Task]:
        """The tasks as they stand; an id that names none is what the refusal was about, if there was one."""
        try:
            return [await read_task(self._session, PLATFORM_TASKS_GET, task_id) for task_id in task_ids]
        except NotFound:
            if refusal is None:
                raise
            raise refusal from None

    async def _track(self, tasks: Sequence[UpdatedTask], tracking_ids: Mapping[str, str]) -> list[UpdatedTask]:
        """Give those that are broadcast, and are not told to carry their tracking id, their own."""
        wrong = {
            task.id: tracking_ids[task.id]
            for task in tasks
            if task.id in tracking_ids
            and task.tracking_id != tracking_ids[task.id]
            and task.current_status != TaskStatus.CANCELLED
            and not _is_draft(task)
        }
        if not wrong:
            return list(tasks)
        await self._session.call(PATCH_TRACKING_IDS, body=tracking_request(wrong, ""), decode=reader(UpdatedTasks))
        return [attrs.evolve(task, tracking_id=wrong.get(task.id, task.tracking_id)) for task in tasks]


def _is_draft(task: Task | UpdatedTask) -> bool:
    return task.current_status is not None and task.current_status.is_draft


def _told(task: Task) -> UpdatedTask:
    return UpdatedTask(id=task.id, tracking_id=task.tracking_id, current_status=task.current_status)
