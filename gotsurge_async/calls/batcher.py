"""Any iterable in chunks, a bounded number of them in flight, results as they come."""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Sequence,
)
from itertools import islice
from types import TracebackType
from typing import Generic, Self, TypeVar

from gotsurge_async.api.endpoints import CHUNK
from gotsurge_async.errors import UsageError

T = TypeVar("T")
R = TypeVar("R")
_Done = asyncio.Queue[tuple[int, R] | None]


class Pages(Generic[T]):
    """Items that come in lists of any length."""

    def __init__(self, pages: AsyncIterable[Sequence[T]]) -> None:
        self.pages = pages


class Batcher(Generic[T, R]):
    """Cuts ``items`` into chunks, gives each to ``send``, and yields what ``send`` returned, as it comes.

    Memory stays flat whatever the input: a chunk is read only when there is a place in flight for it, and no more
    results wait than there are places. Breaking out of the loop, or cancelling it, cancels what is in flight and
    leaves no task; ``in_flight`` then holds the items whose outcome is not known.

    An error of ``send`` or of the source ends the taking of new chunks, lets those in flight finish and be yielded,
    and is raised then.

    Args:
        items: read once, by one task at a time. `Pages` are not taken apart item by item.
        send: gets 1 to ``size`` items.
        size: items in a chunk, 1 to 20.
        concurrency: chunks in flight.
    """

    def __init__(
        self,
        items: "Iterable[T] | AsyncIterable[T] | Pages[T]",
        send: Callable[[Sequence[T]], Awaitable[R]],
        *,
        size: int = CHUNK,
        concurrency: int = 16,
    ) -> None:
        if not 1 <= size <= CHUNK:
            raise UsageError(f"a chunk has 1 to {CHUNK} items, not {size}")
        if concurrency < 1:
            raise UsageError(f"at least one chunk is in flight, not {concurrency}")
        self._chunks = chunks_of_pages(items, size) if isinstance(items, Pages) else chunks_of(items, size)
        self._send = send
        self._concurrency = concurrency
        self._reading = asyncio.Lock()
        self._stopped = False
        self._error: BaseException | None = None
        self._under_way: dict[int, Sequence[T]] = {}
        self._results: AsyncGenerator[R, None] | None = None

    def stop(self) -> None:
        """Take no more chunks; those in flight finish and are yielded."""
        self._stopped = True

    @property
    def in_flight(self) -> list[T]:
        """The items that were given to ``send`` and whose result has not been yielded."""
        return [item for chunk in self._under_way.values() for item in chunk]

    def __aiter__(self) -> AsyncIterator[R]:
        if self._results is not None:
            raise UsageError("a push is read once")
        self._results = self._run()
        return self._results

    async def aclose(self) -> None:
        """Cancel what is in flight, and leave no task."""
        self._stopped = True
        if self._results is not None:
            await self._results.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _run(self) -> AsyncGenerator[R, None]:
        done: _Done[R] = asyncio.Queue()
        room = asyncio.Semaphore(self._concurrency)  # bounds the results that wait, but never a worker that ends
        workers = [asyncio.create_task(self._work(done, room)) for _ in range(self._concurrency)]
        working = len(workers)
        try:
            while working:
                ended = await done.get()
                if ended is None:
                    working -= 1
                    continue
                room.release()
                number, result = ended
                del self._under_way[number]
                yield result
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await self._chunks.aclose()
        if self._error is not None:
            raise self._error

    async def _work(self, done: "_Done[R]", room: asyncio.Semaphore) -> None:
        try:
            while (chunk := await self._next_chunk()) is not None:
                number = id(chunk)
                self._under_way[number] = chunk
                result = await self._send(chunk)
                await room.acquire()
                done.put_nowait((number, result))
        except (Exception, asyncio.CancelledError) as error:
            # Raised by _run, when the others have finished; a call that was cancelled from elsewhere counts as well.
            self._stopped = True
            self._error = self._error or error
        done.put_nowait(None)

    async def _next_chunk(self) -> Sequence[T] | None:
        async with self._reading:
            return None if self._stopped else await anext(self._chunks, None)


async def chunks_of(items: Iterable[T] | AsyncIterable[T], size: int) -> AsyncGenerator[Sequence[T], None]:
    """Cut a plain or an async iterable into lists of ``size``, the last one shorter."""
    if not isinstance(items, AsyncIterable):
        left = iter(items)
        while some := list(islice(left, size)):
            yield some
        return
    chunk: list[T] = []
    async for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


async def chunks_of_pages(items: Pages[T], size: int) -> AsyncGenerator[Sequence[T], None]:
    """Cut lists into lists of ``size``, across their borders; the last one shorter."""
    left: Sequence[T] = ()
    async for page in items.pages:
        left = [*left, *page]
        whole = len(left) - len(left) % size
        for start in range(0, whole, size):
            yield left[start : start + size]
        left = left[whole:]
    if left:
        yield left
