"""`gotsurge_async.calls.tries`: pure decisions."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.api.endpoints import Replay
from gotsurge_async.calls.outcome import Outcome, outcome_of
from gotsurge_async.calls.tries import decide, may_repeat
from gotsurge_async.config import RetryPolicy

POLICY = RetryPolicy(attempts=5, base=1.0, cap=8.0, deadline=100.0, longest_retry_after=60.0)

TABLE = {
    Outcome.NOT_SENT: set(Replay),
    Outcome.RATE_LIMITED: set(Replay),
    Outcome.UNKNOWN: {Replay.SAFE},
    Outcome.REJECTED: set(),
    Outcome.ANSWERED: set(),
}
"""Which operations may be repeated after which outcome."""


@pytest.mark.parametrize(("replay", "outcome"), list(itertools.product(Replay, Outcome)))
def test_what_may_be_repeated_is_this_table(replay: Replay, outcome: Outcome) -> None:
    """What was never processed is repeated always, what may have been only if a repeat is safe, a refusal never."""
    allowed = replay in TABLE[outcome]
    assert may_repeat(replay, outcome) is allowed
    wait = decide(POLICY, replay, outcome, attempt=1, elapsed=0.0, random=0.5)
    assert (wait is not None) is allowed


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [
        ([200, 201, 202, 204, 299], Outcome.ANSWERED),
        ([429], Outcome.RATE_LIMITED),
        ([408, 500, 502, 503, 504, 599, 100, 199, 600], Outcome.UNKNOWN),
        ([400, 401, 403, 404, 409, 410, 413, 415, 422, 425, 451], Outcome.REJECTED),
        ([301, 307, 308], Outcome.REJECTED),
        ([300, 302, 303, 304], Outcome.UNKNOWN),
    ],
)
def test_a_status_says_what_it_proves(statuses: list[int], outcome: Outcome) -> None:
    """A redirect elsewhere refuses, one that may stand for a result (302, 303) proves nothing, as 408 and 5xx."""
    assert {outcome_of(status) for status in statuses} == {outcome}


def test_waits_double_up_to_the_cap() -> None:
    """The longest wait after each try is base, twice, four times …, never more than the cap."""
    waits = [
        decide(POLICY, Replay.SAFE, Outcome.NOT_SENT, attempt=attempt, elapsed=0.0, random=1.0)
        for attempt in range(1, 6)
    ]
    assert waits == [1.0, 2.0, 4.0, 8.0, None]


replays, outcomes = st.sampled_from(Replay), st.sampled_from(Outcome)
policies = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 100),
    base=st.floats(0, 100),
    cap=st.floats(0, 1000),
    deadline=st.floats(0, 10_000),
    longest_retry_after=st.floats(0, 1000),
)
waits_asked = st.none() | st.floats(0, 10_000)


@given(
    policies,
    replays,
    outcomes,
    st.integers(1, 2000),
    st.floats(0, 10**6),
    st.floats(0, 1, exclude_max=True),
    waits_asked,
)
def test_a_decision_keeps_every_bound(
    policy: RetryPolicy,
    replay: Replay,
    outcome: Outcome,
    attempt: int,
    elapsed: float,
    random: float,
    asked: float | None,
) -> None:
    """A wait is never negative, never past the deadline, never after the last try, never shorter than was asked."""
    wait = decide(policy, replay, outcome, attempt=attempt, elapsed=elapsed, random=random, retry_after=asked)
    if wait is None:
        return
    assert may_repeat(replay, outcome)
    assert attempt < policy.attempts
    assert wait >= 0
    assert elapsed + wait <= policy.deadline
    if asked is None:
        assert wait <= policy.cap
    else:
        assert asked <= wait <= asked + policy.base
        assert asked <= policy.longest_retry_after


def test_the_service_is_waited_for_in_full() -> None:
    """Retry-After is waited whole, with a part of the base on top so that clients spread."""
    wait = decide(POLICY, Replay.NEVER, Outcome.RATE_LIMITED, attempt=3, elapsed=0.0, random=0.5, retry_after=30.0)
    assert wait == 31.0
    none = decide(POLICY, Replay.NEVER, Outcome.RATE_LIMITED, attempt=1, elapsed=0.0, random=0.0, retry_after=30.0)
    assert none == 30.0


@pytest.mark.parametrize(("elapsed", "asked", "goes_on"), [(0.0, 60.0, True), (0.0, 60.5, False), (50.0, 60.0, False)])
def test_too_long_a_wait_ends_the_call(elapsed: float, asked: float, goes_on: bool) -> None:
    """A call gives up at once when the service asks for more than the policy or the deadline allows."""
    wait = decide(POLICY, Replay.SAFE, Outcome.RATE_LIMITED, attempt=1, elapsed=elapsed, random=0.0, retry_after=asked)
    assert (wait is not None) is goes_on
