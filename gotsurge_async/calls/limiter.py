"""Limits the calls at once, in a number that adapts to the answers, and the calls a second.

The pace adapts as TCP does to an unknown line. It begins with few places, and adds one for each answer that is as quick
as usual, so that the places double in the time of a call, up to the ceiling. A 429 removes half of them, answers that
take much longer than usual a quarter; after that it adds only one for each round of calls. Between quick and slow it
stays: when answers take twice as long, as many calls wait at the service as it works on, and more would only wait too.

The usual time is known for each operation, since a read is no measure for a create of twenty tasks. It is an average,
since the quickest answer of all may be luck. Answers that stay slow with half of the calls have another reason: then
their time is the usual one, and the pace rises again.

One limiter belongs to one client, and so to one host. Rate and pace may be those of many processes together: see
`Limiter.shared` and `calls.shared_rate`.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Protocol

from msgspec import Struct

from gotsurge_async.clock import Clock
from gotsurge_async.config import Limits, check_concurrency

START = 16
"""The number of places at the start, unless the ceiling is lower."""
STEADY = 2.0
"""Answers that take at most this many times the usual time leave room for more calls."""
SLOW = 3.0
"""Answers that take more than this many times the usual time are slow."""
SLOW_SECONDS = 0.5
"""Answers quicker than this are never slow."""
COOL_DOWN = 1.0
"""Seconds between two decreases, or the time of a call if that is longer: calls in flight still show the pace before
the first one."""
KNOWN = 10
"""The number of answers after which the usual time is known."""
FORGOTTEN_AFTER = 600.0
"""Seconds after which the usual time counts twice: a service may have become somewhat slower for good."""
_LONE = 10.0
"""The weight of one answer is at most this many times the usual time: a single slow answer proves nothing."""
_MENDED = 0.75
"""Answers that take less than this share of their time with twice as many calls: fewer calls have helped."""
_WEIGHT = 0.1
"""The weight of one answer in the average."""

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
    """A rate and a pace that many processes share."""

    async def take_turn(self) -> None:
        """Wait until a call may begin."""
        ...

    def slowed(self, factor: float, retry_after: float | None) -> None:
        """Note that the places of this process changed by a factor; the service asked for ``retry_after`` seconds."""
        ...


class Turns:
    """Turns, evenly spaced, of which there are ``rate`` a second."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self._interval = 1.0 / rate
        self._next = 0.0
        self._clock = clock

    async def take_turn(self) -> None:
        """Wait for the next turn."""
        now = self._clock.monotonic()
        turn = max(now, self._next)
        self._next = turn + self._interval
        if turn > now:
            await self._clock.sleep(turn - now)


