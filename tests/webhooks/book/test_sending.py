"""Changes that are sent on while the target and the sender are killed: each arrives, in order for its task."""

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import attrs
import pytest

from gotsurge_async import Secret
from gotsurge_async.webhooks.book import Book
from gotsurge_async.webhooks.forward import key_of, signed
from tests.support.threads import eventually
from tests.webhooks.book.kit import ACCOUNT, WAY, after
from tests.webhooks.book.sender import SECRET

TASKS = 30
KILLS = 30


@attrs.define(eq=False)
class Target:
    """Takes changes, or fails in some way; it can be killed, and comes back at the same port.

    Attributes:
        arrived: id, task and number of each change that came whole, in order, taken or not.
        well: takes everything.
    """

    draw: random.Random
    arrived: list[tuple[str, str, int]] = attrs.field(factory=list)
    well: bool = False
    port: int = 0
    _server: asyncio.Server | None = None
    _connections: set[asyncio.StreamWriter] = attrs.field(factory=set)

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def kill(self) -> None:
        """Reset every connection, and refuse others."""
        assert self._server is not None
        self._server.close()
        for writer in self._connections:
            writer.transport.abort()
        self._connections.clear()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
                body = await reader.readexactly(int(headers["content-length"]))
                await self._answer(headers, body, writer)
        writer.close()

    async def _answer(self, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> None:
        how = "take" if self.well else self.draw.choice(("take", "take", "take", "500", "302", "hang", "reset", "lose"))
        if how == "reset":
            writer.transport.abort()
            return
        document = json.loads(body)
        name, seconds = headers["webhook-id"], int(headers["webhook-timestamp"])
        assert headers["webhook-signature"] == signed(key_of(Secret(SECRET)), name, seconds, body)["webhook-signature"]
        if how in ("take", "lose"):
            self.arrived.append((name, document["task_id"], document["number"]))
        if how == "lose":
            writer.transport.abort()
        elif how == "hang":
            await asyncio.Event().wait()
        else:
            status = {"take": "204 No Content", "500": "500 No", "302": "302 Found\r\nLocation: http://127.0.0.1:1/"}[
                how
            ]
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()

    def firsts(self) -> dict[str, list[int]]:
        """The numbers of each task's changes as they came first."""
        found: dict[str, list[int]] = {}
        for _, task_id, number in dict.fromkeys(self.arrived):
            found.setdefault(task_id, []).append(number)
        return found


@asynccontextmanager
async def a_sender(where: str, target: Target) -> AsyncIterator[None]:
    """A process that sends inside the block, and is killed at its end."""
    words = ("-m", "tests.webhooks.book.sender", where, f"http://127.0.0.1:{target.port}/hooks?key=S3CRET")
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"begun\n"
        yield
    finally:
        process.kill()
        await process.wait()


@pytest.mark.slow
async def test_kills_lose_no_change_and_keep_the_order(where: str) -> None:
    """Each change arrives at least once, first in its order, under one id; also what is replayed.

    The target is killed 30 times, and answers 500 or 302, hangs and resets; the sender is killed three times.
    """
    draw = random.Random(11)
    target = Target(draw)
    async with Book.open(where) as book:

        async def nothing_waits() -> bool:
            return not await book._store.read(lambda db: list(db.stream("SELECT 1 FROM book_changes LIMIT 1")))

        async def some_came() -> bool:
            return len(target.arrived) > TASKS

        await target.start()
        steps = [0] * TASKS
        for _ in range(2):
            async with a_sender(where, target):
                for _ in range(KILLS // 2):
                    for place in draw.sample(range(TASKS), TASKS // 5):
                        steps[place] = min(steps[place] + 1, len(WAY))
                        await book.observe(ACCOUNT, after(steps[place], f"T-{place}"))
                    await asyncio.sleep(draw.uniform(0.02, 0.15))
                    await target.kill()
                    await asyncio.sleep(draw.uniform(0, 0.03))
                    await target.start()
        assert target.arrived
        for place in range(TASKS):
            await book.observe(ACCOUNT, after(len(WAY), f"T-{place}"))
        target.well = True
        async with a_sender(where, target):
            await eventually(nothing_waits)
            changes, firsts = set(target.arrived), target.firsts()
            target.arrived.clear()
            numbers = sorted(number for _, _, number in changes)
            assert await book.resend_from(numbers[TASKS]) == len(numbers) - TASKS
            await eventually(some_came)
        async with a_sender(where, target):
            await eventually(nothing_waits)
        await target.kill()
    assert len(changes) == len(set(numbers)) == TASKS * len(WAY)
    assert set(target.arrived) == {change for change in changes if change[2] >= numbers[TASKS]}
    for found in (*firsts.values(), *target.firsts().values()):
        assert found == sorted(found)
    assert {len(found) for found in firsts.values()} == {len(WAY)}
