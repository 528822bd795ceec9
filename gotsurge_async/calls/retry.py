"""Whether a call is tried again, and after how long: pure functions."""

from enum import Enum

from gotsurge_async.api.endpoints import Replay
from gotsurge_async.config import RetryPolicy

_MOVED = (301, 307, 308)


class Outcome(Enum):
    """What became of one try."""

    ANSWERED = "answered"
    """A success."""
    NOT_SENT = "not sent"
    """Certainly never processed."""
    REJECTED = "rejected"
    """An answer says no."""
    RATE_LIMITED = "rate limited"
    """An answer says: not now (429)."""
    UNKNOWN = "unknown"
    """May have been processed."""


def outcome_of(status: int) -> Outcome:
    """What an answer's status says.

    408 and 5xx do not say whether the request was processed. Neither do 302 and 303, by which a service may point to
    what it has just made; the other redirects ask for the request elsewhere, and so refuse it here.
    """
    if 200 <= status < 300:
        return Outcome.ANSWERED
    if status == 429:
        return Outcome.RATE_LIMITED
    if status in _MOVED or (400 <= status < 500 and status != 408):
        return Outcome.REJECTED
    return Outcome.UNKNOWN


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
