"""Times for people: one form, in one zone.

The form is ``2030-03-05 09:00+08:00``, with ``Z`` for UTC: it sorts, it names its zone, and a table may hold it. The
zone is UTC; the command sets that of its ``--timezone``, or the system's. Times for programs are in UTC, as ISO 8601.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta, tzinfo

FIRST_YEAR, LAST_YEAR = 1970, 2199
"""Times of other years are typing errors, or mean never: a day is enough, and zones had no whole minutes long ago."""
LONGEST_SPAN = timedelta(days=3650)
"""A longer time from now is not counted in days."""


class _Shown:
    """The zone of a block, which code in the block may set: in a coroutine too, whose context is a copy."""

    __slots__ = ("zone",)

    def __init__(self, zone: tzinfo | None) -> None:
        self.zone = zone


_SHOWN: ContextVar[_Shown | None] = ContextVar("shown", default=None)


@contextmanager
def times_of_people(zone: tzinfo | None = None) -> Iterator[None]:
    """Show times in a zone while the block runs; None for that of the system."""
    token = _SHOWN.set(_Shown(zone))
    try:
        yield
    finally:
        _SHOWN.reset(token)


def show_times_in(zone: tzinfo | None) -> None:
    """Show times in a zone, unless it is None, until the block of `times_of_people` ends; without a block in UTC."""
    shown = _SHOWN.get()
    if shown is not None and zone is not None:
        shown.zone = zone


def zone_of_people() -> tzinfo | None:
    """The zone in which people see times; None for that of the system."""
    shown = _SHOWN.get()
    return UTC if shown is None else shown.zone


def written(moment: datetime, zone: tzinfo | None = None, *, seconds: bool = False) -> str:
    """An aware time for people, to the minute or to the second, in a zone or in `zone_of_people`.

    Times outside `FIRST_YEAR` to `LAST_YEAR` are shown as a day.
    """
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        return moment.date().isoformat()
    local = moment.astimezone(zone or zone_of_people())
    return local.isoformat(" ", "seconds" if seconds else "minutes").replace("+00:00", "Z")


def written_clock(moment: datetime, zone: tzinfo | None = None) -> str:
    """The time of day of something that happens now, such as ``09:00:05+08:00``."""
    return written(moment, zone, seconds=True).partition(" ")[2] or written(moment, zone)


def written_span(span: timedelta) -> str | None:
    """A length of time for people, such as ``2 h 05 min`` or ``3 days``; None if it is too long to count."""
    if span > LONGEST_SPAN:
        return None
    minutes = int(span.total_seconds() // 60)
    hours, rest = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} days"
    return f"{hours} h {rest:02} min" if hours else f"{minutes} min"
