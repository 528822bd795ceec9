"""When threads work for the loop, as that of a ledger does: the time of a `ManualClock` has to stand still meanwhile.

How long a disk takes is no matter of the time that a test turns: a call would be past its deadline for it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from gotsurge_async.testing import ManualClock


class Threads:
    """What threads do for the running loop, which is the test's own, from now on."""

    def __init__(self) -> None:
        self._at_work: set[asyncio.Future[Any]] = set()
        loop = asyncio.get_running_loop()
        run: Callable[..., asyncio.Future[Any]] = loop.run_in_executor

        def watched(*arguments: Any) -> asyncio.Future[Any]:
            done = run(*arguments)
            self._at_work.add(done)
            done.add_done_callback(self._at_work.discard)
            return done

        loop.run_in_executor = watched  # type: ignore[method-assign]

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
