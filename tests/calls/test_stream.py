"""`gotsurge_async.calls.stream`: any iterable in chunks, a bounded number in flight."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.calls.stream import Batcher, chunks_of
from gotsurge_async.errors import UsageError
from tests.support.clients import others

R = TypeVar("R")


async def read_all(batcher: Batcher[int, R], results: list[R]) -> None:
    """Read to the end, noting what comes before an error."""
    async for result in batcher:
        results.append(result)  # noqa: PERF401 - a comprehension would lose what comes before an error


async def as_async(items: Sequence[int], source_turns: int = 0) -> AsyncIterator[int]:
    """The items one by one, with others running in between."""
    for item in items:
        for _ in range(source_turns):
            await asyncio.sleep(0)
        yield item


@given(
    count=st.integers(0, 130),
    size=st.integers(1, 20),
    concurrency=st.integers(1, 20),
    turns=st.lists(st.integers(0, 5), min_size=1, max_size=7),
    source_turns=st.none() | st.integers(0, 3),
)
async def test_every_item_goes_through_once(
    count: int, size: int, concurrency: int, turns: list[int], source_turns: int | None
) -> None:
    """Whatever the sizes and the pace, each item is sent once, never more in flight than asked, none left."""
    now = most = calls = 0

    async def send(chunk: Sequence[int]) -> list[int]:
        nonlocal now, most, calls
        assert 1 <= len(chunk) <= size
        calls += 1
        now += 1
        most = max(most, now)
        for _ in range(turns[calls % len(turns)]):
            await asyncio.sleep(0)
        now -= 1
        return list(chunk)

    items = range(count) if source_turns is None else as_async(range(count), source_turns)
    batcher = Batcher(items, send, size=size, concurrency=concurrency)
    results = [result async for result in batcher]
    assert sorted(item for chunk in results for item in chunk) == list(range(count))
    assert all(len(chunk) == size for chunk in sorted(results)[:-1])
    assert most <= concurrency
    assert not batcher.in_flight
    assert not others()


@given(
    count=st.integers(0, 130),
    places=st.lists(st.integers(1, 12), min_size=1, max_size=12),
    turns=st.lists(st.integers(0, 5), min_size=1, max_size=7),
)
async def test_the_number_in_flight_follows(count: int, places: list[int], turns: list[int]) -> None:
    """However the places come and go, each item is sent once, and no more are in flight than there ever were."""
    now = most = calls = 0

    async def send(chunk: Sequence[int]) -> int:
        nonlocal now, most, calls
        calls += 1
        now += 1
        most = max(most, now)
        for _ in range(turns[calls % len(turns)]):
            await asyncio.sleep(0)
        now -= 1
        return chunk[0]

    batcher = Batcher(range(count), send, size=1, concurrency=lambda: places[calls % len(places)])
    assert sorted([result async for result in batcher]) == list(range(count))
    assert most <= max(places)
    assert not others()


async def test_more_places_are_used_and_fewer_are_kept_to() -> None:
    """With more places more chunks are in flight when one ends, and with fewer places fewer, when enough have ended."""
    places, go_on = 2, asyncio.Semaphore(0)
    now: set[int] = set()
    batcher: Batcher[int, int]

    async def send(chunk: Sequence[int]) -> int:
        now.add(chunk[0])
        await go_on.acquire()
        now.discard(chunk[0])
        return chunk[0]

    async def end(count: int) -> None:
        for _ in range(count):
            go_on.release()
            await anext(results)
        for _ in range(10):
            await asyncio.sleep(0)

    async with Batcher(range(1000), send, size=1, concurrency=lambda: places) as batcher:
        results = aiter(batcher)
        await end(1)
        assert len(now) == 2
        places = 6
        await end(1)
        assert len(now) == 6
        places = 3
        await end(6)
        assert len(now) == 3
    assert not others()


async def test_one_that_was_just_begun_may_be_closed() -> None:
    """A worker that had no time to begin yet does not delay the closing of the stream."""
    places = 1

    async def send(chunk: Sequence[int]) -> int:
        if chunk[0] > 1:
            await asyncio.Event().wait()
        return chunk[0]

    async with asyncio.timeout(60), Batcher(range(100), send, size=1, concurrency=lambda: places) as batcher:
        async for result in batcher:
            if result == 1:
                break
            places = 9
    assert not others()


class Endless:
    """A source without an end that counts what was read of it."""

    def __init__(self) -> None:
        self.read = 0

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        self.read += 1
        return self.read


async def test_no_more_is_read_than_there_is_room_for() -> None:
    """From an endless source with a reader that stops, only what is in flight or waits to be yielded is read."""
    source = Endless()

    async def send(chunk: Sequence[int]) -> int:
        await asyncio.sleep(0)
        return len(chunk)

    async with Batcher(source, send, size=10, concurrency=4) as batcher:
        async for _ in batcher:
            for _ in range(200):
                await asyncio.sleep(0)
            # One was yielded, 4 wait to be, and each of the 4 workers holds one more.
            assert source.read <= 10 * (1 + 4 + 4)
            break
    assert not others()


async def test_results_come_as_they_are_ready() -> None:
    """A slow chunk does not hold up those that are ready."""
    slow = asyncio.Event()

    async def send(chunk: Sequence[int]) -> int:
        if chunk[0] == 0:
            await slow.wait()
        return chunk[0]

    results = []
    async for result in Batcher(range(4), send, size=1, concurrency=2):
        results.append(result)
        if len(results) == 3:
            slow.set()
    assert results == [1, 2, 3, 0]


def test_a_loop_that_is_left_early_without_a_block_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Its workers, of which some wait for room for their results, end at once, and asyncio complains of nothing."""

    async def send(chunk: Sequence[int]) -> Sequence[int]:
        return chunk

    async def leave() -> None:
        async for _ in Batcher(range(100), send, size=1, concurrency=2):
            await asyncio.sleep(0.01)  # all places have their results by then
            break

    async def main() -> None:
        await leave()
        gc.collect()
        async with asyncio.timeout(10):
            while others():  # noqa: ASYNC110 - the loop's own
                await asyncio.sleep(0)

    asyncio.run(main())
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio" and record.levelname == "ERROR"]


