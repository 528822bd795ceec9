"""The simulator's own time, which can be turned, and how it is written in answers."""

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Protocol

_SINGAPORE = timezone(timedelta(hours=8))


class TellsTime(Protocol):
    """What the simulator asks of a clock; the clocks that the client takes do it too."""

    def now(self) -> datetime:
        """The present, aware."""
        ...


class Clock:
    """Seconds since the epoch (UTC): those of ``base`` plus what was turned on top, which is never less than 0."""

    def __init__(self, base: TellsTime) -> None:
        self._base = base
        self._ahead = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._base.now().timestamp() + self._ahead

    def advance(self, seconds: float) -> None:
        """Turn the clock on by ``seconds``, which must not be negative."""
        if not seconds >= 0 or seconds == float("inf"):
            raise ValueError(f"a clock is turned forward by a number of seconds, not by {seconds!r}")
        self._ahead += seconds

    def reset(self) -> None:
        """Show the base's time again."""
        self._ahead = 0.0


def write_instant(instant: datetime | float, style: str) -> str:
    """An aware datetime, or seconds since the epoch, as the text of an answer in a style of the switch ``dates``."""
    moment = instant if isinstance(instant, datetime) else datetime.fromtimestamp(instant, UTC)
    if style == "offset":
        return moment.astimezone(_SINGAPORE).isoformat(timespec="seconds")
    text = moment.astimezone(UTC).replace(tzinfo=None)
    if style == "fraction":
        return text.isoformat(timespec="microseconds") + "Z"
    return text.isoformat(timespec="seconds") + ("" if style == "naive" else "Z")


def write_http_date(seconds: float) -> str:
    """Seconds since the epoch as an HTTP date, for Date and Retry-After headers."""
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)
