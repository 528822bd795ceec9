"""Times as people are shown them."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from gotsurge_async.models.times import (
    show_times_in,
    times_of_people,
    written,
    written_clock,
    written_span,
    zone_of_people,
)

MOMENT = datetime(2030, 3, 5, 1, 0, 5, 7, UTC)
SINGAPORE = ZoneInfo("Asia/Singapore")


@pytest.fixture
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A system whose zone has a summer time."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


def test_a_time_has_one_form() -> None:
    """Day, time of day and zone, to the minute or to the second; a table may hold it as it is."""
    assert written(MOMENT) == "2030-03-05 01:00Z"
    assert written(MOMENT, SINGAPORE) == "2030-03-05 09:00+08:00"
    assert written(MOMENT, SINGAPORE, seconds=True) == "2030-03-05 09:00:05+08:00"
    assert written(MOMENT.astimezone(SINGAPORE), ZoneInfo("Asia/Kolkata")) == "2030-03-05 06:30+05:30"
    assert written_clock(MOMENT, SINGAPORE) == "09:00:05+08:00"
    assert datetime.fromisoformat(written(MOMENT, SINGAPORE)) == MOMENT.replace(second=0, microsecond=0)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00Z", "9999-12-31T23:59Z", "1969-12-31T23:00Z", "2200-01-01T00:00Z"])
@pytest.mark.parametrize("zone", [None, SINGAPORE, timezone(timedelta(hours=-12))])
def test_a_time_far_away_is_a_day(moment: str, zone: ZoneInfo | None) -> None:
    """Whatever the zone, which may have no such time, or had no whole minutes then."""
    far = datetime.fromisoformat(moment)
    assert written(far, zone) == written_clock(far, zone) == moment[:10]


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(seconds=59), "0 min"),
        (timedelta(minutes=125), "2 h 05 min"),
        (timedelta(hours=48), "2 days"),
        (timedelta(days=3650), "3650 days"),
        (timedelta(days=3651), None),
        (timedelta.max, None),
    ],
)
def test_a_span_is_counted_where_that_says_something(span: timedelta, text: str | None) -> None:
    """Ten years at most."""
    assert written_span(span) == text


@pytest.mark.usefixtures("in_new_york")
def test_the_zone_of_the_system_is_that_of_the_moment() -> None:
    """In summer its clocks are ahead; without a block the zone is UTC."""
    assert written(MOMENT) == "2030-03-05 01:00Z"
    with times_of_people():
        assert written(MOMENT) == "2030-03-04 20:00-05:00"
        assert written(MOMENT + timedelta(days=100)) == "2030-06-12 21:00-04:00"


def test_a_zone_is_set_to_the_end_of_its_block() -> None:
    """Also by a coroutine, for what runs after it; no zone leaves it as it is."""

    async def command() -> None:
        show_times_in(SINGAPORE)
        await asyncio.to_thread(show_times_in, None)

    show_times_in(SINGAPORE)
    assert zone_of_people() is UTC
    with times_of_people():
        assert zone_of_people() is None
        asyncio.run(command())
        assert written(MOMENT) == "2030-03-05 09:00+08:00"
        with times_of_people(UTC):
            assert written(MOMENT) == "2030-03-05 01:00Z"
        assert zone_of_people() is SINGAPORE
    assert zone_of_people() is UTC
