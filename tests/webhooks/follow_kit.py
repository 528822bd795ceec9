"""A simulator, a client, a ledger, an inbox, a book, and who follows."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import attrs

from gotsurge_async import Order
from gotsurge_async.webhooks.book import Book, Change
from gotsurge_async.webhooks.follow import Follower
from gotsurge_async.webhooks.inbox import Inbox
from tests.support.pushes import Place, place


@attrs.define
class Followed:
    """What the tests of following use.

    Attributes:
        seen: the changes that were handed on.
    """

    here: Place
    inbox: Inbox
    book: Book
    seen: list[Change] = attrs.field(factory=list)
    told: asyncio.Event = attrs.field(factory=asyncio.Event)
    _numbers: int = 0

    async def on_status(self, change: Change) -> None:
        """Note a change."""
        self.seen.append(change)
        self.told.set()

    async def until(self, holds: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait for changes until something holds."""
        async with asyncio.timeout(seconds):
            while not holds():
                self.told.clear()
                await self.told.wait()

    async def create(self, *orders: Order) -> list[str]:
        """Create orders beside any ledger; their tasks."""
        return [task.id for task in (await self.here.gs.tasks.create(orders)).tasks]

    async def event(self, task_id: str, account: str = "default", **data: Any) -> None:
        """Have an event of a task come, which is like no other."""
        self._numbers += 1
        body = {"type": "update", "data": {"id": task_id, **data}, "timestamp": f"event {self._numbers}"}
        await self.inbox.put(account, json.dumps(body).encode())

    def statuses(self, task_id: str) -> list[str]:
        """The statuses of a task that were handed on."""
        return [str(change.status) for change in self.seen if change.task_id == task_id]

    def reads(self) -> int:
        """How often the simulator was asked for a task."""
        return int(self.here.simulator.audit()["calls"].get("tasks.get", 0))


@asynccontextmanager
async def followed(
    tmp_path: Path, account: str = "plain", *, following: bool = True, switches: Any = None, **options: Any
) -> AsyncIterator[Followed]:
    """All of it, and a follower unless told otherwise: quick, and with a sweep that is far away."""
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(place(tmp_path, account, **(switches or {})))
        inbox = await stack.enter_async_context(Inbox.open(tmp_path / "inbox.db"))
        book = await stack.enter_async_context(Book.open(tmp_path / "inbox.db"))
        kit = Followed(here, inbox, book)
        if following:
            await stack.enter_async_context(follower(kit, **options))
        yield kit


@asynccontextmanager
async def follower(kit: Followed, **options: Any) -> AsyncIterator[Follower]:
    """Who follows."""
    given = {"on_status": kit.on_status, "read_rate": 500.0, "sweep_after": 3600.0, **options}
    async with Follower(kit.inbox, kit.book, given.pop("accounts", kit.here.gs), **given) as follower:
        yield follower
