"""Two attacks at the same time on one receiver, for long: real events are answered all along, and the disk is bounded.

A person who has the token posts large forged events, and a stranger holds connections whose headers never end. The
attackers are paced, so that slow tests can run next to them. Time in which other programs had the processors does not
count. ``GOTSURGE_ATTACK_SECONDS`` is the length.
"""

import asyncio
import os
import re
import resource
import signal
import socket
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path

import aiohttp
import attrs
import psutil
import pytest

from gotsurge_async.models.answers import Task
from gotsurge_async.simulator import Simulator
from gotsurge_async.testing import simulated
from gotsurge_async.webhooks.book import Book
from gotsurge_async.webhooks.inbox import Inbox
from gotsurge_async.webhooks.room import UnknownFull
from tests.cli.afterwards.receiving import Moment, Receiving, receiving
from tests.support.orders import orders
from tests.webhooks.kit import event
from tests.webhooks.web.test_connections import HALF

SECONDS = float(os.environ.get("GOTSURGE_ATTACK_SECONDS", "600"))
ACCOUNT = "local/plain"
FILES = 1024
"""What ``ulimit -n`` is for the receiver."""
CONNECTIONS = 1100
WAVE_SECONDS = 120.0
"""The stranger gives up all connections that often, and opens all of them again in one burst."""
TICK = 0.1
AGAIN = 10
"""Connections that he opens again in each tick, of those that were closed."""
FORGED_RATE = 8
REAL_RATE = 2
"""Events a second."""
STEP_EVERY = 10
"""Of so many real events one tells of a new status."""
WAY = ("accepted", "pending_pickup", "pickup_arriving", "pending_delivery", "delivery_arriving", "complete")
HUGE = "x" * (256 * 1024 - 400)
WHOLE = "x" * 3600
"""The largest text with which an unknown event is kept whole."""
RST = struct.pack("ii", 1, 0)

pytestmark = [pytest.mark.attack, pytest.mark.timeout(SECONDS + 300)]


