"""Windows that are too narrow: rules of thumb."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async import Address, Order, TimeWindow, codec
from gotsurge_async.tables.checks.windows import broken_rules, planned
from tests.support.order_forms import NOW, good_order

LOYANG = Address(latitude=1.3697, longitude=103.9707)
TUAS = Address(latitude=1.2966, longitude=103.6361)


def messages(order: Order) -> list[str]:
    """What is too narrow about an order."""
    return broken_rules(planned(codec.encode(order)))


def span(start: float, end: float) -> TimeWindow:
    """A window from so many minutes after now to so many."""
    return TimeWindow(start_time_utc=NOW + timedelta(minutes=start), end_time_utc=NOW + timedelta(minutes=end))


def test_an_order_with_hours_to_spare_breaks_no_rule() -> None:
    """Its windows and its distance are fine."""
    assert messages(good_order(from_address=LOYANG, to_address=TUAS)) == []


def test_short_pickups_are_reported() -> None:
    """A pickup that lasts ten minutes leaves no time."""
    assert messages(good_order(from_time_window=span(120, 130))) == ["the pickup window lasts 10 minutes"]
    assert messages(good_order(from_time_window=span(120, 135))) == []


def test_a_way_that_cannot_be_driven_is_reported() -> None:
    """Across Singapore in half an hour: the rule has kilometres and minutes; without coordinates there is none."""
    windows = {"from_time_window": span(120, 140), "to_time_window": span(140, 150)}
    (rule,) = messages(good_order(from_address=LOYANG, to_address=TUAS, **windows))
    assert rule.startswith("49 km take 74 minutes at 40 km/h")
    assert rule.endswith("there are 30")
    assert messages(good_order(from_address=LOYANG, to_address=Address(zip_code="1"), **windows)) == []


@given(st.integers(1, 10**4), st.integers(1, 10**4), st.integers(-(10**4), 10**4))
def test_more_time_breaks_no_more_rules(length: int, more: int, start: int) -> None:
    """Moving the end of the pickup and of the delivery later never breaks another rule."""
    narrow = good_order(from_address=LOYANG, to_address=TUAS, from_time_window=span(start, start + length),
                        to_time_window=span(start, start + length))  # fmt: skip
    wide = good_order(from_address=LOYANG, to_address=TUAS, from_time_window=span(start, start + length + more),
                      to_time_window=span(start, start + length + more))  # fmt: skip
    assert len(messages(wide)) <= len(messages(narrow))
