"""When threads work for the loop, as that of a ledger does: the time of a `ManualClock` has to stand still meanwhile.

How long a disk takes is no matter of the time that a test turns: a call would be past its deadline for it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from weakref import WeakKeyDictionary

from gotsurge_async.testing import ManualClock

_submit = ThreadPoolExecutor.submit
_watching: WeakKeyDictionary[asyncio.AbstractEventLoop, "Threads"] = WeakKeyDictionary()


def _submitted(executor: ThreadPoolExecutor, work: Callable[..., Any], *values: Any) -> Future[Any]:
    future: Future[Any] = _submit(executor, work, *values)
    loop = asyncio._get_running_loop()
    if loop is not None and (threads := _watching.get(loop)) is not None and not threads.is_running_in_executor:
        threads.watch(asyncio.wrap_future(future))
    return future


class Threads:
    """What threads do for the running loop, which is the test's own, from now on."""

    def __init__(self) -> None:
        self._at_work: set[asyncio.Future[Any]] = set()
        self.is_running_in_executor: bool = False
        loop = asyncio.get_running_loop()
        run: Callable[..., asyncio.Future[Any]] = loop.run_in_executor

        def watched(*arguments: Any) -> asyncio.Future[Any]:
            self.is_running_in_executor = True
            done = run(*arguments)
            self.is_running_in_executor = False
            self.watch(done)
            return done

        loop.run_in_executor = watched  # type: ignore[method-assign]
        ThreadPoolExecutor.submit = _submitted  # type: ignore[method-assign,assignment]
        _watching[loop] = self

    def watch(self, done: asyncio.Future[Any]) -> None:
        """Count something as work until it is done."""
        self._at_work.add(done)
        done.add_done_callback(self._at_work.discard)

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
