"""`gotsurge_async.testing.ManualClock`: a clock that a test turns."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.clock import Clock
from gotsurge_async.testing import START, ManualClock


def new_clock() -> Clock:
    return ManualClock()


async def test_time_stands_still_until_it_is_advanced() -> None:
    """Nothing but `advance` moves the clock."""
    clock = new_clock()
    before = clock.now(), clock.monotonic()
    await asyncio.sleep(0)
    assert (clock.now(), clock.monotonic()) == before == (START, 0.0)


async def test_now_and_monotonic_advance_together() -> None:
    """Both times of the clock show the seconds that were advanced, and now is in UTC."""
    clock = ManualClock(datetime(2026, 1, 1, 8, tzinfo=timezone(timedelta(hours=8))))
    await clock.advance(90.5)
    assert clock.now() == START + timedelta(seconds=90.5)
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() == 90.5


async def test_a_sleeper_sees_exactly_the_time_it_slept_for() -> None:
    """However far the clock is advanced, each sleeper wakes at its own moment, in the order of these moments."""
    clock = ManualClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic()))

    async with asyncio.TaskGroup() as group:
        for name, seconds in (("c", 30.0), ("a", 10.0), ("b", 20.0), ("a2", 10.0)):
            group.create_task(sleeper(name, seconds))
        await clock.advance(1000)
    assert woken == [("a", 10.0), ("a2", 10.0), ("b", 20.0), ("c", 30.0)]
    assert clock.monotonic() == 1000


async def test_a_loop_that_sleeps_is_seen_through_all_its_rounds() -> None:
    """Sixty days of a task that wakes every hour are 1440 rounds, each at its hour."""
    clock = ManualClock()
    rounds: list[float] = []

    async def hourly() -> None:
        while True:
            await clock.sleep(3600)
            rounds.append(clock.monotonic())

    task = asyncio.create_task(hourly())
    await clock.advance(60 * 86_400)
    task.cancel()
    assert rounds == [3600.0 * (number + 1) for number in range(1440)]


async def test_it_stops_short_of_later_sleepers() -> None:
    """Whoever sleeps longer than the clock was advanced goes on sleeping."""
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(10))
    await clock.advance(9.999)
    assert not task.done()
    assert list(clock.sleepers) == pytest.approx([0.001])
    await clock.advance(0.001)
    assert task.done()


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    """A sleep that was cancelled neither wakes nor counts."""
    clock = ManualClock()
    cancelled, other = asyncio.create_task(clock.sleep(5)), asyncio.create_task(clock.sleep(7))
    await clock.settle()
    cancelled.cancel()
    await clock.settle()
    assert list(clock.sleepers) == [7.0]
    await clock.advance(10)
    assert other.done()
    assert not clock.sleepers


async def test_a_sleep_of_nothing_lets_others_run() -> None:
    """Sleeping for 0 seconds ends without an advance, after others had their turn."""
    clock = ManualClock()
    turns: list[str] = []
    task = asyncio.create_task(asyncio.sleep(0))
    task.add_done_callback(lambda _: turns.append("other"))
    await clock.sleep(0)
    await clock.settle()
    assert turns == ["other"]
    assert not clock.sleepers


async def test_it_comes_to_rest_on_a_loop_that_does_not_show_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a loop without a list of what is ready to run, tasks still run until each of them waits."""
    steps = 0

    async def walk() -> None:
        nonlocal steps
        for _ in range(30):
            await asyncio.sleep(0)
            steps += 1

    task = asyncio.create_task(walk())
    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "get_running_loop", object)
        await ManualClock().settle()
    assert task.done()
    assert steps == 30


async def test_time_does_not_run_backwards() -> None:
    """Advancing by less than nothing is refused."""
    with pytest.raises(ValueError, match="0 seconds or more"):
        await ManualClock().advance(-1)


@given(st.lists(st.floats(0.001, 1000), max_size=20), st.lists(st.floats(0, 500), max_size=8))
async def test_sleepers_wake_in_order_whatever_the_steps(waits: list[float], steps: list[float]) -> None:
    """Those awake after any steps are exactly those whose time has come, in the order of their times."""
    clock = ManualClock()
    woken: list[float] = []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.create_task(sleeper(wait)) for wait in waits]
    for step in steps:
        await clock.advance(step)
    await clock.settle()
    assert woken == sorted(wait for wait in waits if wait <= clock.monotonic())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
