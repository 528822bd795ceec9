"""When threads work for the loop, as that of a ledger does: the time of a `ManualClock` has to stand still meanwhile.

How long a disk takes is no matter of the time that a test turns: a call would be past its deadline for it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from gotsurge_async.testing import ManualClock

_submit = ThreadPoolExecutor.submit
_run_in_executor = asyncio.BaseEventLoop.run_in_executor
_asking: set[asyncio.AbstractEventLoop] = set()
"""Loops that are in `run_in_executor`, whose own future is counted, and not the one inside."""


def _at_work(loop: asyncio.AbstractEventLoop) -> set[asyncio.Future[Any]]:
    works: set[asyncio.Future[Any]] = vars(loop).setdefault("at_work", set())  # there it ends with the loop
    return works


def _count(loop: asyncio.AbstractEventLoop, work: asyncio.Future[Any]) -> None:
    at_work = _at_work(loop)
    at_work.add(work)
    work.add_done_callback(at_work.discard)


def _ended(work: asyncio.Future[Any]) -> None:
    if not work.cancelled():
        work.exception()  # whoever asked for the work has it, too


def _submitted(executor: ThreadPoolExecutor, work: Callable[..., Any], *values: Any) -> Future[Any]:
    future: Future[Any] = _submit(executor, work, *values)
    loop = asyncio._get_running_loop()
    if loop is not None and loop not in _asking:
        done = asyncio.wrap_future(future)
        done.add_done_callback(_ended)
        _count(loop, done)
    return future


def _run(loop: asyncio.BaseEventLoop, *arguments: Any) -> asyncio.Future[Any]:
    _asking.add(loop)
    try:
        done: asyncio.Future[Any] = _run_in_executor(loop, *arguments)
    finally:
        _asking.discard(loop)
    _count(loop, done)
    return done


# From the import on: work that began before a test asks for it has to be counted, too.
ThreadPoolExecutor.submit = _submitted  # type: ignore[method-assign,assignment]
asyncio.BaseEventLoop.run_in_executor = _run  # type: ignore[method-assign,assignment]


class Threads:
    """What threads do for the running loop, which is the test's own."""

    def __init__(self) -> None:
        self._at_work = _at_work(asyncio.get_running_loop())

    def watch(self, done: asyncio.Future[Any]) -> None:
        """Count something as work until it is done."""
        _count(asyncio.get_running_loop(), done)

    @property
    def work(self) -> bool:
        """Whether any of them does."""
        return bool(self._at_work)

    async def rest(self, clock: ManualClock) -> None:
        """Wait until none works, and every task waits for the clock, or for something that is not of this process."""
        await clock.settle()
        while self._at_work:
            await asyncio.wait(self._at_work)
            await clock.settle()

    async def pass_time(self, clock: ManualClock, until: Awaitable[Any], step: float) -> None:
        """Let time pass, whenever none works, until something is done."""
        awaited = asyncio.ensure_future(until)
        await self.rest(clock)
        while not awaited.done():
            await clock.advance(step)
            await self.rest(clock)


async def eventually(holds: Callable[[], Awaitable[object]], seconds: float = 60.0) -> None:
    """Wait until something holds that only a database, a server or another process tells."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - another process's rows are no event
            await asyncio.sleep(0.02)


async def until(holds: Callable[[], object]) -> None:
    """The same for something that is asked without waiting."""

    async def held() -> object:
        return holds()

    await eventually(held)
