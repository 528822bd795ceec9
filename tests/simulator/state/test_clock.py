import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.simulator.state.clock import MOST_SPEED, Clock, write_http_date, write_instant

from ..kit import START, FakeTime


def test_a_turned_clock_is_ahead_of_its_base() -> None:
    """What was turned adds up, on top of a base that goes on."""
    time = FakeTime()
    clock = Clock(time)
    clock.advance(10)
    clock.advance(0.5)
    time.seconds += 1
    assert clock.now() == START + 11.5
    clock.reset()
    assert clock.now() == START + 1


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 1e12])
def test_a_clock_is_turned_forward_only(seconds: float) -> None:
    """A clock is not turned back, nor by what is no number of seconds, nor to where times can no more be written."""
    with pytest.raises(ValueError, match="turned forward"):
        Clock(FakeTime()).advance(seconds)


@pytest.mark.parametrize(
    ("style", "text"),
    [
        ("z", "2026-01-01T00:00:00Z"),
        ("offset", "2026-01-01T08:00:00+08:00"),
        ("fraction", "2026-01-01T00:00:00.250000Z"),
        ("naive", "2026-01-01T00:00:00"),
    ],
)
def test_an_instant_in_each_style(style: str, text: str) -> None:
    """The same instant is written as the style has it."""
    assert write_instant(START + 0.25, style) == text


def test_an_http_date() -> None:
    """Headers take the date of HTTP."""
    assert write_http_date(START) == "Thu, 01 Jan 2026 00:00:00 GMT"


@given(
    st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e5), st.sampled_from([0, 0.5, 1, 60, MOST_SPEED])), max_size=8)
)
def test_a_clock_runs_at_the_speed_that_was_set(steps: list[tuple[float, float, float]]) -> None:
    """Time that passes counts as the speed says, what is turned is added, and setting a speed moves nothing."""
    time = FakeTime()
    clock = Clock(time)
    expected, speed = clock.now(), 1.0
    for passes, turned, following in steps:
        time.seconds += passes
        expected += passes * speed + turned
        clock.advance(turned)
        assert clock.now() == pytest.approx(expected, abs=1e-3, rel=1e-9)
        clock.run_at(following)
        speed = following
        assert clock.speed == speed
        assert clock.now() == pytest.approx(expected, abs=1e-3, rel=1e-9)
    clock.reset()
    assert (clock.now(), clock.speed) == (pytest.approx(time.seconds, abs=1e-3), 1)


@pytest.mark.parametrize("speed", [-1, MOST_SPEED + 1, float("nan"), float("inf")])
def test_a_clock_runs_at_no_other_speed(speed: float) -> None:
    """A speed below 0, above a day in a second, or none at all is refused, and nothing changes."""
    clock = Clock(FakeTime())
    with pytest.raises(ValueError, match="a clock runs at 0 to"):
        clock.run_at(speed)
    assert clock.speed == 1
