"""How many calls at once, and how many a second; and the pace of pushes, which changes the first by what answers say.

The pace: additive increase, multiplicative decrease. About one more place for every round of calls that went well, half
of them gone at a 429, a quarter when answers take much longer than they can. The ceiling is the client's limit.

Rate and pace may be those of many processes together: see `Limiter.shared` and `calls.shared_rate`.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Protocol

from gotsurge_async.clock import Clock
from gotsurge_async.config import Limits
from gotsurge_async.hooks import Event, Hooks, RequestDone

SLOW = 3.0
"""Answers that take so many times what the quickest took are slow."""
SLOW_SECONDS = 0.5
"""Answers quicker than this are never slow."""
COOL_DOWN = 1.0
"""Seconds between two decreases: the calls in flight still tell of the pace before the first one."""
_FORGET = 1.001
"""How the quickest answer is forgotten, by each that follows: a service may have become slower for good."""
_WEIGHT = 0.1
"""What one answer counts in the average."""

_yields: ContextVar[bool] = ContextVar("yields", default=False)


@contextmanager
def yielding() -> Iterator[None]:
    """Make the calls of this task, inside the block, wait until no other call waits for a place in flight."""
    token = _yields.set(True)
    try:
        yield
    finally:
        _yields.reset(token)


class Shared(Protocol):
    """What many processes have together."""

    async def take_turn(self) -> None:
        """Wait until a call may begin."""
        ...

    def slowed(self, factor: float, retry_after: float | None) -> None:
        """Take in that this process goes on with so many times its places; ``retry_after`` seconds were asked for."""
        ...


class Limiter:
    """An async context manager around one try: waits for a place in flight, then for its turn in the rate.

    Places are given in the order in which they were asked for; to those who yield, when nobody else waits. Turns are
    spaced evenly, so a second never holds a burst. The place is given back at exit; a turn that was taken and not used
    is gone.

    Attributes:
        ceiling: the most places there can be, ``limits.concurrency``.
    """

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self.ceiling: int = limits.concurrency
        self._places = limits.concurrency
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._yielding: deque[asyncio.Future[None]] = deque()
        self._interval = 1.0 / limits.rate if limits.rate else 0.0
        self._next_turn = 0.0
        self._clock = clock
        self._pushes = 0
        self._pace: Pace | None = None
        self._unlisten: Callable[[], None] | None = None
        self._shared: Shared | None = None

    @property
    def places(self) -> int:
        """How many may be in flight now."""
        return self._places

    def resize(self, places: int) -> None:
        """Have so many places from now on, at least 1 and at most the ceiling; nobody in flight loses one."""
        self._places = max(1, min(places, self.ceiling))
        self._admit()

    @contextmanager
    def paced(self, hooks: Hooks) -> Iterator[None]:
        """Adapt the places to what the answers say, inside the block; several pushes of a client share one pace."""
        if not self._pushes:
            self._pace = Pace(self, self._clock)
            self._unlisten = hooks.add(self._pace)
        self._pushes += 1
        try:
            yield
        finally:
            self._pushes -= 1
            if not self._pushes and self._unlisten is not None:
                self._unlisten()
                self._pace = None
                self.resize(self.ceiling)

    @contextmanager
    def shared(self, shared: Shared) -> Iterator[None]:
        """Take the turns of many processes instead of own ones, inside the block, and tell them of a slower pace."""
        before, self._shared = self._shared, shared
        try:
            yield
        finally:
            self._shared = before

    def slow_down(self, factor: float) -> None:
        """Go on with so many times the places, at least one, because another process was told to, or saw why."""
        if self._pace is not None:
            self._pace.cool(factor)

    def tell_slowed(self, factor: float, retry_after: float | None) -> None:
        """Tell the other processes, if there are any, that answers have lowered the pace here."""
        if self._shared is not None:
            self._shared.slowed(factor, retry_after)

    async def __aenter__(self) -> None:
        await self._take_place()
        if self._interval or self._shared is not None:
            try:
                await (self._take_turn() if self._shared is None else self._shared.take_turn())
            except BaseException:
                self._give_back()
                raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    async def _take_place(self) -> None:
        yields = _yields.get()
        if self._taken < self._places and not self._waiting and not (yields and self._yielding):
            self._taken += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._yielding if yields else self._waiting).append(place)
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
        while (waiting := self._waiting or self._yielding) and self._taken < self._places:
            place = waiting.popleft()
            if not place.done():
                self._taken += 1
                place.set_result(None)

    async def _take_turn(self) -> None:
        now = self._clock.monotonic()
        turn = max(now, self._next_turn)
        self._next_turn = turn + self._interval
        if turn > now:
            await self._clock.sleep(turn - now)


class Pace:
    """Listens to a client's requests, and resizes its limiter."""

    def __init__(self, limiter: Limiter, clock: Clock) -> None:
        self._limiter = limiter
        self._clock = clock
        self._earned = 0.0
        self._quickest = float("inf")
        self._average: float | None = None
        self._cool_at = 0.0

    def __call__(self, event: Event) -> None:
        """Take an event of the client in."""
        if not isinstance(event, RequestDone) or event.status is None:
            return
        if event.status == 429:
            self._decrease(0.5, event.retry_after)
        elif event.status < 400:
            self._quickest = min(self._quickest * _FORGET, event.seconds)
            average = event.seconds if self._average is None else self._average
            self._average = average + _WEIGHT * (event.seconds - average)
            if self._average > max(SLOW * self._quickest, SLOW_SECONDS):
                self._decrease(0.75)
            else:
                self._increase()

    def cool(self, factor: float) -> None:
        """Have so many times the places, and no fewer for a moment: the calls in flight tell of the pace before."""
        self._cool_at = self._clock.monotonic() + COOL_DOWN
        self._earned = 0.0
        self._limiter.resize(int(self._limiter.places * factor))

    def _decrease(self, factor: float, retry_after: float | None = None) -> None:
        cooled = self._clock.monotonic() >= self._cool_at
        if cooled:
            self.cool(factor)
        if cooled or retry_after is not None:
            self._limiter.tell_slowed(factor if cooled else 1.0, retry_after)

    def _increase(self) -> None:
        self._earned += 1.0 / self._limiter.places
        if self._earned >= 1.0:
            self._earned = 0.0
            self._limiter.resize(self._limiter.places + 1)