@attrs.define
class Stranger:
    """Holds connections that send a part of their headers."""

    port: int
    opened: int = 0
    _open: set[socket.socket] = attrs.field(factory=set)

    async def attack(self) -> None:
        """Hold many connections until cancelled, and open those again that are closed."""
        try:
            while True:
                until = time.monotonic() + WAVE_SECONDS
                while time.monotonic() < until:
                    some = CONNECTIONS if not self._open else AGAIN
                    for number in range(min(some, CONNECTIONS - len(self._open))):
                        self._connect()
                        if number % 50 == 49:
                            await asyncio.sleep(0)
                    await asyncio.sleep(TICK)
                self._close_all()
        finally:
            self._close_all()

    def _connect(self) -> None:
        connection = socket.socket()
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
        connection.connect_ex(("127.0.0.1", self.port))
        with suppress(OSError):  # it sends nothing at all, then
            connection.send(HALF)
        asyncio.get_running_loop().add_reader(connection, self._receive, connection)
        self._open.add(connection)
        self.opened += 1

    def _receive(self, connection: socket.socket) -> None:
        with suppress(OSError):
            if connection.recv(1000):
                return
        self._close(connection)

    def _close(self, connection: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(connection)
        self._open.discard(connection)
        connection.close()

    def _close_all(self) -> None:
        for connection in tuple(self._open):
            self._close(connection)


@attrs.define
class Forger:
    """Posts events of tasks that do not exist, with the right token."""

    receiver: Receiving
    answers: Counter[str] = attrs.field(factory=Counter)

    async def attack(self) -> None:
        """Post large events until cancelled: eight of ten are forged, one is no event, one is kept whole."""
        for number in count():
            try:
                status = await self._post(forged(number, WHOLE if number % 10 == 1 else HUGE)[number % 10 == 0 :])
            except (OSError, EOFError, ValueError):
                status = "none"
            self.answers[status] += 1
            await asyncio.sleep(1 / FORGED_RATE)

    async def _post(self, body: bytes) -> str:
        _, _, address = self.receiver.hook.partition("//")
        host, _, path = address.partition("/")
        reader, writer = await asyncio.open_connection(*host.split(":"))
        try:
            head = f"POST /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
            return (await reader.readuntil(b"\r\n")).split()[1].decode()
        finally:
            writer.transport.abort()


@attrs.define
class Real:
    """Posts the events of tasks that the book knows, and notes when they were answered, and when they were printed."""

    receiver: Receiving
    simulator: Simulator
    ids: list[str]
    seconds: list[float] = attrs.field(factory=list)
    own_seconds: list[float] = attrs.field(factory=list)
    unanswered: list[str] = attrs.field(factory=list)
    moved: dict[tuple[str, str], Moment] = attrs.field(factory=dict)
    known: dict[tuple[str, str], Moment] = attrs.field(factory=dict)
    _looked: int = 0

    async def post_all(self) -> None:
        """Post at a fixed rate, whether or not the events before are answered."""
        begin = time.monotonic()
        connector = aiohttp.TCPConnector(force_close=True)  # as a sender that comes for the first time
        async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as posts:
            for number in range(int(SECONDS * REAL_RATE)):
                await asyncio.sleep(begin + number / REAL_RATE - time.monotonic())
                posts.create_task(self._post(session, self._next(number)))
                self.look()

    def _next(self, number: int) -> bytes:
        place, is_step = number // STEP_EVERY, number % STEP_EVERY == 0
        task_id = self.ids[place % len(self.ids)]
        status = WAY[place // len(self.ids)]
        if is_step:
            self.simulator.move(task_id, status)
            self.moved[task_id, status] = self.receiver.moment()
        return event(task_id, status, text=str(number))

    async def _post(self, session: aiohttp.ClientSession, body: bytes) -> None:
        began = self.receiver.moment()
        try:
            async with session.post(self.receiver.hook, data=body) as answer:
                if answer.status != 200:
                    self.unanswered.append(str(answer.status))
        except (aiohttp.ClientError, TimeoutError) as error:
            self.unanswered.append(repr(error))
        end = self.receiver.moment()
        self.seconds.append(end.at - began.at)
        self.own_seconds.append(began.seconds_until(end))

    def look(self) -> None:
        """Note the changes that were printed."""
        for change in self.receiver.printed[self._looked :]:
            self.known.setdefault((change["task_id"], change["status"]), self.receiver.moment())
        self._looked = len(self.receiver.printed)


async def fill(path: Path, tasks: list[Task]) -> None:
    """An order book that knows some tasks, and an inbox in which no other event has room."""
    async with Inbox.open(path) as inbox, Book.open(path) as book:
        for task in tasks:
            await book.observe(ACCOUNT, task, source="create")
        numbers = count(10**9)
        while True:
            puts = (inbox.put(ACCOUNT, forged(next(numbers), WHOLE)) for _ in range(500))
            if any(isinstance(each, UnknownFull) for each in await asyncio.gather(*puts, return_exceptions=True)):
                return


def forged(number: int, text: str) -> bytes:
    """An event of a task that does not exist."""
    return event(f"99999999-0000-4000-8000-{number:012}", text=text)


@contextmanager
def files(number: int) -> Iterator[None]:
    """What is started inside may open so many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@asynccontextmanager
async def started(simulator: Simulator, folder: Path) -> AsyncIterator[Receiving]:
    """A receiver that may open few files; the process of the test may open more, until it ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    starting = receiving(simulator, folder)
    with files(FILES):
        receiver = await starting.__aenter__()
    try:
        with files(4096 if hard == resource.RLIM_INFINITY else min(4096, hard)):
            yield receiver
    finally:
        await starting.__aexit__(None, None, None)


@asynccontextmanager
async def running(*attacks: "Stranger | Forger") -> AsyncIterator[None]:
    """The attacks run inside the block; one that fails ends the block."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each.attack()) for each in attacks]
        yield
        for task in tasks:
            task.cancel()


def disk_bytes() -> float:
    """What the page says that the inbox takes of the disk at most."""
    page = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
    (gigabytes,) = re.findall(r"\(([\d.]+) GB on disk with SQLite\)", page)
    return float(gigabytes) * 1e9


async def watch_disk(folder: Path, sizes: list[int]) -> None:
    """Note what the files of the inbox and the book take, until cancelled."""
    while True:
        sizes.append(sum(each.stat().st_size for each in folder.glob("ledger.book.db*")))
        await asyncio.sleep(1)


async def test_both_attacks_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Every real event is answered 200, 99 of 100 within a second; each change is known soon; little is logged."""
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)  # so that the receiver ends, too
    sizes: list[int] = []
    async with Simulator() as simulator, simulated(simulator=simulator) as gs:
        pool = orders(int(SECONDS * REAL_RATE / STEP_EVERY / len(WAY)) + 1)
        tasks = [task for at in range(0, len(pool), 20) for task in (await gs.tasks.create(pool[at : at + 20])).tasks]
        await fill(tmp_path / "ledger.book.db", tasks)
        async with started(simulator, tmp_path) as receiver:
            real, process = Real(receiver, simulator, [task.id for task in tasks]), psutil.Process(receiver.process.pid)
            stranger, forger = Stranger(int(receiver.url.rpartition(":")[2])), Forger(receiver)
            watching = asyncio.create_task(watch_disk(tmp_path, sizes))
            cpu, used, began = time.process_time(), sum(process.cpu_times()[:2]), time.monotonic()
            async with running(stranger, forger):
                await real.post_all()
            lasted = time.monotonic() - began
            cpu, used = time.process_time() - cpu, sum(process.cpu_times()[:2]) - used
            memory = process.memory_info().rss
            async with asyncio.timeout(200):
                while real.moved.keys() - real.known.keys():
                    receiver.spoke.clear()
                    await receiver.spoke.wait()
                    real.look()
            watching.cancel()
            assert await receiver.end() == 0
        said = sum(map(len, receiver.said))
    delays = [moved.seconds_until(real.known[each]) for each, moved in real.moved.items()]
    with capfd.disabled():
        print(
            f"\nattack: {lasted:.0f} s, {len(real.seconds)} real events, {len(real.unanswered)} not answered 200;"
            f" answers: {of(real.seconds)}; without waiting for a processor: {of(real.own_seconds)}; {len(delays)}"
            f" changes known in {max(delays):.1f} s at most; forged {dict(forger.answers)}; {stranger.opened}"
            f" connections; standard error {said} bytes; disk {max(sizes) / 1e6:.0f} MB; receiver {memory / 1e6:.0f}"
            f" MB, {100 * used / lasted:.1f} % of a core; attackers, senders and simulator {100 * cpu / lasted:.1f} %"
        )
    assert not real.unanswered
    assert share(real.own_seconds, 99) < 1.0
    assert max(real.own_seconds) < 5.0
    assert max(delays) < 60.0
    assert said < 1_000_000
    assert max(sizes) < disk_bytes()
    assert forger.answers["200"] + forger.answers["503"] > SECONDS
    assert stranger.opened > 10 * SECONDS


def of(seconds: list[float]) -> str:
    """The middle and the end of some durations."""
    return f"median {share(seconds, 50):.3f} s, 99 % {share(seconds, 99):.3f} s, slowest {max(seconds):.3f} s"


def share(seconds: list[float], percent: int) -> float:
    """The duration within which so many are."""
    return sorted(seconds)[len(seconds) * percent // 100]