async def test_a_result_that_was_not_taken_is_in_flight() -> None:
    """An item whose chunk is done and not yielded counts as in flight: its result has not been seen."""

    async def send(chunk: Sequence[int]) -> int:
        return chunk[0]

    async with Batcher(range(3), send, size=1, concurrency=3) as batcher:
        results = aiter(batcher)
        first = await anext(results)
        await asyncio.sleep(0)
        assert sorted([first, *batcher.in_flight]) == [0, 1, 2]
    assert sorted([first, *batcher.in_flight]) == [0, 1, 2]


async def test_cancelling_the_reader_leaves_no_task() -> None:
    """A cancelled loop over the results cancels what is in flight."""

    begun = asyncio.Semaphore(0)

    async def send(_: Sequence[int]) -> None:
        begun.release()
        await asyncio.Event().wait()

    batcher = Batcher(range(100), send, size=5, concurrency=2)
    reading = asyncio.create_task(read_all(batcher, []))
    await begun.acquire()
    await begun.acquire()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not others()
    assert sorted(batcher.in_flight) == list(range(10))


def broken_source() -> Iterator[int]:
    """Seven items and an error."""
    yield from range(7)
    raise OSError("the disk is gone")


async def broken_async_source() -> AsyncIterator[int]:
    """The same, asynchronous."""
    for item in broken_source():
        yield item


@pytest.mark.parametrize("source", [broken_source, broken_async_source])
async def test_an_error_of_the_source_comes_last(source: Callable[[], Iterator[int]]) -> None:
    """The whole chunks before the error are sent and yielded, then it is raised; the last items are in flight."""

    async def send(chunk: Sequence[int]) -> list[int]:
        await asyncio.sleep(0)
        return list(chunk)

    results: list[list[int]] = []
    batcher = Batcher(source(), send, size=2, concurrency=3)
    with pytest.raises(OSError, match="the disk is gone"):
        await read_all(batcher, results)
    assert sorted(results) == [[0, 1], [2, 3], [4, 5]]
    assert batcher.in_flight == [6]
    assert not others()


async def test_an_error_of_a_call_comes_last() -> None:
    """After an error no chunk is begun, those in flight are yielded, and the items of the failed one are in flight."""
    all_begun, go_on = asyncio.Event(), asyncio.Event()
    begun: list[int] = []

    async def send(chunk: Sequence[int]) -> int:
        begun.append(chunk[0])
        if chunk[0] == 1:
            await all_begun.wait()
            go_on.set()
            raise RuntimeError("no")
        if chunk[0] == 2:
            all_begun.set()
        await go_on.wait()
        return chunk[0]

    results: list[int] = []
    batcher = Batcher(range(100), send, size=1, concurrency=3)
    with pytest.raises(RuntimeError, match="no"):
        await read_all(batcher, results)
    assert sorted(begun) == [0, 1, 2]
    assert sorted(results) == [0, 2]
    assert batcher.in_flight == [1]
    assert not others()


