"""Any iterable in chunks, a bounded number of them in flight, results as they arrive."""

import asyncio
import sys
from abc import ABC, abstractmethod
from array import array
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from itertools import islice
from types import AsyncGeneratorType, TracebackType
from typing import Generic, Self, TypeVar, cast
from weakref import ref

from gotsurge_async.api.endpoints import CHUNK
from gotsurge_async.clock import Clock, sleep_or
from gotsurge_async.config import check_concurrency, is_count
from gotsurge_async.errors import UsageError

T = TypeVar("T")
C = TypeVar("C")
R = TypeVar("R")

LINGER = 0.2
"""Seconds that an item of a slow source waits for the next ones, while there is a place in flight for its chunk."""


class Pages(Generic[T]):
    """Items in lists of any length."""

    def __init__(self, pages: AsyncIterable[Sequence[T]]) -> None:
        self.pages = pages


class _Stream(ABC, Generic[T, C, R]):
    """Cuts items into chunks, passes each to ``send``, and yields results of what that returned, as they arrive.

    Memory stays flat whatever the input: a chunk is read only when there is a place in flight for it, and no more
    results wait than there are places. Breaking out of the loop, or cancelling it, cancels what is in flight and
    leaves no task; ``in_flight`` then holds the items whose outcome is not known.

    With a ``clock``, a chunk of an async source that is slow is sent before it is full, see `LINGER`.

    If ``concurrency`` is a function, it is called again whenever a chunk has ended: tasks and memory follow it.

    After an error of ``send`` or of the source no new chunk is read. Those in flight finish and are yielded, then the
    error is raised.
    """

    def __init__(
        self,
        items: "Iterable[T] | AsyncIterable[T] | Pages[T]",
        send: Callable[[Sequence[T]], Awaitable[C]],
        *,
        size: int,
        concurrency: int | Callable[[], int],
        clock: Clock | None = None,
    ) -> None:
        if not (is_count(size) and size <= CHUNK):
            raise UsageError(f"a chunk must have 1 to {CHUNK} items, not {size!r:.60}", "E903")
        if not callable(concurrency):
            check_concurrency(concurrency)
        self._places = concurrency if callable(concurrency) else lambda: concurrency
        self._unfinished: list[T] = []
        if isinstance(items, Pages):
            self._chunks = chunks_of_pages(items, size)
        elif clock is not None and isinstance(items, AsyncIterable):
            self._chunks = self._chunks_in_time(items, size, clock)
        else:
            self._chunks = chunks_of(items, size, self._unfinished)
        self._send_chunk = send
        self._reading = asyncio.Lock()
        self._arrived = asyncio.Event()  # an item of an async source, or that no more are wanted
        self._stopped = False
        self._error: BaseException | None = None
        self._under_way: dict[int, Sequence[T]] = {}
        self._yielding: ref[AsyncGeneratorType[R, None]] | None = None
        self._begun = False
        self._workers: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()

    def stop(self, error: BaseException | None = None) -> None:
        """Read no more chunks; those in flight finish and are yielded, then ``error`` is raised, if there is one."""
        self._stopped = True
        self._arrived.set()
        self._error = self._error or error

    @property
    def in_flight(self) -> list[T]:
        """The items that were read, and whose result has not been yielded."""
        return [*(item for chunk in self._under_way.values() for item in chunk), *self._unfinished]

    def __aiter__(self) -> AsyncIterator[R]:
        if self._yielding is not None:
            raise UsageError("a stream of results can be read only once", "E902")
        yielding = cast("AsyncGeneratorType[R, None]", self._yielded())
        self._yielding = ref(yielding)
        return yielding

    async def aclose(self) -> None:
        """Cancel what is in flight, and leave no task. May be called again, also while another task reads the results.

        That other task gets a UsageError, so that it does not mistake its results for all; ``in_flight`` has the rest.
        """
        self._stopped = True
        yielding = None if self._yielding is None else self._yielding()
        if not self._begun:
            return
        if yielding is None or yielding.ag_running:  # it is being closed, or another task reads it
            why = "another asyncio task closed the stream while this one was reading it"
            self._error = self._error or UsageError(why, "E902")
            for worker in self._workers:
                worker.cancel()
            await self._ended.wait()
        else:
            await yielding.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @abstractmethod
    def _results_of(self, chunk: Sequence[T], sent: C) -> Iterable[R]:
        """The results of a chunk, for which ``send`` returned ``sent``."""

    async def _yielded(self) -> AsyncGenerator[R, None]:
        # One generator, which only its reader holds: one that is left early is closed then and there, with its workers.
        self._begun = True
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
                    for result in self._results_of(*ended):
                        yield result
        finally:
            for worker in self._workers:
                worker.cancel()
            try:
                await asyncio.gather(*self._workers, return_exceptions=True)
            finally:  # also when this is cancelled once more
                try:
                    await self._chunks.aclose()
                finally:
                    self._ended.set()
        if self._error is not None:
            raise self._error

    def _hire(self, done: "asyncio.Queue[tuple[Sequence[T], C] | None]", room: asyncio.Semaphore) -> None:
        """Start workers until there is one for each place. Surplus workers end by themselves."""

        def ended(worker: asyncio.Task[None]) -> None:  # called also for one that is cancelled before it begins
            self._workers.discard(worker)
            done.put_nowait(None)

        while len(self._workers) < self._places() and not self._stopped:
            worker = asyncio.create_task(self._work(done, room))
            self._workers.add(worker)
            worker.add_done_callback(ended)

    async def _work(self, done: "asyncio.Queue[tuple[Sequence[T], C] | None]", room: asyncio.Semaphore) -> None:
        try:
            while len(self._workers) <= self._places() and (chunk := await self._next_chunk()) is not None:
                self._under_way[id(chunk)] = chunk
                result = await self._send_chunk(chunk)
                await room.acquire()
                done.put_nowait((chunk, result))
        except (Exception, asyncio.CancelledError) as error:
            # Raised by _run, when the others have finished; a call that was cancelled from elsewhere counts as well.
            self.stop(error)

    async def _next_chunk(self) -> Sequence[T] | None:
        async with self._reading:
            chunk = None if self._stopped else await anext(self._chunks, None)
            self._stopped |= chunk is None
            return chunk

    async def _chunks_in_time(
        self, items: AsyncIterable[T], size: int, clock: Clock
    ) -> AsyncGenerator[Sequence[T], None]:
        """Cut an async iterable into lists of ``size``, or shorter ones while no more items come for a while."""
        chunk, arrived = self._unfinished, self._arrived
        full, taken = asyncio.Event(), asyncio.Event()

        async def fill() -> None:  # one task for the whole source, which may hold context variables across items
            try:
                async for item in items:
                    chunk.append(item)
                    arrived.set()
                    if len(chunk) == size:
                        full.set()
                        taken.clear()
                        await taken.wait()
            finally:
                arrived.set()
                full.set()

        filling = asyncio.create_task(fill())  # never cancelled for time alone: that would end the source
        try:
            while chunk or not filling.done():
                taken.set()
                await arrived.wait()
                if not (full.is_set() or self._stopped):
                    await sleep_or(full, clock, LINGER)
                if self._stopped:
                    return
                if filling.done():
                    filling.result()
                some = [*chunk]
                chunk.clear()
                arrived.clear()
                full.clear()
                if some:
                    yield some
            filling.result()
        finally:
            filling.cancel()
            await asyncio.gather(filling, return_exceptions=True)


