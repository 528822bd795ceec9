"""Whether a call is tried again, and after how long: pure functions."""

from gotsurge_async.api.endpoints import Replay
from gotsurge_async.calls.outcome import Outcome
from gotsurge_async.config import RetryPolicy


def may_repeat(replay: Replay, outcome: Outcome) -> bool:
    """Whether a repeat can do no harm, whatever the number of tries."""
    if outcome is Outcome.UNKNOWN:
        return replay is Replay.SAFE
    return outcome in (Outcome.NOT_SENT, Outcome.RATE_LIMITED)


def backoff(policy: RetryPolicy, attempt: int, random: float) -> float:
    """Seconds to wait after try number ``attempt`` (from 1): up to a bound that doubles, by ``random`` in [0, 1)."""
    return min(policy.cap, policy.base * 2.0 ** min(attempt - 1, 60)) * random


def decide(
    policy: RetryPolicy,
    replay: Replay,
    outcome: Outcome,
    *,
    attempt: int,
    elapsed: float,
    random: float,
    retry_after: float | None = None,
) -> float | None:
    """Seconds to wait before the next try, or None to give up.

    Args:
        replay: the endpoint's column.
        attempt: the number of the try that has just ended, from 1.
        elapsed: seconds since the first try began.
        random: drawn from [0, 1).
        retry_after: seconds that the service asked for; waited in full, and a little more so that clients spread.
    """
    if not may_repeat(replay, outcome) or attempt >= policy.attempts:
        return None
    wait = backoff(policy, attempt, random)
    if retry_after is not None:
        if retry_after > policy.longest_retry_after:
            return None
        wait = retry_after + min(wait, policy.base)
    return wait if elapsed + wait <= policy.deadline else None
