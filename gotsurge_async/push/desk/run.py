"""A run that single orders join."""

import attrs

from gotsurge_async.ledger import Ledger, Run
from gotsurge_async.push.chunks import ChunkSender

MOST_ORDERS = 50_000
"""Orders of a run; then another one is begun, so that each stays quick to read."""
LONGEST = 86_400.0
"""Seconds of a run, for the same reason."""
WITH_DOUBTS = 30.0
"""Seconds of a run with orders in doubt: what settles them, such as ``reconcile``, needs a run that no process sends.

Less than the time between two looks of a desk, which would else leave the run at the second one."""


@attrs.define(eq=False)
class DeskRun:
    """A run that orders join.

    Attributes:
        began: by the clock's seconds.
        sending: the number of chunks that are under way.
        has_doubts: whether some of its orders are in doubt.
        lost: whether another process has taken it over, or it cannot be written.
    """

    run: Run
    ledger: Ledger
    sender: ChunkSender
    began: float
    orders: int = 0
    sending: int = 0
    has_doubts: bool = False
    lost: bool = False

    def is_over(self, now: float) -> bool:
        """Whether the next order belongs into another run."""
        longest = WITH_DOUBTS if self.has_doubts else LONGEST
        return self.lost or self.orders >= MOST_ORDERS or now - self.began >= longest
