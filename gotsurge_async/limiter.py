"""How many calls at once, and how many a second."""

import asyncio
from types import TracebackType

from gotsurge_async.clock import Clock
from gotsurge_async.config import Limits


class Limiter:
    """An async context manager around one try: waits for a place in flight, then for its turn in the rate.

    Turns are spaced evenly, so a second never holds a burst. The place is given back at exit; a turn that was taken
    and not used is gone.
    """

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._places = asyncio.Semaphore(limits.concurrency)
        self._interval = 1.0 / limits.rate if limits.rate else 0.0
        self._next_turn = 0.0
        self._clock = clock

    async def __aenter__(self) -> None:
        await self._places.acquire()
        if self._interval:
            try:
                await self._take_turn()
            except BaseException:
                self._places.release()
                raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._places.release()

    async def _take_turn(self) -> None:
        now = self._clock.monotonic()
        turn = max(now, self._next_turn)
        self._next_turn = turn + self._interval
        if turn > now:
            await self._clock.sleep(turn - now)
