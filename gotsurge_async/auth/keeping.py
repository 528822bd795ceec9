"""Renews tokens in the background: one task for all accounts of a client, however many."""

import asyncio
from typing import Protocol

from gotsurge_async.clock import Clock, sleep_or


class Kept(Protocol):
    """The tokens of an account, as a `Keeper` uses them."""

    account: str

    async def keep(self) -> float:
        """Renew or store tokens that are due; returns the seconds until the next time. No exception leaves it."""
        ...


class Keeper:
    """Keeps the tokens of any number of accounts fresh, each when it is due; a slow account delays no other.

    While none is due, one task sleeps; an account has a task of its own only while its tokens are renewed.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: dict[Kept, float] = {}
        self._at_work: dict[Kept, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, account: Kept) -> None:
        """Keep an account's tokens fresh from now on."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="gotsurge tokens")
        self.soon(account)

    def soon(self, account: Kept) -> None:
        """Make an account due immediately: something has changed."""
        self._due[account] = self._clock.monotonic()
        self._changed.set()

    async def remove(self, account: Kept) -> None:
        """Stop keeping an account; with the last one the task ends."""
        self._due.pop(account, None)
        ending = [task] if (task := self._at_work.pop(account, None)) is not None else []
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
            waiting = {account: due for account, due in self._due.items() if account not in self._at_work}
            for account in [account for account, due in waiting.items() if due <= now]:
                del waiting[account]
                self._due[account] = float("inf")  # until it is known; less, if something changes meanwhile
                name = f"gotsurge tokens of {account.account}"
                self._at_work[account] = asyncio.create_task(self._keep(account), name=name)
            next_due = min(waiting.values(), default=float("inf"))
            if next_due == float("inf"):
                await self._changed.wait()
            else:
                await sleep_or(self._changed, self._clock, next_due - now)

    async def _keep(self, account: Kept) -> None:
        seconds = await account.keep()
        if account in self._due:
            self._due[account] = min(self._due[account], self._clock.monotonic() + seconds)
        del self._at_work[account]
        self._changed.set()
