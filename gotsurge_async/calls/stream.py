"""Any iterable in chunks, a bounded number of them in flight, results as they come."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from itertools import islice
from types import AsyncGeneratorType, TracebackType
from typing import Generic, Self, TypeVar, cast

from gotsurge_async.api.endpoints import CHUNK
from gotsurge_async.config import check_concurrency, is_count
from gotsurge_async.errors import GotSurgeError, UsageError

T = TypeVar("T")
C = TypeVar("C")
R = TypeVar("R")


class Pages(Generic[T]):
    """Items that come in lists of any length."""

    def __init__(self, pages: AsyncIterable[Sequence[T]]) -> None:
        self.pages = pages


class _Stream(ABC, Generic[T, C, R]):
    """Cuts items into chunks, gives each to ``send``, and yields what becomes of what that returned, as it comes.

    Memory stays flat whatever the input: a chunk is read only when there is a place in flight for it, and no more
    results wait than there are places. Breaking out of the loop, or cancelling it, cancels what is in flight and
    leaves no task; ``in_flight`` then holds the items whose outcome is not known.

    ``concurrency`` is asked again whenever a chunk has ended, if it is a function: tasks and memory follow it.

    An error of ``send`` or of the source ends the taking of new chunks, lets those in flight finish and be yielded,
    and is raised then.
    """

    def __init__(
        self,
        items: "Iterable[T] | AsyncIterable[T] | Pages[T]",
        send: Callable[[Sequence[T]], Awaitable[C]],
        *,
        size: int,
        concurrency: int | Callable[[], int],
    ) -> None:
        if not (is_count(size) and size <= CHUNK):
            raise UsageError(f"a chunk has 1 to {CHUNK} items, not {size!r:.60}")
        if not callable(concurrency):
            check_concurrency(concurrency)
        self._places = concurrency if callable(concurrency) else lambda: concurrency
        self._chunks = chunks_of_pages(items, size) if isinstance(items, Pages) else chunks_of(items, size)
        self._send_chunk = send
        self._reading = asyncio.Lock()
        self._stopped = False
        self._error: BaseException | None = None
        self._under_way: dict[int, Sequence[T]] = {}
        self._results: AsyncGenerator[R, None] | None = None
        self._workers: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()

    def stop(self, error: GotSurgeError | None = None) -> None:
        """Take no more chunks; those in flight finish and are yielded, and then ``error``, if given, is raised."""
        self._stopped = True
        self._error = self._error or error

    @property
    def in_flight(self) -> list[T]:
        """The items that were given to a call, and whose result has not been yielded."""
        return [item for chunk in self._under_way.values() for item in chunk]

    def __aiter__(self) -> AsyncIterator[R]:
        if self._results is not None:
            raise UsageError("a stream of results is read once")
        self._results = self._yielded()
        return self._results

    async def aclose(self) -> None:
        """Cancel what is in flight, and leave no task. May be called again, also while another task reads the results.

        That other task gets a UsageError, so that it does not take what it has got for all; ``in_flight`` has the rest.
        """
        self._stopped = True
        if self._results is None:
            return
        if cast("AsyncGeneratorType[R, None]", self._results).ag_running:
            self._error = self._error or UsageError("the stream was closed by another task while this one read it")
            for worker in self._workers:
                worker.cancel()
            await self._ended.wait()
        else:
            await self._results.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @abstractmethod
    def _yielded(self) -> AsyncGenerator[R, None]:
        """What the stream yields, made of `_run`; closes that in the end."""

    async def _run(self) -> AsyncGenerator[tuple[Sequence[T], C], None]:
        """Each chunk and what ``send`` returned for it, as they come."""
        done: asyncio.Queue[tuple[Sequence[T], C] | None] = asyncio.Queue()
        room = asyncio.Semaphore(self._places())  # bounds the results that wait, but never a worker that ends
        try:
            self._hire(done, room)
            while self._workers or not done.empty():
                ended = await done.get()
                if ended is not None:
                    room.release()
                    del self._under_way[id(ended[0])]
                self._hire(done, room)
                if ended is not None:
                    yield ended
        finally:
            for worker in self._workers:
                worker.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)
            await self._chunks.aclose()
            self._ended.set()
        if self._error is not None:
            raise self._error

    def _hire(self, done: "asyncio.Queue[tuple[Sequence[T], C] | None]", room: asyncio.Semaphore) -> None:
        """Have as many workers as there are places; those that are too many go by themselves, and perhaps some more."""

        def gone(worker: asyncio.Task[None]) -> None:  # called also for one that is cancelled before it begins
            self._workers.discard(worker)
            done.put_nowait(None)

        while len(self._workers) < self._places() and not self._stopped:
            worker = asyncio.create_task(self._work(done, room))
            self._workers.add(worker)
            worker.add_done_callback(gone)

    async def _work(self, done: "asyncio.Queue[tuple[Sequence[T], C] | None]", room: asyncio.Semaphore) -> None:
        try:
            while len(self._workers) <= self._places() and (chunk := await self._next_chunk()) is not None:
                self._under_way[id(chunk)] = chunk
                result = await self._send_chunk(chunk)
                await room.acquire()
                done.put_nowait((chunk, result))
        except (Exception, asyncio.CancelledError) as error:
            # Raised by _run, when the others have finished; a call that was cancelled from elsewhere counts as well.
            self._stopped = True
            self._error = self._error or error

    async def _next_chunk(self) -> Sequence[T] | None:
        async with self._reading:
            chunk = None if self._stopped else await anext(self._chunks, None)
            self._stopped |= chunk is None
            return chunk


class Batcher(_Stream[T, R, R]):
    """A stream of chunks: yields what ``send`` returned for each, as it comes.

    Args:
        items: read once, by one task at a time. `Pages` are not taken apart item by item.
        send: gets 1 to ``size`` items.
        size: items in a chunk, 1 to 20.
        concurrency: chunks in flight; a function for what changes.
    """

    def __init__(
        self,
        items: "Iterable[T] | AsyncIterable[T] | Pages[T]",
        send: Callable[[Sequence[T]], Awaitable[R]],
        *,
        size: int = CHUNK,
        concurrency: int | Callable[[], int] = 16,
    ) -> None:
        super().__init__(items, send, size=size, concurrency=concurrency)

    async def _yielded(self) -> AsyncGenerator[R, None]:
        ended = self._run()
        try:
            async for _, result in ended:
                yield result
        finally:
            await ended.aclose()


class ResultStream(_Stream[T, Sequence[R], R]):
    """One result for each item, as they come; the order of the items is not kept.

    ``async for result in stream``; in an ``async with`` block it also ends cleanly when the loop is left early. Then,
    or when it is cancelled, ``in_flight`` holds the items whose outcome is not known.

    When the service no longer takes the account's token, no more chunks are sent; those that met it are told so, and
    the error is raised after the last result.
    """

    def __init__(
        self, items: Iterable[T] | AsyncIterable[T], *, size: int, concurrency: int | Callable[[], int]
    ) -> None:
        super().__init__(items, self._send, size=size, concurrency=concurrency)
        self._chunk: deque[tuple[T, R]] = deque()  # what is left to yield of the chunk at hand

    @property
    def in_flight(self) -> list[T]:
        """The items that were given to a call, and whose result has not been yielded."""
        return [item for item, _ in self._chunk] + super().in_flight

    @abstractmethod
    async def _send(self, items: Sequence[T]) -> Sequence[R]:
        """Make the call of one chunk; gives one result an item. What it raises ends the stream."""

    async def _yielded(self) -> AsyncGenerator[R, None]:
        ended = self._run()
        try:
            async for items, results in ended:
                self._chunk.extend(zip(items, results, strict=True))
                while self._chunk:
                    yield self._chunk.popleft()[1]
        finally:
            await ended.aclose()


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
