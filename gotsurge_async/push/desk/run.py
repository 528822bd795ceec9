"""A run that single orders join."""

import attrs

from gotsurge_async.ledger import Ledger, Run
from gotsurge_async.push.chunks import ChunkSender

MOST_ORDERS = 50_000
"""The most orders of a run; then another one is begun, so that each run stays quick to read."""
LONGEST = 86_400.0
"""The most seconds of a run, for the same reason."""
WITH_DOUBTS = 30.0
"""The most seconds of a run with orders in doubt: ``reconcile``, which settles them, needs a run that no process sends.

This is less than `LOOK`, or the desk would leave the run only at its second check."""


@attrs.define(eq=False)
class DeskRun:
    """A run that orders join; ``lost``: another process has taken it over, or it cannot be written."""

    run: Run
    ledger: Ledger
    sender: ChunkSender
    began: float
    orders: int = 0
    sending: int = 0
    has_doubts: bool = False
    lost: bool = False

    def is_over(self, now: float) -> bool:
        """Whether the next order must join another run."""
        longest = WITH_DOUBTS if self.has_doubts else LONGEST
        return self.lost or self.orders >= MOST_ORDERS or now - self.began >= longest
