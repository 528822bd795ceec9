"""The broadcast of drafts: the document does not say what becomes of one that names a task that is not a draft."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from gotsurge_async.api.endpoints import (
    DRAFTS_BROADCAST,
    DRAFTS_BROADCAST_WITH_TRACKING,
    PATCH_TRACKING_IDS,
    PLATFORM_TASKS_GET,
)
from gotsurge_async.calls.outcome import denials
from gotsurge_async.calls.session import Session
from gotsurge_async.errors import NOT_FOLLOWED, GotSurgeError, NotFound, OutcomeUnknown, PartlyDone, Rejected
from gotsurge_async.models.answers import Task
from gotsurge_async.models.platform import (
    BroadcastRequest,
    TrackingAssignment,
    TrackingRequest,
    UpdatedTask,
    UpdatedTasks,
)
from gotsurge_async.models.tasks import TaskStatus
from gotsurge_async.resources.converging import NO_STATE
from gotsurge_async.resources.reading import reader, task_of


async def broadcast(
    session: Session, task_ids: Sequence[str], tracking_ids: Mapping[str, str] | None = None
) -> UpdatedTasks:
    """Broadcast drafts, for `Drafts.broadcast`, and with ``tracking_ids`` `Drafts.broadcast_with_tracking`."""
    work = _Broadcast(session, tracking_ids)
    if tracking_ids is not None:  # may both be needed, and the second after drivers were asked
        session.require(DRAFTS_BROADCAST_WITH_TRACKING, PATCH_TRACKING_IDS)
    try:
        try:
            await work.send(task_ids)
        except Rejected as refusal:
            if refusal.status in NO_STATE:
                raise
            drafts = await work.drafts_of(task_ids, refusal)
            if len(drafts) == len(task_ids):
                raise
            await work.send_again(drafts, refusal)
        if tracking_ids is not None:
            await work.track(tracking_ids)
    except asyncio.CancelledError as cancelled:
        if work.is_answered and not isinstance(cancelled.__cause__, OutcomeUnknown):
            raise cancelled from work.unknown("the call was cancelled after the service had answered")
        raise
    return work.result(task_ids)


class _Broadcast:
    """Broadcasts drafts, and collects for each task the service's answer, or why it is not known to be broadcast."""

    def __init__(self, session: Session, tracking_ids: Mapping[str, str] | None) -> None:
        self._session = session
        self._tracking_ids = tracking_ids
        self._endpoint = DRAFTS_BROADCAST if tracking_ids is None else DRAFTS_BROADCAST_WITH_TRACKING
        self._answer = UpdatedTasks()
        self._tasks: list[UpdatedTask] = []
        self._failed: dict[str, GotSurgeError] = {}
        self._unread = False
        self._status: int | None = None

    @property
    def is_answered(self) -> bool:
        """Whether the service has accepted a broadcast."""
        return self._status is not None

    async def send(self, task_ids: Sequence[str]) -> None:
        """Broadcast drafts: tasks that the answer names are done, the others are read."""
        body: Any = BroadcastRequest(task_ids=tuple(task_ids))
        if self._tracking_ids is not None:
            body = tracking_request({task_id: self._tracking_ids[task_id] for task_id in task_ids})
        with self._session.recording() as answers:
            self._answer = await self._session.call(self._endpoint, body=body, read=reader(UpdatedTasks))
        self._status = answers[-1].status
        denied = denials((task.id, task.extra) for task in self._answer.updated_tasks)
        self._failed |= {task_id: self.unknown(f"the answer says no: {why}") for task_id, why in denied.items()}
        self._tasks += [task for task in self._answer.updated_tasks if task.id not in denied]
        named = {task.id for task in self._answer.updated_tasks}
        for task_id in task_ids:
            if task_id not in named:
                await self._read_unnamed(task_id)

    async def send_again(self, drafts: Sequence[str], refusal: Rejected) -> None:
        """Broadcast the drafts of a refused chunk, unless a task that cannot be read may be the reason."""
        if self._unread:
            self._failed |= dict.fromkeys(drafts, refusal)
        elif drafts:
            try:
                await self.send(drafts)
            except NOT_FOLLOWED as error:
                self._failed |= dict.fromkeys(drafts, error)

    async def drafts_of(self, task_ids: Sequence[str], refusal: Rejected) -> list[str]:
        """Read the tasks of a refused chunk, note the outcome of each, and return those that are still drafts."""
        drafts = []
        for task_id in task_ids:
            try:
                task = await self._read(task_id)
            except NOT_FOLLOWED:  # the refusal matters, not that of the read
                self._failed[task_id] = refusal
                self._unread = True
                continue
            if _is_draft(task):
                drafts.append(task_id)
            elif _has_status(task):
                self._tasks.append(_updated(task))
            else:
                self._failed[task_id] = refusal
        return drafts

    async def _read_unnamed(self, task_id: str) -> None:
        try:
            task = await self._read(task_id)
        except NotFound as error:
            self._failed[task_id] = error
        except NOT_FOLLOWED as error:
            self._failed[task_id] = self.unknown(
                f"the answer does not name the task, and the task cannot be read: {error}"
            )
        else:
            if _is_draft(task) or not _has_status(task):
                self._failed[task_id] = self.unknown(
                    "the answer does not name the task, and reading the task does not show that it was broadcast"
                )
            else:
                self._tasks.append(_updated(task))

    async def _read(self, task_id: str) -> Task:
        return await self._session.call(PLATFORM_TASKS_GET, path={"task_id": task_id}, read=task_of(task_id))

    def unknown(self, message: str) -> OutcomeUnknown:
        """The error for an answer that does not show the outcome of the tasks."""
        return OutcomeUnknown(message, operation=self._endpoint.name, status=self._status)

    async def track(self, tracking_ids: Mapping[str, str]) -> None:
        """Patch the tracking ids of broadcast tasks that do not show theirs."""
        wrong = {
            task.id: tracking_ids[task.id]
            for task in self._tasks
            if task.id in tracking_ids
            and task.tracking_id != tracking_ids[task.id]
            and task.current_status != TaskStatus.CANCELLED
            and not _is_draft(task)
        }
        if not wrong:
            return
        try:
            await self._session.call(PATCH_TRACKING_IDS, body=tracking_request(wrong), read=reader(UpdatedTasks))
        except NOT_FOLLOWED as error:
            for task in self._tasks:
                if task.id in wrong:
                    self._failed[task.id] = PartlyDone(
                        f"the task was broadcast, but its tracking id may not have been set: {error}",
                        done=UpdatedTasks(updated_tasks=(task,)),
                        operation=self._endpoint.name,
                    )
        else:
            self._tasks = [attrs.evolve(task, tracking_id=wrong.get(task.id, task.tracking_id)) for task in self._tasks]

    def result(self, task_ids: Sequence[str]) -> UpdatedTasks:
        """The answer, if all tasks are done.

        Raises PartlyDone if some are done, or there are several reasons why none is; else the one reason.
        """
        answer = attrs.evolve(self._answer, updated_tasks=tuple(self._tasks))
        if not self._failed:
            return answer
        errors = list(self._failed.values())
        if not self._tasks and len({type(error) for error in errors}) == 1:
            raise errors[0]
        done = len(task_ids) - len(self._failed)
        reasons = "; ".join(f"{task_id}: {error}" for task_id, error in self._failed.items())
        raise PartlyDone(
            f"the call succeeded for {done} of {len(task_ids)} tasks; {reasons}",
            done=answer,
            failed=self._failed,
            operation=self._endpoint.name,
        )


def _updated(task: Task) -> UpdatedTask:
    return UpdatedTask(id=task.id, tracking_id=task.tracking_id, current_status=task.current_status)


def _has_status(task: Task) -> bool:
    return task.current_status is not None and bool(task.current_status.strip())


def _is_draft(task: Task | UpdatedTask) -> bool:
    return task.current_status is not None and task.current_status.is_draft


def tracking_request(tracking_ids: Mapping[str, str]) -> TrackingRequest:
    """Make the body that gives tasks their tracking ids."""
    return TrackingRequest(
        tasks=tuple(TrackingAssignment(id=task_id, tracking_id=name) for task_id, name in tracking_ids.items())
    )
