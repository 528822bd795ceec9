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
    """The clock that the package uses."""

    def now(self) -> datetime:
        """The present in UTC, aware."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards, and include suspended time if the system counts it."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for some seconds."""
        ...


class SystemClock:
    """The clock of the machine."""

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
        """Wait for some seconds."""
        await asyncio.sleep(seconds)


async def sleep_or(event: asyncio.Event | Sequence[asyncio.Event], clock: Clock, seconds: float) -> bool:
    """Sleep, or return early when an event, or one of several, is set. Returns whether an event is set."""
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
    """The time at which something must end, by a clock, or never. A deadline can only become earlier."""

    def __init__(self, clock: Clock, seconds: float | None = None) -> None:
        self._clock = clock
        self._at = math.inf
        self._sooner = asyncio.Event()
        self.within(seconds)

    def within(self, seconds: float | None) -> None:
        """Move the deadline to at most ``seconds`` from now, unless it is earlier."""
        if seconds is not None:
            self._at = min(self._at, self._clock.monotonic() + seconds)
            self._sooner.set()

    @property
    def left(self) -> float:
        """The seconds until the deadline, 0 when it has passed."""
        return max(0.0, self._at - self._clock.monotonic())

    async def passed(self, more: float = 0.0) -> None:
        """Wait until ``more`` seconds after the deadline."""
        while (left := self._at + more - self._clock.monotonic()) > 0:
            self._sooner.clear()
            await (sleep_or(self._sooner, self._clock, left) if left < math.inf else self._sooner.wait())

    async def awaits(self, work: asyncio.Future[Any], more: float = 0.0) -> bool:
        """Wait for work until ``more`` seconds after the deadline; returns whether the work has ended."""
        late = asyncio.ensure_future(self.passed(more))
        try:
            await asyncio.wait([work, late], return_when=asyncio.FIRST_COMPLETED)
        finally:
            late.cancel()
            await asyncio.wait([late])
        return work.done()


class Lasting(asyncio.Future[T]):
    """A future that cannot be cancelled: a waiter that is cancelled gets its CancelledError when the future is done."""

    def cancel(self, msg: Any = None) -> bool:
        """Refuse to cancel: the work cannot be withdrawn any more."""
        return False


async def uninterrupted(work: Awaitable[T]) -> T:
    """Await work that must not be left half done: a cancellation is raised only when the work has ended.

    If the work failed meanwhile, its error is the cause of the cancellation that is raised.
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
    """The number of times that the running task was cancelled."""
    return task.cancelling() if (task := asyncio.current_task()) else 0


def moved_by(moment: datetime, span: timedelta) -> datetime:
    """A moment moved by a span, in its zone; the first or last possible datetime if the result would be beyond it."""
    try:
        return moment + span
    except OverflowError:
        zone = moment.tzinfo
        return datetime.max.replace(tzinfo=zone) if span > timedelta(0) else datetime.min.replace(tzinfo=zone)


def in_zone(moment: datetime, zone: tzinfo) -> datetime:
    """A moment as a zone's clocks show it; unchanged if that would be beyond the range of datetime."""
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return moment


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_microseconds(moment: datetime) -> int:
    """An aware datetime as whole microseconds since 1970, which sort by time and convert back exactly."""
    if moment.tzinfo is None:
        raise ValueError(
            f"the clock returned {moment.isoformat()}, which has no time zone: it must return aware datetimes"
        )
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(stored: int) -> datetime:
    """Whole microseconds since 1970 as an aware UTC datetime."""
    return _EPOCH + stored * _MICROSECOND