class Batcher(_Stream[T, R, R]):
    """A stream of chunks: yields what ``send`` returned for each, as it arrives.

    Args:
        items: read once, by one task at a time. `Pages` are not split into single items.
        size: items in a chunk, 1 to 20.
        concurrency: chunks in flight, or a function that returns their present number.
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

    def _results_of(self, chunk: Sequence[T], sent: R) -> Iterable[R]:
        return (sent,)


class ResultStream(_Stream[T, Sequence[R], R]):
    """One result for each item, as they arrive, not in the order of the items.

    ``async for result in stream``; in an ``async with`` block it also ends cleanly when the loop is left early. Then,
    or when it is cancelled, ``in_flight`` holds the items whose outcome is not known.

    When the service no longer takes the account's token, no more chunks are sent; their results show
    this, and the error is raised after the last result.
    """

    def __init__(
        self,
        items: Iterable[T] | AsyncIterable[T],
        *,
        size: int,
        concurrency: int | Callable[[], int],
        clock: Clock | None = None,
    ) -> None:
        super().__init__(items, self._send, size=size, concurrency=concurrency, clock=clock)
        self._chunk: deque[tuple[T, R]] = deque()  # not yet yielded, of the present chunk

    @property
    def in_flight(self) -> list[T]:
        """The items that were read, and whose result has not been yielded."""
        return [item for item, _ in self._chunk] + super().in_flight

    @abstractmethod
    async def _send(self, items: Sequence[T]) -> Sequence[R]:
        """Make the call of one chunk; returns one result for each item. An error ends the stream."""

    def _results_of(self, chunk: Sequence[T], sent: Sequence[R]) -> Iterable[R]:
        self._chunk.extend(zip(chunk, sent, strict=True))
        while self._chunk:
            yield self._chunk.popleft()[1]


async def chunks_of(
    items: Iterable[T] | AsyncIterable[T], size: int, unfinished: list[T] | None = None
) -> AsyncGenerator[Sequence[T], None]:
    """Cut a plain or an async iterable into lists of ``size``, the last one shorter.

    ``unfinished`` always holds the items that were read and that no chunk has yet.
    """
    chunk: list[T] = [] if unfinished is None else unfinished

    def taken() -> Sequence[T]:
        some = [*chunk]
        chunk.clear()
        return some

    if isinstance(items, AsyncIterable):
        async for item in items:
            chunk.append(item)
            if len(chunk) == size:
                yield taken()
    else:
        left = iter(items)
        chunk.extend(islice(left, size))  # which keeps the items that came before an error
        while len(chunk) == size:
            yield taken()
            chunk.extend(islice(left, size))
    if chunk:
        yield taken()


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


_IS_WIDE = sys.hash_info.width >= 64
_DIGEST = 0xFFFF_FFFF_FFFF_FFFF
_SHARD = 0xFFFF
"""The bits of a digest that choose its array: of a million keys each array has 15, a quick search."""


class KeysSeen:
    """Remembers keys by digests of 8 bytes, in arrays that are chosen by two bytes of the digest.

    A digest is Python's own hash. A million keys take 20 MB, 4 million 45 MB: 8.3 bytes for each further key, after
    12 MB for the arrays. A Python set takes about 80 bytes for each key. Two different keys have one digest about once
    in 37 million streams of a million keys: then the second counts as seen.
    """

    def __init__(self) -> None:
        self._shards: dict[int, array[int]] = {}

    def add(self, key: str) -> bool:
        """Remember a key; False if it was seen before."""
        digest = hash(key) & _DIGEST if _IS_WIDE else (hash(key) << 32 | hash(f"{key} ") & 0xFFFFFFFF) & _DIGEST
        shard = self._shards.get(digest & _SHARD)
        if shard is None:
            self._shards[digest & _SHARD] = array("Q", (digest,))
            return True
        if digest in shard:
            return False
        shard.append(digest)
        return True
