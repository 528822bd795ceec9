"""How many calls at once, and how many a second."""

import asyncio
from collections import deque
from types import TracebackType

from gotsurge_async.clock import Clock
from gotsurge_async.config import Limits


class Limiter:
    """An async context manager around one try: waits for a place in flight, then for its turn in the rate.

    Places are given in the order in which they were asked for. Turns are spaced evenly, so a second never holds a
    burst. The place is given back at exit; a turn that was taken and not used is gone.

    Attributes:
        ceiling: the most places there can be, ``limits.concurrency``.
    """

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self.ceiling: int = limits.concurrency
        self._places = limits.concurrency
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._interval = 1.0 / limits.rate if limits.rate else 0.0
        self._next_turn = 0.0
        self._clock = clock

    @property
    def places(self) -> int:
        """How many may be in flight now."""
        return self._places

    def resize(self, places: int) -> None:
        """Have so many places from now on, at least 1 and at most the ceiling; nobody in flight loses one."""
        self._places = max(1, min(places, self.ceiling))
        self._admit()

    async def __aenter__(self) -> None:
        await self._take_place()
        if self._interval:
            try:
                await self._take_turn()
            except BaseException:
                self._give_back()
                raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    async def _take_place(self) -> None:
        if self._taken < self._places and not self._waiting:
            self._taken += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # it was given, and nobody is there to use it
                self._give_back()
            raise

    def _give_back(self) -> None:
        self._taken -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._taken < self._places:
            place = self._waiting.popleft()
            if not place.done():
                self._taken += 1
                place.set_result(None)

    async def _take_turn(self) -> None:
        now = self._clock.monotonic()
        turn = max(now, self._next_turn)
        self._next_turn = turn + self._interval
        if turn > now:
            await self._clock.sleep(turn - now)
