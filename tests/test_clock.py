"""`gotsurge_async.clock`: the machine's own time."""

from datetime import UTC, datetime, timedelta

from gotsurge_async.clock import Clock, SystemClock


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
