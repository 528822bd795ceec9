from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.simulator.state.clock import MOST_SPEED, Clock, Timetable

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


moments = st.lists(st.integers(0, 20).map(float))


@given(moments, moments)
def test_all_that_is_due_happens_in_the_order_of_time(planned: list[float], turns: list[float]) -> None:
    """However the clock is turned, each action comes once, in the order of its moment, and none too early."""
    timetable, done, now = Timetable(), [], 0.0
    for number, moment in enumerate(planned):
        timetable.at(moment, lambda at, number=number: done.append((at, number)))  # type: ignore[misc]
    for turn in (*turns, 1000.0):
        now += turn
        timetable.run(now)
        assert all(at <= now for at, _ in done)
        assert timetable.next_at > now
    assert done == sorted((moment, number) for number, moment in enumerate(planned))


def test_what_an_action_plans_happens_in_the_same_run() -> None:
    """An action may plan more; what is due then is done, also what is due before the rest, and nothing runs twice."""
    timetable, done = Timetable(), []

    def chain(at: float) -> None:
        done.append(at)
        timetable.run(100)  # somebody looks at the clock meanwhile
        if at < 5:
            timetable.at(at + 1, chain)

    timetable.at(inf, chain)
    timetable.at(1, chain)
    timetable.at(3.5, done.append)
    timetable.run(4)
    assert done == [1, 2, 3, 3.5, 4]
    assert timetable.next_at == 5
    timetable.clear()
    assert timetable.next_at == inf
