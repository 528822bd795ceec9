"""Times as the ledger stores them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.bulk.ledger.times import from_microseconds, to_microseconds, utc_now


@given(st.datetimes(timezones=st.just(UTC)), st.integers(-12, 14))
def test_a_time_comes_back_to_the_microsecond(moment: datetime, hours: int) -> None:
    """A time stored in any zone is read back as the same moment, in UTC."""
    stored = to_microseconds(moment.astimezone(timezone(timedelta(hours=hours))) if 2 < moment.year < 9998 else moment)
    assert from_microseconds(stored) == moment
    assert from_microseconds(stored).tzinfo is UTC


def test_a_naive_time_is_refused() -> None:
    """A clock that names no zone is an error, not a guess."""
    with pytest.raises(ValueError, match="names no zone"):
        to_microseconds(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


def test_the_system_clock_is_aware() -> None:
    """The clock that is used by default gives UTC."""
    assert utc_now().tzinfo is UTC
