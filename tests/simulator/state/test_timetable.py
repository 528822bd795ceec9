from math import inf

from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.simulator.state.clock import Timetable

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
