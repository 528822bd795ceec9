"""The pace of a push: fewer calls in flight when the service says "too many" or grows slow, and more again later.

Additive increase, multiplicative decrease: about one more place for every round of calls that went well, half of them
gone at a 429, a quarter when answers take much longer than they can. The ceiling is the client's limit.
"""

from gotsurge_async.clock import Clock
from gotsurge_async.hooks import Event, RequestDone
from gotsurge_async.limiter import Limiter

SLOW = 3.0
"""Answers that take so many times what the quickest took are slow."""
SLOW_SECONDS = 0.5
"""Answers quicker than this are never slow."""
COOL_DOWN = 1.0
"""Seconds between two decreases: the calls in flight still tell of the pace before the first one."""
_FORGET = 1.001
"""How the quickest answer is forgotten, by each that follows: a service may have become slower for good."""
_WEIGHT = 0.1
"""What one answer counts in the average."""


class Pace:
    """Listens to a client's requests, and resizes its limiter."""

    def __init__(self, limiter: Limiter, clock: Clock) -> None:
        self._limiter = limiter
        self._clock = clock
        self._earned = 0.0
        self._quickest = float("inf")
        self._average: float | None = None
        self._cool_at = 0.0

    def __call__(self, event: Event) -> None:
        """Take an event of the client in."""
        if not isinstance(event, RequestDone) or event.status is None:
            return
        if event.status == 429:
            self._decrease(0.5)
        elif event.status < 400:
            self._quickest = min(self._quickest * _FORGET, event.seconds)
            average = event.seconds if self._average is None else self._average
            self._average = average + _WEIGHT * (event.seconds - average)
            if self._average > max(SLOW * self._quickest, SLOW_SECONDS):
                self._decrease(0.75)
            else:
                self._increase()

    def _decrease(self, factor: float) -> None:
        now = self._clock.monotonic()
        if now >= self._cool_at:
            self._cool_at = now + COOL_DOWN
            self._earned = 0.0
            self._limiter.resize(int(self._limiter.places * factor))

    def _increase(self) -> None:
        self._earned += 1.0 / self._limiter.places
        if self._earned >= 1.0:
            self._earned = 0.0
            self._limiter.resize(self._limiter.places + 1)