async def test_a_call_that_was_cancelled_from_elsewhere_is_an_error() -> None:
    """A call that ends as cancelled, though the push was not cancelled, ends the push instead of holding it up."""

    async def send(chunk: Sequence[int]) -> int:
        await asyncio.sleep(0)
        if chunk[0] == 2:
            raise asyncio.CancelledError
        return chunk[0]

    results: list[int] = []
    batcher = Batcher(range(50), send, size=1, concurrency=2)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(read_all(batcher, results), 60)
    assert 2 not in results
    assert 2 in batcher.in_flight
    assert len(results) < 10
    assert not others()


def test_a_loop_that_ends_with_a_push_half_read_does_not_hang() -> None:
    """A program that returns while results still wait ends all the same."""

    async def send(chunk: Sequence[int]) -> int:
        return chunk[0]

    async def main() -> AsyncIterator[int]:
        results = aiter(Batcher(Endless(), send, size=1, concurrency=2))
        await anext(results)
        for _ in range(20):
            await asyncio.sleep(0)
        return results

    kept = asyncio.run(main())
    assert kept is not None


async def test_stop_takes_no_more() -> None:
    """After `stop` what is in flight is yielded, and the loop ends without an error."""
    source = Endless()

    async def send(chunk: Sequence[int]) -> list[int]:
        await asyncio.sleep(0)
        return list(chunk)

    batcher = Batcher(source, send, size=3, concurrency=2)
    seen: list[int] = []
    async for result in batcher:
        seen += result
        if len(seen) == 30:
            batcher.stop()
    assert len(seen) <= 30 + 3 * 4
    assert sorted(seen) == list(range(1, len(seen) + 1))
    assert source.read == len(seen)


async def test_it_may_be_closed_while_another_task_reads() -> None:
    """The reader gets an error, what was in flight is named, and no task is left; twice is fine."""
    sending, started = asyncio.Event(), asyncio.Event()

    async def send(chunk: Sequence[int]) -> None:
        started.set()
        await sending.wait()

    batcher = Batcher(range(10), send, size=2, concurrency=3)
    results: list[None] = []
    reading = asyncio.create_task(read_all(batcher, results))
    await started.wait()
    await asyncio.gather(batcher.aclose(), batcher.aclose())
    with pytest.raises(UsageError, match="another asyncio task closed the stream"):
        await reading
    await batcher.aclose()
    assert (sorted(batcher.in_flight), results) == ([0, 1, 2, 3, 4, 5], [])
    assert not others()


@pytest.mark.parametrize("ends", ["break", "raise", "cancel", "time"])
async def test_a_block_that_is_left_leaves_nothing_running(ends: str) -> None:
    """However the body of an `async with` ends, no call goes on, and what was not yielded is in flight."""

    async def send(chunk: Sequence[int]) -> Sequence[int]:
        if chunk[0]:
            await asyncio.Event().wait()
        return chunk

    batcher = Batcher(range(6), send, size=1, concurrency=3)

    async def use() -> None:
        async with asyncio.timeout(None) as limit, batcher as results:
            async for _ in results:
                if ends == "time":
                    limit.reschedule(asyncio.get_running_loop().time())
                if ends == "break":
                    break
                if ends == "raise":
                    raise ValueError("the body's own")
                if ends == "cancel":
                    using.cancel()

    using = asyncio.create_task(use())
    await asyncio.wait([using])
    kinds = {"break": None, "raise": ValueError, "time": TimeoutError}
    assert using.cancelled() if ends == "cancel" else isinstance(using.exception(), kinds[ends] or type(None))
    assert 0 not in batcher.in_flight
    assert {1, 2} <= set(batcher.in_flight)
    assert not others()


async def test_closing_one_that_never_ran_is_fine() -> None:
    """Closing without having read anything leaves nothing behind."""

    async def send(chunk: Sequence[int]) -> int:
        return len(chunk)

    batcher = Batcher(range(3), send)
    await batcher.aclose()
    await batcher.aclose()
    assert not batcher.in_flight


@pytest.mark.parametrize("options", [{"size": 0}, {"size": 21}, {"concurrency": 0}])
def test_sizes_are_checked(options: dict[str, int]) -> None:
    """A chunk has 1 to 20 items, and at least one chunk is in flight."""

    async def send(chunk: Sequence[int]) -> int:
        return len(chunk)

    with pytest.raises(UsageError, match=r"1 to 20 items|chunks in flight must be 1 or more"):
        Batcher([], send, **options)


@given(st.lists(st.integers(), max_size=100), st.integers(1, 25), st.booleans())
async def test_an_iterable_is_cut_in_order(items: list[int], size: int, plain: bool) -> None:
    """The chunks of a plain or an async iterable are its items in order, all full but the last."""
    chunks = [chunk async for chunk in chunks_of(items if plain else as_async(items), size)]
    assert [item for chunk in chunks for item in chunk] == items
    assert all(len(chunk) == size for chunk in chunks[:-1])
    assert all(1 <= len(chunk) <= size for chunk in chunks)
