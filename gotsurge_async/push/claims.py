"""The claim of orders: who may send them, and until when."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from gotsurge_async.calls.create import STOPPERS
from gotsurge_async.calls.outcome import Outcome
from gotsurge_async.cancellation import uninterrupted
from gotsurge_async.clock import Clock
from gotsurge_async.ledger import Run

T = TypeVar("T")

CLAIM_LIFE = 60.0
"""Seconds that a claim is valid: the process may have been frozen since, and another one have taken over."""


class Claim:
    """The claim of some orders while they are sent: a call leaves only while it is young.

    ``leave`` and ``land`` are the ``before_send`` and ``after_send`` of `Session.call`. Make it before the claim is
    written: a process may be frozen right after the write.

    Attributes:
        may_have_acted: a try of the call is on its way, was answered, or was broken off: the service may have
            processed all of it.
        refused: a try of the call was refused, though not necessarily for all of its orders.
    """

    def __init__(self, run: Run, clock: Clock, life: float) -> None:
        self.refused: bool = False
        self._ids: Sequence[int] = ()
        self._on_its_way = False
        self._acted = False
        self._run = run
        self._clock = clock
        self._old_at = clock.monotonic() + life / 2
        self._life = life

    async def take(self, claim: Callable[[Sequence[int]], Awaitable[Sequence[int]]], ids: Sequence[int]) -> set[int]:
        """Claim orders, and return the ids that are claimed now. A cancellation releases them: nothing was sent."""
        claiming = asyncio.ensure_future(claim(ids))
        try:
            return set(await uninterrupted(claiming))
        except asyncio.CancelledError:
            if not claiming.cancelled() and claiming.exception() is None:
                await uninterrupted(self._run.release_claim(claiming.result()))
            raise

    def begin_call(self, ids: Sequence[int]) -> None:
        """Begin a call; it leaves only while these orders are claimed."""
        self._ids = ids
        self._on_its_way = self._acted = self.refused = False

    async def leave(self) -> None:
        """Renew an old claim before a try leaves; the ledger refuses that if another process has the claim by now.

        Raises:
            LedgerError: the try must not leave.
        """
        while (now := self._clock.monotonic()) > self._old_at:
            # Young from before the write, as at first: if that takes its whole life, once more.
            self._old_at = now + self._life / 2
            await uninterrupted(self._run.renew_claim(self._ids))
        self._on_its_way = True

    def land(self, outcome: Outcome, status: int | None) -> None:
        """Note how a try ended."""
        self._on_its_way = False
        self._acted |= outcome in (Outcome.ANSWERED, Outcome.UNKNOWN)
        self.refused |= outcome is Outcome.REJECTED and status not in STOPPERS

    @property
    def may_have_acted(self) -> bool:
        return self._on_its_way or self._acted
