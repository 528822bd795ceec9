"""A run that single orders join."""

from contextlib import suppress

import attrs

from gotsurge_async.errors import CallError, SignInNeeded
from gotsurge_async.ledger import Ledger, Mode, Run
from gotsurge_async.push.chunks import ChunkSender
from gotsurge_async.push.push import Push

MOST_ORDERS = 50_000
"""The most orders of a run; then another one is begun, so that each run stays quick to read."""
LONGEST = 86_400.0
"""The most seconds of a run, for the same reason."""
WITH_DOUBTS = 30.0
"""The most seconds of a run with orders in doubt: ``reconcile``, which settles them, needs a run that no process sends.

This is less than `LOOK`, or the desk would leave the run only at its second check."""

REFUSED_FOR = 300.0
"""Seconds for which the service's refusal to list tasks shows that an account is a plain partner's."""


@attrs.define(eq=False)
class DeskRun:
    """A run that orders join.

    ``lost``: another process has taken it over, or it cannot be written. ``refused``: the service refused a call of it
    to the account. ``outdated``: the account's mode is another one by now.
    """

    run: Run
    ledger: Ledger
    sender: ChunkSender
    began: float
    orders: int = 0
    sending: int = 0
    has_doubts: bool = False
    lost: bool = False
    refused: bool = False
    outdated: bool = False
    _asked: float = attrs.field(default=attrs.Factory(lambda run: run.began, takes_self=True), init=False)
    _orders_then: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.sender.withdraws = True

    async def check_mode(self, push: Push, now: float) -> None:
        """Ask for the mode again, if the account may have another one than the run by now.

        In direct mode a proxy may have refused to list tasks: it is asked after some minutes, if orders have joined the
        run since. In two-phase mode, a call of the run was refused: the account may have become a plain partner's.
        """
        mode = self.run.info.mode
        is_due = self.orders > self._orders_then and now - self._asked >= REFUSED_FOR
        if is_due if mode is Mode.DIRECT else self.refused:
            self._asked, self._orders_then = now, self.orders
            with suppress(CallError, SignInNeeded):
                self.outdated = await push.choose_mode() is not mode
                self.refused = False

    def is_over(self, now: float) -> bool:
        """Whether the next order must join another run."""
        longest = WITH_DOUBTS if self.has_doubts else LONGEST
        return self.lost or self.outdated or self.orders >= MOST_ORDERS or now - self.began >= longest
