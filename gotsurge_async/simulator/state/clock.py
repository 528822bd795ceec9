"""The simulator's own time, which can be turned; the actions planned for it; and the form of times in answers."""

import asyncio
import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from itertools import count
from math import inf
from typing import Protocol

SINGAPORE = timezone(timedelta(hours=8))
LATEST = 250_000_000_000.0
"""The latest time of the clock, in the year 9892, in seconds since the epoch: years after 9999 cannot be written."""
MOST_SPEED = 86_400
"""The highest speed: a day in a second."""


class TellsTime(Protocol):
    """A clock as the simulator needs it; those of the client fit."""

    def now(self) -> datetime:
        """The present, aware."""
        ...


class Clock:
    """Seconds since the epoch (UTC): those of ``base``, at a speed that can be set, plus those of `advance`."""

    def __init__(self, base: TellsTime) -> None:
        self._base = base
        self._since = 0.0
        self.reset()

    def now(self) -> float:
        """The present in seconds since the epoch."""
        base = self._base.now().timestamp()
        if self._speed != 1:
            base = self._since + (base - self._since) * self._speed
        return base + self._ahead

    async def sleep(self, seconds: float) -> None:
        """Wait ``seconds`` of the base clock; if a test turns that clock, until the test turns it."""
        await getattr(self._base, "sleep", asyncio.sleep)(seconds)

    @property
    def speed(self) -> float:
        """The seconds of the clock in a second of the base: 1 unless set, 0 while it stands still."""
        return self._speed

    def advance(self, seconds: float) -> None:
        """Turn the clock forward by ``seconds``, which must not be negative."""
        if not 0 <= seconds <= LATEST - self.now():
            raise ValueError(f"a clock is turned forward by a number of seconds, not by {seconds!r}")
        self._ahead += seconds

    def run_at(self, speed: float) -> None:
        """Continue from the present at another speed, from 0 (it stands still) to 86,400 (a day in a second)."""
        if not 0 <= speed <= MOST_SPEED:
            raise ValueError(f"a clock runs at 0 to {MOST_SPEED} times its own speed, not at {speed!r}")
        now = self.now()
        self._since = self._base.now().timestamp()
        self._ahead = now - self._since
        self._speed = speed

    def reset(self) -> None:
        """Return to the time of the base clock."""
        self._ahead = 0.0
        self._speed = 1.0


Action = Callable[[float], None]


class Timetable:
    """Actions in the order of their moments; those of the same moment in the order in which they were planned.

    :meth:`run` performs due actions. An action gets the moment for which it was planned, so that its effect is the same
    however late it is run.
    """

    def __init__(self) -> None:
        self._planned: list[tuple[float, int, Action]] = []
        self._numbers = count()
        self._running = False

    @property
    def next_at(self) -> float:
        """The next planned moment, in seconds since the epoch; infinity for none."""
        return self._planned[0][0] if self._planned else inf

    def at(self, moment: float, action: Action) -> None:
        """Plan an action for a moment; at infinity it never happens."""
        if moment < inf:
            heapq.heappush(self._planned, (moment, next(self._numbers), action))

    def run(self, now: float) -> None:
        """Perform all due actions, and those that they plan for moments until now."""
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
        """Remove all plans."""
        self._planned.clear()


def write_instant(instant: datetime | float, style: str) -> str:
    """An aware datetime, or seconds since the epoch, as the text of an answer in a style of the switch ``dates``."""
    moment = instant if isinstance(instant, datetime) else datetime.fromtimestamp(instant, UTC)
    if style == "offset":
        return moment.astimezone(SINGAPORE).isoformat(timespec="seconds")
    text = moment.astimezone(UTC).replace(tzinfo=None)
    if style == "fraction":
        return text.isoformat(timespec="microseconds") + "Z"
    return text.isoformat(timespec="seconds") + ("" if style == "naive" else "Z")


def write_http_date(seconds: float) -> str:
    """Seconds since the epoch as an HTTP date, for Date and Retry-After headers."""
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)
