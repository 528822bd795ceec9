"""Claimed chunks: who may send them, until when, and what must not be left half done."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from gotsurge_async.clock import Clock
from gotsurge_async.errors import GotSurgeError

T = TypeVar("T")

CLAIM_LIFE = 60.0
"""Seconds after which a claim is too old to be sent on: the process may have been frozen, and another taken over."""


class ClaimTooOld(GotSurgeError):
    """Too long passed between the claim of a chunk and its sending; nothing was sent."""


class Claim:
    """Guards the sending of a claimed chunk, and knows whether a try is on its way.

    ``leave`` and ``land`` are the ``before_send`` and ``after_send`` of `Session.call`.
    """

    def __init__(self, clock: Clock, life: float) -> None:
        self._clock = clock
        self._ends = clock.monotonic() + life
        self._life = life
        self.on_its_way: bool = False

    def leave(self) -> None:
        """A try is about to leave.

        Raises:
            ClaimTooOld: it must not.
        """
        if self._clock.monotonic() > self._ends:
            raise ClaimTooOld(f"more than {self._life:.0f} s passed between the claim and the sending")
        self.on_its_way = True

    def land(self) -> None:
        """The try has ended."""
        self.on_its_way = False


async def whole(work: Awaitable[T]) -> T:
    """Await something that must not be left half done: a cancellation waits for its end, and is raised then."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