class Limiter:
    """An async context manager around one try: waits for a place in flight, then for its turn in the rate.

    Places are given in the order of the requests; to calls that yield, when no other waits. Turns are spaced evenly, so
    no second has a burst. The place is returned at exit; a turn that was taken and not used is lost. There are
    ``start`` places at the start, and at most ``ceiling``, the limit of concurrency.
    """

    def __init__(self, limits: Limits, clock: Clock, *, start: int = START) -> None:
        self.ceiling: int = limits.concurrency
        self._places = min(start, self.ceiling)
        self._taken = 0
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._yielding: deque[asyncio.Future[None]] = deque()
        self._turns = Turns(limits.rate, clock) if limits.rate else None
        self._clock = clock
        self._latencies: defaultdict[str, _Latency] = defaultdict(_Latency)
        self._earned = 0.0
        self._has_fallen = False
        self._cool_at = 0.0
        self._shared: Shared | None = None

    @property
    def places(self) -> int:
        """The number of calls that may be in flight now."""
        return self._places

    def resize(self, places: int) -> None:
        """Set the number of places, at least 1 and at most the ceiling; no call in flight loses its own."""
        self._places = max(1, min(places, self.ceiling))
        self._admit()

    def at_most(self, most: int | None) -> Callable[[], int]:
        """Return a function that returns the number of places now, at most ``most``, 1 or more (else UsageError)."""
        if most is not None:
            check_concurrency(most)
        return lambda: self._places if most is None else min(self._places, most)

    def landed(self, operation: str, status: int | None, seconds: float, retry_after: float | None = None) -> None:
        """Note how a try of a call ended, before its place is returned; not for a try that was never sent.

        ``status`` is None if no answer came. The try took ``seconds``, and a 429 asked to wait ``retry_after`` seconds.
        """
        now = self._clock.monotonic()
        latency = self._latencies[operation]
        if status == 429:
            self._fall(0.5, now, latency, retry_after)
        # A refusal is always quick, and a connection that broke early shows nothing; an answer that never came does.
        elif status < 400 if status is not None else seconds > latency.average:
            latency.took(seconds, now)
            if latency.is_slow:
                if now >= self._cool_at and not latency.is_usual_now(self._places):
                    self._fall(0.75, now, latency)
            elif latency.is_quick and 2 * self._in_flight >= self._places:  # few calls do not show that more would do
                self._earned += 1.0 / self._places if self._has_fallen else 1.0
                if self._earned >= 1.0:
                    self._earned = 0.0
                    self.resize(self._places + 1)

    def _fall(self, factor: float, now: float, latency: "_Latency", retry_after: float | None = None) -> None:
        cooled = now >= self._cool_at
        if cooled:
            self._cool(factor, now + max(COOL_DOWN, latency.average))
        if self._shared is not None and (cooled or retry_after is not None):
            self._shared.slowed(factor if cooled else 1.0, retry_after)

    @contextmanager
    def shared(self, shared: Shared) -> Iterator[None]:
        """Take the turns of many processes, instead of its own, inside the block, and report a slower pace to them."""
        before, self._shared = self._shared, shared
        try:
            yield
        finally:
            self._shared = before

    def slow_down(self, factor: float) -> None:
        """Multiply the number of places by a factor, to at least one, because another process did."""
        self._cool(factor, self._clock.monotonic() + COOL_DOWN)

    def _cool(self, factor: float, until: float) -> None:
        self._cool_at = until
        self._has_fallen = True
        self._earned = 0.0
        self.resize(int(self._places * factor))

    async def __aenter__(self) -> None:
        await self._take_place()
        turns = self._shared or self._turns
        if turns is not None:
            try:
                await turns.take_turn()
            except BaseException:
                self._give_back()
                raise
        self._in_flight += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._in_flight -= 1
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
            if place.done() and not place.cancelled():  # it was given, and is not used
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


class _Latency(Struct):
    """The seconds that answers of an operation take: the last ones' average, and the least that is not forgotten."""

    average: float = 0.0
    usual: float = float("inf")
    _answers: int = 0
    _last: float = 0.0
    _slow_since: tuple[int, float] | None = None

    def took(self, seconds: float, now: float) -> None:
        """Note one answer."""
        self._answers += 1
        seconds = min(seconds, max(_LONE * self.usual, SLOW_SECONDS))
        self.average += max(1.0 / self._answers, _WEIGHT) * (seconds - self.average)
        if self._answers >= KNOWN:
            self.usual = min(self.usual * (1.0 + (now - self._last) / FORGOTTEN_AFTER), self.average)
        self._last = now
        if self.is_quick:
            self._slow_since = None

    @property
    def is_quick(self) -> bool:
        """Whether answers take about as long as usual."""
        return self._answers >= KNOWN and self.average <= STEADY * self.usual

    @property
    def is_slow(self) -> bool:
        """Whether answers take much longer than usual."""
        return self.average > max(SLOW * self.usual, SLOW_SECONDS)

    def is_usual_now(self, places: int) -> bool:
        """Whether answers are slow for a reason that fewer calls do not mend; then this becomes the usual time.

        The decision is made when half of the places are gone since answers became slow.
        """
        if self._slow_since is None:
            self._slow_since = places, self.average
        before, average = self._slow_since
        if places > max(before / 2, 1):
            return False
        self._slow_since = None
        if self.average < _MENDED * average:
            return False
        self.usual = self.average
        return True
