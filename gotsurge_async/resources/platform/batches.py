"""Many tasks named by their ids: one result for each, whatever number they are."""

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar, cast

from msgspec import Struct

from gotsurge_async.calls.create import stops_all
from gotsurge_async.calls.stream import ResultStream
from gotsurge_async.errors import (
    NOT_FOLLOWED,
    ClientClosed,
    GotSurgeError,
    InvalidData,
    OutcomeUnknown,
    PartlyDone,
    UsageError,
)
from gotsurge_async.models.platform import UpdatedTask, UpdatedTasks
from gotsurge_async.resources.reading import check_tracking, several

__all__ = ["NotUpdated", "UpdateResult", "UpdateStream", "Updated"]

T = TypeVar("T")

TrackingPair = tuple[str, str]
"""A task's id, and the tracking id that it is to carry."""
TrackingPairs = Mapping[str, str] | Iterable[TrackingPair] | AsyncIterable[TrackingPair]


class Updated(Struct, Generic[T], frozen=True, kw_only=True):
    """The service did as asked: ``task`` is its answer. ``item`` is the item of the stream."""

    item: T
    task: UpdatedTask


class NotUpdated(Struct, Generic[T], frozen=True, kw_only=True):
    """The service did not, or does not say that it did. ``item`` is that of the stream; sending it again is safe."""

    item: T
    error: GotSurgeError


UpdateResult = Updated[T] | NotUpdated[T]


class UpdateStream(ResultStream[T, UpdateResult[T]], Generic[T]):
    """An `Updated` or a `NotUpdated` for each item, as they arrive.

    ``async for result in stream``; in an ``async with`` block it also ends cleanly when the loop is left early. A
    chunk that the service refuses as a whole gives a `NotUpdated` for each of its items.

    When the service no longer takes the account's token, no more chunks are sent, and the error is raised after the
    last result.

    Args:
        size: tasks in a call, 1 to 20.
        concurrency: the most calls in flight, or a function that returns it.
    """

    def __init__(
        self,
        items: Iterable[T] | AsyncIterable[T],
        *,
        call: Callable[[Sequence[T]], Awaitable[UpdatedTasks]],
        check: Callable[[T], None],
        task_id: Callable[[T], str],
        size: int,
        concurrency: int | Callable[[], int],
    ) -> None:
        super().__init__(items, size=size, concurrency=concurrency)
        self._call = call
        self._check = check
        self._task_id = task_id

    async def _send(self, items: Sequence[T]) -> list[UpdateResult[T]]:
        # An item that cannot be sent keeps no other of its chunk from being sent.
        faults = [self._fault(item) for item in items]
        fit = [item for item, fault in zip(items, faults, strict=True) if fault is None]
        outcomes = await self._outcomes(fit) if fit else {}
        results: list[UpdateResult[T]] = []
        for item, fault in zip(items, faults, strict=True):
            outcome = outcomes.get(self._task_id(item)) if fault is None else fault
            if isinstance(outcome, UpdatedTask):
                results.append(Updated(item=item, task=outcome))
            else:
                unnamed = OutcomeUnknown("the service answers without naming this task", "E404", status=200)
                results.append(NotUpdated(item=item, error=outcome or unnamed))
        return results

    def _fault(self, item: T) -> GotSurgeError | None:
        try:
            self._check(item)
        except (UsageError, InvalidData) as error:
            return error
        return None

    async def _outcomes(self, items: Sequence[T]) -> dict[str, UpdatedTask | GotSurgeError]:
        """What became of each task, by its id; without those that the answer does not name."""
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
    tracking_ids: TrackingPairs,
    call: Callable[[Mapping[str, str]], Awaitable[UpdatedTasks]],
    *,
    size: int,
    concurrency: int | Callable[[], int],
) -> UpdateStream[TrackingPair]:
    """Give any number of tasks their tracking ids; ``call`` does it for 1 to 20, by the task's id."""
    pairs = cast("Mapping[str, str]", tracking_ids).items() if isinstance(tracking_ids, Mapping) else tracking_ids
    return UpdateStream(
        several(pairs, "tracking_ids"),
        call=lambda chunk: call(dict(chunk)),
        check=_check_pair,
        task_id=lambda pair: pair[0],
        size=size,
        concurrency=concurrency,
    )


def _check_pair(pair: TrackingPair) -> None:
    if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
        raise UsageError(f"tracking_ids: give pairs of a task's id and its tracking id, not {pair!r}", "E903")
    check_tracking(*pair)
