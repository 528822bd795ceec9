"""Reads that a command makes by itself, where no receiver does."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta

import attrs

from gotsurge_async.client import GotSurge
from gotsurge_async.clock import Clock
from gotsurge_async.config import Limits
from gotsurge_async.errors import CallError, NotFound, SignInNeeded, Unauthorized, UnreadableAnswer
from gotsurge_async.webhooks.book import Book
from gotsurge_async.webhooks.book.book import OTHER
from gotsurge_async.webhooks.reads import is_platform

READING = "Reading"
"""The group of the options about it."""
STALE = timedelta(hours=1)
"""What was not read for longer is told to be old."""
AT_ONCE = 8
"""Reads in flight, at most."""


def limits_of(rate: float) -> Limits:
    """The limits of a client that only reads."""
    return Limits(concurrency=AT_ONCE, rate=rate)


@attrs.define(eq=False)
class DueReads:
    """Reads tasks of an account that were not heard of for a while, the longest first; the client keeps the rate.

    Attributes:
        platform: whether it is a platform partner's; found out unless given.
        age: how long a while is.
        trouble: why the last read failed; None if it did not.
    """

    gs: GotSurge
    book: Book
    account: str
    clock: Clock
    platform: bool | None = None
    age: timedelta = timedelta(seconds=20)
    trouble: str | None = None

    async def once(self, limit: int = 50, *, run: str | None = None) -> int:
        """Read so many of what is due; how many were."""
        due = await self.book.due(self.clock.now(), {OTHER: self.age}, limit=limit, accounts=[self.account], run=run)
        await self.read(task_id for _, task_id in due)
        return len(due)

    async def read(self, task_ids: Iterable[str]) -> None:
        """Read some tasks, several at once.

        Raises:
            SignInNeeded, Unauthorized: no token works any more. Other failures are noted, and the task is due again.
        """
        if self.platform is None:
            self.platform = await is_platform(self.gs)
        waiting = iter(task_ids)

        async def work() -> None:
            for task_id in waiting:
                await self._read(task_id)

        for ended in await asyncio.gather(*(work() for _ in range(AT_ONCE)), return_exceptions=True):
            if ended is not None:
                raise ended

    async def _read(self, task_id: str) -> None:
        get = self.gs.platform.tasks.get if self.platform else self.gs.tasks.get
        begun = self.clock.now()
        try:
            task = await get(task_id)
        except NotFound:
            await self.book.not_found(self.account, task_id, begun)
        except (SignInNeeded, Unauthorized):
            raise
        except (CallError, UnreadableAnswer) as error:
            self.trouble = str(error)
        else:
            self.trouble = None
            await self.book.observe(self.account, task, at=begun, source="sweep")
