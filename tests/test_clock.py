"""`gotsurge_async.clock`: the machine's own time."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from gotsurge_async.clock import Clock, SystemClock, in_zone, moved_by


def system() -> Clock:
    return SystemClock()


def test_the_present_is_in_utc() -> None:
    """Now is an aware time in UTC, and the present."""
    now = system().now()
    assert now.tzinfo is UTC
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=5)


async def test_monotonic_time_counts_a_sleep() -> None:
    """Time never runs backwards, and a sleep takes as long as was asked."""
    clock = system()
    before = clock.monotonic()
    await clock.sleep(0.01)
    assert clock.monotonic() - before >= 0.0099
    await clock.sleep(0)


def test_times_end_where_the_years_end() -> None:
    """What would be beyond the first or the last time is that time, or stays in the zone that it is in."""
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    day, hours = timedelta(days=1), timedelta(hours=8)
    assert moved_by(first, -day) == first
    assert moved_by(last, day) == moved_by(last, timedelta.max) == last
    assert moved_by(first, day) == datetime(1, 1, 2, tzinfo=UTC)
    singapore = ZoneInfo("Asia/Singapore")
    assert in_zone(last, singapore) == last
    assert in_zone(datetime(2026, 1, 2, tzinfo=UTC), singapore).utcoffset() == hours
