"""Desks over the memory transport, and what their ledgers have."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from sqlite3 import OperationalError
from typing import Any

import msgspec
import pytest

from gotsurge_async import GotSurge, RetryPolicy
from gotsurge_async.bulk import Desk, Ledger, Mode, OrderState
from gotsurge_async.database import Database, Sqlite
from gotsurge_async.ledger import LedgerUnusable
from gotsurge_async.ledger.sql import joining, marks
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.base import Request, Response
from gotsurge_async.transports.memory import MemoryTransport
from tests.support.orders import answer

Respond = Callable[[list[dict[str, Any]]], Response | Awaitable[Response]]


def created(tasks: list[dict[str, Any]]) -> Response:
    """The answer of a service that takes everything."""
    return answer(
        {"tasks": [{"id": f"id-{task['tracking_id']}", "tracking_id": task["tracking_id"]} for task in tasks]}
    )


class Service:
    """Answers creates, and remembers the tracking ids of each. Nothing may be read: its partners are plain ones."""

    def __init__(self, respond: Respond = created) -> None:
        self.respond = respond
        self.creates: list[list[str]] = []

    async def __call__(self, request: Request) -> Response:
        if request.method == "GET":
            return Response(status=403, body=b"{}")
        tasks = msgspec.json.decode(request.body or b"{}")["tasks"]
        self.creates.append([task["tracking_id"] for task in tasks])
        answered = self.respond(tasks)
        return await answered if isinstance(answered, Awaitable) else answered

    @property
    def sent(self) -> list[str]:
        """All tracking ids, in the order in which they came."""
        return [name for create in self.creates for name in create]


class Gate(Service):
    """A service whose creates wait until they may be answered."""

    def __init__(self) -> None:
        super().__init__(self._wait)
        self.came = asyncio.Event()
        self.came_again = asyncio.Event()
        self.open = asyncio.Event()

    async def _wait(self, tasks: list[dict[str, Any]]) -> Response:
        (self.came_again if self.came.is_set() else self.came).set()
        await self.open.wait()
        return created(tasks)


@asynccontextmanager
async def client(service: Any, *, clock: ManualClock | None = None, **options: Any) -> AsyncIterator[GotSurge]:
    """A client over the memory transport, that is signed in and tries each call once."""
    options = {"environment": "sandbox", "bearer_token": "token", "retry": RetryPolicy(attempts=1)} | options
    async with GotSurge(transport=MemoryTransport(service), clock=clock or ManualClock(), **options) as gs:
        yield gs


@asynccontextmanager
async def desk_of(path: Path, service: Any, *, clock: ManualClock | None = None, **options: Any) -> AsyncIterator[Desk]:
    """A desk over a ledger in a folder, in direct mode unless said."""
    options = {"mode": Mode.DIRECT} | options
    async with client(service, clock=clock) as gs, await Desk.open(gs, path / "ledger.db", **options) as desk:
        yield desk


async def states(desk: Desk) -> dict[str, list[OrderState]]:
    """The states of each key's orders, in the order in which they came in."""
    found: dict[str, list[OrderState]] = {}
    for info in reversed(await desk.ledger.runs()):
        async for row in desk.ledger.rows(info.id):
            found.setdefault(row.key, []).append(row.state)
    return found


async def waiting(path: Path) -> tuple[int, int]:
    """How many submitted orders wait in the ledger of a folder, and how many are stopped."""
    async with await Ledger.look(path / "ledger.db") as ledger:
        return (await ledger.waiting()).get("sandbox", (0, 0))


async def once_so(clock: ManualClock, question: Callable[[], Any]) -> None:
    """Let time pass until something is so."""
    while not question():
        await clock.advance(1)


def fail_once(
    monkeypatch: pytest.MonkeyPatch,
    *,
    name: str = "join",
    where: Any = joining,
    kind: type[LedgerUnusable] = LedgerUnusable,
) -> None:
    """Have the ledger fail at its next write of a kind."""
    whole = getattr(where, name)

    def fail(*_: Any, **__: Any) -> None:
        monkeypatch.setattr(where, name, whole)
        raise kind("its disk failed")

    monkeypatch.setattr(where, name, fail)


def lose_commit(monkeypatch: pytest.MonkeyPatch, *, name: str, where: Any = marks) -> None:
    """Have the ledger's next write of a kind take effect, and the result of its commit be lost."""
    whole, commit = getattr(where, name), Sqlite.commit

    def write(db: Database, *words: Any) -> Any:
        def lose(committed: Sqlite) -> None:
            commit(committed)
            if committed is db:
                monkeypatch.setattr(Sqlite, "commit", commit)
                raise OperationalError("disk I/O error")

        monkeypatch.setattr(where, name, whole)
        monkeypatch.setattr(Sqlite, "commit", lose)
        return whole(db, *words)

    monkeypatch.setattr(where, name, write)
