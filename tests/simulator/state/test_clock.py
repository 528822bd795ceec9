import pytest

from gotsurge_async.simulator.state.clock import Clock, write_http_date, write_instant

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


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_a_clock_is_turned_forward_only(seconds: float) -> None:
    """A clock is not turned back, nor by what is no number of seconds."""
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
