"""`gotsurge_async.calls.stream.ResultStream`: one result for each item, in chunks."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextvars import ContextVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.calls.stream import LINGER, ResultStream
from gotsurge_async.errors import SignInNeeded, UsageError
from gotsurge_async.testing import ManualClock


class Doubled(ResultStream[int, int]):
    """Twice each item; the item -1 ends the stream as a sign-in does."""

    async def _send(self, items: Sequence[int]) -> Sequence[int]:
        await asyncio.sleep(0)
        if -1 in items:
            self.stop(SignInNeeded())
        return [2 * item for item in items]


async def test_each_item_has_its_result() -> None:
    """Every item gives one result, and then nothing is in flight."""
    stream = Doubled(range(50), size=7, concurrency=3)
    assert sorted([result async for result in stream]) == [2 * item for item in range(50)]
    assert stream.in_flight == []


async def test_leaving_in_the_middle_of_a_chunk_loses_sight_of_no_item() -> None:
    """Each item's result was yielded or the item is in flight, also those of a chunk that was yielded in part."""
    async with Doubled(range(40), size=20, concurrency=1) as stream:
        seen = []
        async for result in stream:
            seen.append(result // 2)
            if len(seen) == 3:
                break
        assert sorted([*seen, *stream.in_flight])[:20] == list(range(20))
    assert sorted([*seen, *stream.in_flight])[:20] == list(range(20))
    assert len(asyncio.all_tasks()) == 1


async def test_the_items_of_a_source_that_waits_are_in_flight() -> None:
    """What was read of a chunk that is not full yet is not lost when the stream is closed."""
    waits = asyncio.Event()

    async def source() -> AsyncIterator[int]:
        for item in range(5):
            yield item
        waits.set()
        await asyncio.Event().wait()

    stream = Doubled(source(), size=4, concurrency=1)
    results = aiter(stream)
    seen = [await anext(results) // 2]
    await waits.wait()
    await stream.aclose()
    assert sorted([*seen, *stream.in_flight]) == list(range(5))


@given(st.lists(st.sampled_from([0.0, 0.0, 0.01, LINGER, 1.0]), max_size=60), st.integers(1, 3))
async def test_the_items_of_a_slow_source_are_sent_soon(pauses: list[float], concurrency: int) -> None:
    """Whatever its pace, each item is sent once, a moment after it came; the chunks of a quick one are full."""
    clock = ManualClock()
    came: list[float] = []
    late: list[float] = []
    sizes: list[int] = []

    class Slow(Doubled):
        async def _send(self, items: Sequence[int]) -> Sequence[int]:
            sizes.append(len(items))
            late.extend(clock.monotonic() - came[item] for item in items)
            return await super()._send(items)

    async def source() -> AsyncIterator[int]:
        for item, pause in enumerate(pauses):
            if pause:
                await clock.sleep(pause)
            came.append(clock.monotonic())
            yield item

    stream = Slow(source(), size=7, concurrency=concurrency, clock=clock)
    reading = asyncio.ensure_future(read(stream))
    await clock.advance(sum(pauses) + LINGER)
    assert sorted(await reading) == [2 * item for item in range(len(pauses))]
    assert (max(late, default=0) <= LINGER + 0.001, stream.in_flight) == (True, [])
    assert any(pauses) or set(sizes[:-1]) <= {7}
    assert len(asyncio.all_tasks()) == 1


async def test_a_reader_that_is_cancelled_twice_leaves_no_task() -> None:
    """Nothing reads on in its source, whose next item stays where it is."""
    items: asyncio.Queue[int] = asyncio.Queue()

    class Stuck(Doubled):
        async def _send(self, items: Sequence[int]) -> Sequence[int]:
            await asyncio.Event().wait()
            return items

    async def source() -> AsyncIterator[int]:
        while True:
            yield await items.get()

    clock = ManualClock()
    stream = Stuck(source(), size=1, concurrency=1, clock=clock)
    reading = asyncio.ensure_future(read(stream))
    items.put_nowait(0)
    await clock.settle()
    reading.cancel()
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    items.put_nowait(1)
    await clock.settle()
    assert (stream.in_flight, items.qsize(), len(asyncio.all_tasks())) == ([0], 1, 1)


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_a_stop_ends_the_wait_for_a_slow_source(concurrency: int) -> None:
    """Its error is raised though the source has not ended; no item that comes later is read."""
    items: asyncio.Queue[int] = asyncio.Queue()

    async def source() -> AsyncIterator[int]:
        while True:
            yield await items.get()

    clock = ManualClock()
    stream = Doubled(source(), size=2, concurrency=concurrency, clock=clock)
    reading = asyncio.ensure_future(read(stream))
    items.put_nowait(-1)
    await clock.advance(1)
    with pytest.raises(SignInNeeded):
        await reading
    items.put_nowait(5)
    await clock.settle()
    assert (stream.in_flight, items.qsize()) == ([], 1)


async def test_a_slow_source_may_hold_a_context_variable_across_its_items() -> None:
    """All of it runs in one context, however many chunks are made of it."""
    held: ContextVar[int] = ContextVar("held", default=0)

    async def source() -> AsyncIterator[int]:
        token = held.set(1)
        for item in range(5):
            await asyncio.sleep(0)
            yield item
        held.reset(token)

    stream = Doubled(source(), size=2, concurrency=1, clock=ManualClock())
    assert sorted(await read(stream)) == [0, 2, 4, 6, 8]


async def read(stream: Doubled) -> list[int]:
    """All results."""
    return [result async for result in stream]


@pytest.mark.parametrize("ends", ["cancelled", "closed", "broken"])
@pytest.mark.parametrize("lingers", [False, True])
async def test_no_item_is_lost_while_it_waits_for_the_next_ones(ends: str, lingers: bool) -> None:
    """Items that were read have a result, or are in flight, when the reader, the stream or the source ends then."""
    clock, breaks, waits = ManualClock(), asyncio.Event(), asyncio.Event()

    async def source() -> AsyncIterator[int]:
        yield 0
        if lingers:
            await clock.sleep(1)  # so the first one goes alone
        yield 1
        waits.set()
        await breaks.wait()
        raise OSError("the disk is gone")

    stream = Doubled(source(), size=4, concurrency=1, clock=clock)
    reading = asyncio.ensure_future(read(stream))
    await clock.advance(1 if lingers else 0)
    await waits.wait()
    if ends == "broken":
        breaks.set()
    elif ends == "closed":
        await stream.aclose()
    else:
        reading.cancel()
    with pytest.raises((OSError, UsageError, asyncio.CancelledError)):
        await reading
    assert stream.in_flight == ([1] if lingers else [0, 1])
    assert len(asyncio.all_tasks()) == 1


async def test_a_stop_is_raised_after_the_last_result() -> None:
    """When the account's token is no longer taken, what is in flight is yielded, and then the error raised."""
    seen: list[int] = []

    async def read() -> None:
        async for result in Doubled([1, -1, *range(2, 100)], size=1, concurrency=2):
            seen.append(result)  # noqa: PERF401 - a comprehension would lose what comes before the error

    with pytest.raises(SignInNeeded):
        await read()
    assert -2 in seen
    assert len(seen) < 10


async def test_it_is_read_once() -> None:
    """A second loop is refused, and does not disturb the first."""
    stream = Doubled(range(40), size=10, concurrency=2)
    results = aiter(stream)
    first = await anext(results)
    with pytest.raises(UsageError, match="read only once"):
        aiter(stream)
    rest = [result async for result in results]
    assert sorted([first, *rest]) == [2 * item for item in range(40)]
