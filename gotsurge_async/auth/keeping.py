"""What renews tokens in the background: one task for all accounts of a client, however many."""

import asyncio
from typing import Protocol

from gotsurge_async.clock import Clock, sleep_or


class Kept(Protocol):
    """What is looked after: the tokens of an account."""

    account: str

    async def keep(self) -> float:
        """Do what is due; gives the seconds until the next look. It raises nothing."""
        ...


class Keeper:
    """Looks after any number of accounts, each when it is due; a slow one keeps none of the others waiting.

    It sleeps as long as none is due, in one task, and has a task for each account only while that is looked after.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: dict[Kept, float] = {}
        self._looks: dict[Kept, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, kept: Kept) -> None:
        """Look after an account from now on."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="gotsurge tokens")
        self.soon(kept)

    def soon(self, kept: Kept) -> None:
        """Look after it at once: something has changed."""
        self._due[kept] = self._clock.monotonic()
        self._changed.set()

    async def remove(self, kept: Kept) -> None:
        """Look after it no more; with the last one the task ends."""
        self._due.pop(kept, None)
        ending = [look] if (look := self._looks.pop(kept, None)) is not None else []
        if not self._due and self._task is not None:
            ending.append(self._task)
            self._task = None
        for task in ending:
            task.cancel()
        if ending:
            await asyncio.wait(ending)

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            now = self._clock.monotonic()
            waiting = {kept: due for kept, due in self._due.items() if kept not in self._looks}
            for kept in [kept for kept, due in waiting.items() if due <= now]:
                del waiting[kept]
                self._due[kept] = float("inf")  # until it is known; less, if something changes meanwhile
                self._looks[kept] = asyncio.create_task(self._look(kept), name=f"gotsurge tokens of {kept.account}")
            next_due = min(waiting.values(), default=float("inf"))
            if next_due == float("inf"):
                await self._changed.wait()
            else:
                await sleep_or(self._changed, self._clock, next_due - now)

    async def _look(self, kept: Kept) -> None:
        seconds = await kept.keep()
        if kept in self._due:
            self._due[kept] = min(self._due[kept], self._clock.monotonic() + seconds)
        del self._looks[kept]
        self._changed.set()
