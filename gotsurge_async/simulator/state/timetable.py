"""What is to happen at a moment of the simulator's clock: drivers arrive, broadcasts end, webhooks are tried again."""

import heapq
from collections.abc import Callable
from itertools import count
from math import inf

Action = Callable[[float], None]


class Timetable:
    """Actions in the order of their moments, and of those of one moment in the order in which they were planned.

    Nothing happens by itself: whoever looks at the clock has :meth:`run` do what is due. An action is given the moment
    for which it was planned, so that what comes of it is the same however late it is run.
    """

    def __init__(self) -> None:
        self._planned: list[tuple[float, int, Action]] = []
        self._numbers = count()
        self._running = False

    @property
    def next_at(self) -> float:
        """When there is something to do next: seconds since the epoch, infinity for never."""
        return self._planned[0][0] if self._planned else inf

    def at(self, moment: float, action: Action) -> None:
        """Plan an action; one at infinity never comes."""
        if moment < inf:
            heapq.heappush(self._planned, (moment, next(self._numbers), action))

    def run(self, now: float) -> None:
        """Do all that is due, also what is planned meanwhile for a moment that is over."""
        if self._running:
            return
        self._running = True
        try:
            while self._planned and self._planned[0][0] <= now:
                moment, _, action = heapq.heappop(self._planned)
                action(moment)
        finally:
            self._running = False

    def clear(self) -> None:
        """Plan nothing any more."""
        self._planned.clear()
