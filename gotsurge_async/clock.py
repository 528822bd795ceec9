"""Time as an object that is passed in, so that tests turn it; and waiting, with a limit or without interruption."""

import asyncio
import math
import time
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Protocol, TypeVar

__all__ = ["Clock", "SystemClock"]

T = TypeVar("T")


class Clock(Protocol):
    """What the package asks of time."""

    def now(self) -> datetime:
        """The present in UTC, aware."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards, and go on while the machine is suspended where the system can tell."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        """The present in UTC, aware."""
        return datetime.now(UTC)

    # CLOCK_BOOTTIME counts suspended time; plain monotonic does not, on Linux.
    if hasattr(time, "CLOCK_BOOTTIME"):

        def monotonic(self) -> float:
            """Seconds since the machine started, suspended time included."""
            return time.clock_gettime(time.CLOCK_BOOTTIME)

    else:

        def monotonic(self) -> float:
            """Seconds that never run backwards."""
            return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


async def sleep_or(event: asyncio.Event | Sequence[asyncio.Event], clock: Clock, seconds: float) -> bool:
    """Sleep, or return early when an event, or one of several, is set. Returns whether one is set."""
    events = [event] if isinstance(event, asyncio.Event) else event
    waiting = [asyncio.ensure_future(each) for each in (clock.sleep(seconds), *(one.wait() for one in events))]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()
        await asyncio.wait(waiting)
    return any(each.is_set() for each in events)


class Deadline:
    """When something has to end, by a clock: so many seconds from now, or never. It can only become sooner."""

    def __init__(self, clock: Clock, seconds: float | None = None) -> None:
        self._clock = clock
        self._at = math.inf
        self._sooner = asyncio.Event()
        self.within(seconds)

    def within(self, seconds: float | None) -> None:
        """Have it come at most so many seconds from now."""
        if seconds is not None:
            self._at = min(self._at, self._clock.monotonic() + seconds)
            self._sooner.set()

    @property
    def left(self) -> float:
        """Seconds until it, 0 when it has passed."""
        return max(0.0, self._at - self._clock.monotonic())

    async def passed(self, more: float = 0.0) -> None:
        """Return so many seconds after it."""
        while (left := self._at + more - self._clock.monotonic()) > 0:
            self._sooner.clear()
            await (sleep_or(self._sooner, self._clock, left) if left < math.inf else self._sooner.wait())

    async def awaits(self, work: asyncio.Future[Any], more: float = 0.0) -> bool:
        """Wait for work until so many seconds after it, and return whether the work has ended. It is not cancelled."""
        late = asyncio.ensure_future(self.passed(more))
        try:
            await asyncio.wait([work, late], return_when=asyncio.FIRST_COMPLETED)
        finally:
            late.cancel()
            await asyncio.wait([late])
        return work.done()


class Lasting(asyncio.Future[T]):
    """A future that is awaited to its end: a waiter that is cancelled meanwhile learns of that at the end."""

    def cancel(self, msg: Any = None) -> bool:
        """Refuse, as nothing can be withdrawn any more."""
        return False


async def uninterrupted(work: Awaitable[T]) -> T:
    """Await something that must not be left half done: a cancellation waits for its end, and is raised then.

    If it failed meanwhile, its error is the cause of the cancellation that is raised.
    """
    task = asyncio.ensure_future(work)
    try:
        return await (task if isinstance(task, Lasting) else asyncio.shield(task))
    except asyncio.CancelledError as cancelled:
        await asyncio.wait([task])
        if task.cancelled():
            raise
        raise cancelled from task.exception()


def cancellations() -> int:
    """How often the running task was cancelled."""
    return task.cancelling() if (task := asyncio.current_task()) else 0


def moved_by(moment: datetime, span: timedelta) -> datetime:
    """A time so much later, in its zone; the first or the last time that there is, where it would be beyond."""
    try:
        return moment + span
    except OverflowError:
        zone = moment.tzinfo
        return datetime.max.replace(tzinfo=zone) if span > timedelta(0) else datetime.min.replace(tzinfo=zone)


def in_zone(moment: datetime, zone: tzinfo) -> datetime:
    """An aware time as a zone's clocks show it; as it is, where that would be beyond the years that there are."""
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return moment


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_microseconds(moment: datetime) -> int:
    """An aware datetime as whole microseconds since 1970, which sort, and come back exactly as they went in."""
    if moment.tzinfo is None:
        raise ValueError(f"the clock gave {moment.isoformat()}, which names no zone; give aware datetimes")
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(stored: int) -> datetime:
    """Whole microseconds since 1970 as an aware UTC datetime."""
    return _EPOCH + stored * _MICROSECOND
