"""What has changed lately, numbered, for whoever watches: bounded however slow a watcher is, and however many."""

import asyncio
from collections import deque

from attrs import frozen

MOST_CHANGES = 1_000


@frozen
class Change:
    """Something is another: of which part, and of which task if it is about one."""

    number: int
    part: str
    task_id: str


class Changes:
    """The latest changes. A watcher says what it knew last; one who slept too long has to look at everything."""

    def __init__(self) -> None:
        self._kept: deque[Change] = deque(maxlen=MOST_CHANGES)
        self._waiting: list[asyncio.Future[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waking = False
        self.number: int = 0

    def tell(self, part: str, task_id: str = "") -> None:
        """Note a change. It costs next to nothing while nobody watches."""
        self.number += 1
        self._kept.append(Change(self.number, part, task_id))
        if self._waiting and not self._waking and self._loop is not None:
            self._waking = True
            self._loop.call_soon_threadsafe(self._wake)

    def since(self, number: int) -> list[Change] | None:
        """What came after a number; None where that is not known any more, or was never."""
        if not self.number - len(self._kept) <= number <= self.number:
            return None
        return [change for change in self._kept if change.number > number]

    async def after(self, number: int) -> None:
        """Wait until there is something newer."""
        self._loop = asyncio.get_running_loop()
        waiting = self._loop.create_future()
        self._waiting.append(waiting)
        try:
            if self.number <= number:
                await waiting
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    def _wake(self) -> None:
        self._waking = False
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)
