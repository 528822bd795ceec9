"""Any number of items through calls that take at most 20: the results of each, as they come."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Generic, Self, TypeVar

from gotsurge_async.calls.batcher import Batcher
from gotsurge_async.errors import GotSurgeError, UsageError

T = TypeVar("T")
R = TypeVar("R")


class ResultStream(ABC, Generic[T, R]):
    """One result for each item, as they come; the order of the items is not kept.

    ``async for result in stream``; in an ``async with`` block it also ends cleanly when the loop is left early. Then,
    or when it is cancelled, ``in_flight`` holds the items whose outcome is not known.

    When the service no longer takes the account's token, no more chunks are sent; those that met it are told so, and
    the error is raised after the last result.
    """

    def __init__(self, items: Iterable[T] | AsyncIterable[T], *, size: int, concurrency: int) -> None:
        self._batcher: Batcher[T, Iterable[tuple[T, R]]] = Batcher(
            items, self._send_in_pairs, size=size, concurrency=concurrency
        )
        self._chunk: deque[tuple[T, R]] = deque()  # what is left to yield of the chunk at hand
        self._stopper: GotSurgeError | None = None
        self._results: AsyncGenerator[R, None] | None = None

    @property
    def in_flight(self) -> list[T]:
        """The items that were given to a call whose result has not been yielded."""
        return [item for item, _ in self._chunk] + self._batcher.in_flight

    def __aiter__(self) -> AsyncIterator[R]:
        if self._results is not None:
            raise UsageError("a stream of results is read once")
        self._results = self._run()
        return self._results

    async def aclose(self) -> None:
        """Cancel what is in flight, and leave no task."""
        if self._results is not None:
            await self._results.aclose()
        await self._batcher.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @abstractmethod
    async def _send(self, items: Sequence[T]) -> Sequence[R]:
        """Make the call of one chunk; gives one result an item. What it raises ends the stream."""

    async def _send_in_pairs(self, items: Sequence[T]) -> Iterable[tuple[T, R]]:
        return zip(items, await self._send(items), strict=True)

    def _stop(self, error: GotSurgeError) -> None:
        """Send no more chunks, and raise ``error`` after the last result."""
        self._stopper = error
        self._batcher.stop()

    async def _run(self) -> AsyncGenerator[R, None]:
        try:
            async for pairs in self._batcher:
                self._chunk.extend(pairs)
                while self._chunk:
                    _, result = self._chunk.popleft()
                    yield result
        finally:
            await self._batcher.aclose()
        if self._stopper is not None:
            raise self._stopper
