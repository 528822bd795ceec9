"""Reads of tasks that a command makes itself, where no receiver does."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from typing import Any

import attrs
import click

from gotsurge_async.cli.shared.options import Decorator, in_group, together
from gotsurge_async.client import GotSurge
from gotsurge_async.clock import Clock
from gotsurge_async.config import Limits
from gotsurge_async.errors import CallError, NotFound, SignInNeeded, Unauthorized, UnreadableAnswer
from gotsurge_async.webhooks.book import Book
from gotsurge_async.webhooks.book.book import OTHER
from gotsurge_async.webhooks.reads import is_platform

STALE = timedelta(hours=1)
"""An order that was not read for longer is reported as old."""
AT_ONCE = 8
"""The number of reads in flight, at most."""

_reading = partial(in_group("Reading"), type=click.FloatRange(min=0), show_default=True)


def takes_reads(*, rate: float, rate_help: str, after: float, after_help: str) -> Decorator[Any]:
    """The options --read-rate and --read-after, with their defaults and help."""
    return together(
        _reading("--read-rate", default=rate, metavar="PER_SECOND", help=rate_help),
        _reading("--read-after", default=after, metavar="SECONDS", help=after_help),
    )


def limits_of(rate: float) -> Limits:
    """The limits of a client that only reads."""
    return Limits(concurrency=AT_ONCE, rate=rate)


@attrs.define(eq=False)
class DueReads:
    """Reads the tasks of an account of which nothing was heard for a while, the longest first, at the client's rate.

    Attributes:
        platform: whether the account is a platform partner's; None to ask the service.
        age: reads only tasks of which nothing was heard for this long.
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
        """Read at most ``limit`` due tasks; return their number."""
        due = await self.book.due(self.clock.now(), {OTHER: self.age}, limit=limit, accounts=[self.account], run=run)
        await self.read(task_id for _, task_id in due)
        return len(due)

    async def read(self, task_ids: Iterable[str]) -> None:
        """Read some tasks, several at a time. Failures are kept as ``trouble``, except those of signing in."""
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
