"""Leases: only the holder may act, and must keep its lease alive.

A lock of the operating system or of a database is free again when its holder dies, but not when its holder is frozen
(SIGSTOP, a suspended laptop, a stalled virtual machine). A lease is: its holder shows a sign of life every second, and
a waiter that reads the same sign for `LIFE` seconds takes the lease over. No two clocks are compared, each waits by its
own.

A frozen holder that wakes may believe for a moment that it still holds the lease. So its writes must then be
refused by other means: new tokens, for one, are stored only in place of those that they were made from
(`TokenStore.replace`).
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any, Protocol

from gotsurge_async.clock import Clock, uninterrupted

LIFE = 5.0
"""Seconds without a sign of life after which a lease is taken over."""
BEAT = 1.0
"""Seconds between two signs of life."""
POLL = 0.05
"""Seconds between two tries while another holds the lease; each is drawn between this and twice as much."""


class Board(Protocol):
    """The record of leases. A sign is text that changes whenever the holder shows that it lives."""

    async def sign(self, name: str) -> str | None:
        """The sign of the present holder; None without a holder."""
        ...

    async def take(self, name: str, me: str, over: str | None) -> bool:
        """Become the holder if there is none, or if the sign is still ``over``; returns whether that succeeded."""
        ...

    async def beat(self, name: str, me: str) -> bool:
        """Show that the holder lives; returns False if ``me`` is no longer the holder."""
        ...

    async def give_back(self, name: str, me: str) -> None:
        """Release the lease."""
        ...


@asynccontextmanager
async def leased(board: Board, name: str, clock: Clock) -> AsyncIterator[asyncio.Event]:
    """Wait until a lease is free, or its holder seems dead, and hold it; the event is set when it is taken over."""
    me = os.urandom(8).hex()  # as `secrets` does it, which loads much
    await _take(board, name, me, clock)
    lost = asyncio.Event()
    beating = asyncio.create_task(_beat(board, name, me, clock, lost), name=f"gotsurge lease of {name}")
    try:
        yield lost
    finally:
        beating.cancel()
        # Whole, because a lease left behind makes everybody wait until it is taken over.
        await uninterrupted(_end(board, name, me, beating))


async def _take(board: Board, name: str, me: str, clock: Clock) -> None:
    random = Random()  # noqa: S311 - spreads tries in time, guards nothing
    seen, since = None, 0.0
    while True:
        sign, now = await board.sign(name), clock.monotonic()
        if sign != seen:
            seen, since = sign, now
        if seen is None or now - since >= LIFE:
            taking = asyncio.ensure_future(board.take(name, me, seen))
            try:
                if await uninterrupted(taking):
                    return
            except asyncio.CancelledError:
                if not taking.cancelled() and taking.exception() is None and taking.result():
                    await board.give_back(name, me)
                raise
        await clock.sleep(POLL * (1 + random.random()))


async def _beat(board: Board, name: str, me: str, clock: Clock, lost: asyncio.Event) -> None:
    while not lost.is_set():
        await clock.sleep(BEAT)
        # A sign that could not be shown is tried again; too many missing ones end the lease.
        with suppress(Exception):
            if not await board.beat(name, me):
                lost.set()


async def _end(board: Board, name: str, me: str, beating: asyncio.Task[None]) -> None:
    await asyncio.wait([beating])
    # A lease that cannot be given back (a full disk, a lost database) runs out; what was done under it counts.
    with suppress(Exception):
        await board.give_back(name, me)


class Statements(Protocol):
    """A database with the statements ``sign``, ``take``, ``beat`` and ``give_back``, each a transaction of its own."""

    def rows(self, name: str, /, **values: str | int) -> Awaitable[list[tuple[Any, ...]]]:
        """The rows that a statement returns."""
        ...

    def change(self, name: str, /, **values: str | int) -> Awaitable[int]:
        """The number of rows that a statement changed."""
        ...


class SqlBoard:
    """Leases as rows; the sign of life is a counter."""

    def __init__(self, database: Statements) -> None:
        self._database = database

    async def sign(self, name: str) -> str | None:
        rows = await self._database.rows("sign", name=name)
        return f"{rows[0][0]}/{rows[0][1]}" if rows else None

    async def take(self, name: str, me: str, over: str | None) -> bool:
        holder, _, beat = (over or "/-1").partition("/")
        return bool(await self._database.change("take", name=name, me=me, holder=holder, beat=int(beat)))

    async def beat(self, name: str, me: str) -> bool:
        return bool(await self._database.change("beat", name=name, me=me))

    async def give_back(self, name: str, me: str) -> None:
        await self._database.change("give_back", name=name, me=me)
