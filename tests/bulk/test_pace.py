"""The pace of a push."""

import pytest

from gotsurge_async import Limits, RequestDone
from gotsurge_async.bulk.pace import COOL_DOWN, Pace
from gotsurge_async.limiter import Limiter
from gotsurge_async.testing import ManualClock


def done(status: int | None = 200, seconds: float = 0.05) -> RequestDone:
    """One try that has ended."""
    return RequestDone(operation="tasks.create", method="POST", status=status, seconds=seconds, attempt=1)


@pytest.fixture
def clock() -> ManualClock:
    """Time that the test turns."""
    return ManualClock()


@pytest.fixture
def limiter(clock: ManualClock) -> Limiter:
    """Sixteen places."""
    return Limiter(Limits(concurrency=16), clock)


async def test_a_429_halves_the_pace_once(clock: ManualClock, limiter: Limiter) -> None:
    """All the 429s of one moment halve the calls in flight once; one that comes later halves them again."""
    pace = Pace(limiter, clock)
    for _ in range(16):
        pace(done(429))
    assert limiter.places == 8
    await clock.advance(COOL_DOWN)
    pace(done(429))
    assert limiter.places == 4


async def test_the_pace_recovers_to_its_ceiling(clock: ManualClock, limiter: Limiter) -> None:
    """Good answers bring one place more a round, up to the limit that the user set and no further."""
    pace = Pace(limiter, clock)
    pace(done(429))
    for _ in range(9):
        pace(done())
    assert limiter.places == 9
    for _ in range(500):
        pace(done())
    assert limiter.places == 16


async def test_rising_latency_lowers_the_pace(clock: ManualClock, limiter: Limiter) -> None:
    """Answers that take many times what they took before lower the pace, though none of them says no."""
    pace = Pace(limiter, clock)
    for _ in range(50):
        pace(done(seconds=0.1))
    assert limiter.places == 16
    for _ in range(50):
        pace(done(seconds=5.0))
    assert limiter.places == 12


async def test_a_service_that_was_always_slow_keeps_its_pace(clock: ManualClock, limiter: Limiter) -> None:
    """Slow but even answers are no reason to slow down."""
    pace = Pace(limiter, clock)
    for _ in range(200):
        pace(done(seconds=2.0))
    assert limiter.places == 16


async def test_the_pace_never_ends(clock: ManualClock, limiter: Limiter) -> None:
    """However many 429s come, one call may be in flight; lost answers and refusals change nothing."""
    pace = Pace(limiter, clock)
    for _ in range(10):
        pace(done(429))
        await clock.advance(COOL_DOWN)
    assert limiter.places == 1
    for status in (None, 422, 500):
        pace(done(status))
    assert limiter.places == 1
