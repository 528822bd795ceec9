"""Our own client."""

import asyncio
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

import attrs

from benchmarks import orders, server
from benchmarks.work import Setting, Work, chunks, in_parallel
from gotsurge_async import Created, GotSurge, Limits, NotSent, Order, OutcomeUnknown, Timeouts

if TYPE_CHECKING:
    from gotsurge_async.bulk import Ledger


class Ours(Work):
    """A client that is signed in by a token."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.gs: GotSurge

    async def open(self) -> None:
        self.gs = await client(self.setting).open()

    async def close(self) -> None:
        await self.gs.close()


def client(setting: Setting) -> GotSurge:
    """A client for the server of a setting."""
    limits = Limits(concurrency=setting.concurrency)
    # Kept as long as those of the other peers: under valgrind a quarter of a second is nothing.
    kept = Timeouts(keepalive=15)
    return GotSurge("local", api_base=setting.api_base, bearer_token=server.BEARER, limits=limits, timeouts=kept)


class Push(Ours):
    """``gs.push``: receipts, each with its task's raw bytes."""

    reads = "receipts (id, tracking id, status), each task's bytes kept; matched to each order"

    async def open(self) -> None:
        await super().open()
        self._orders = orders.models(self.setting.count)

    async def run(self) -> int:
        created = 0
        async for result in self.gs.push(self._orders):
            if type(result) is Created and result.receipt.id:
                created += 1
        return created


class SixteenPush(Push):
    """The same with never more than 16 calls in flight."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(attrs.evolve(setting, concurrency=16))


class UvloopPush(Push):
    """The same on the event loop of uvloop."""

    loop = "uvloop"


class LedgerPush(Push):
    """``bulk.Push`` with a new ledger on disk: loaded, admitted, claimed, sent, recorded."""

    reads = "receipts; every state of every order durable (SQLite, synchronous FULL)"

    async def run(self) -> int:
        return await durable_push(self.gs, self._orders)


class UvloopLedgerPush(LedgerPush):
    """The same on the event loop of uvloop."""

    loop = "uvloop"


async def durable_push(gs: GotSurge, some: Iterable[Order]) -> int:
    """Push through a new ledger in a folder of its own; gives how many were created."""
    from gotsurge_async.bulk import Ledger

    with TemporaryDirectory(prefix="gotsurge-bench-") as folder:
        async with await Ledger.open(Path(folder) / "ledger.db") as ledger:
            return await _pushed(gs, ledger, some)


async def _pushed(gs: GotSurge, ledger: "Ledger", some: Iterable[Order], environment: str | None = None) -> int:
    from gotsurge_async.bulk import Push as DurablePush

    push = DurablePush(gs, ledger, environment=environment, register=False)  # each run has a ledger of its own
    run, _ = await push.load_orders(some)
    async with run:
        await push.send(run)
        return (await run.counts()).created


class PostgresLedgerPush(Push):
    """The same with a ledger in the database that GOTSURGE_BENCH_POSTGRESQL names, on this machine."""

    reads = "receipts; every state of every order durable (PostgreSQL)"
    asks_server: ClassVar[bool] = True

    async def run(self) -> int:
        from gotsurge_async.bulk import Ledger

        before = _cpu_of_postgresql() if self.asks_server else 0.0
        async with await Ledger.open(self.place()) as ledger:
            # In an environment of its own each time: nothing was pushed there.
            created = await _pushed(self.gs, ledger, self._orders, f"bench-{time.time_ns()}")
            # While its backends live: what they used is gone with them.
            if self.asks_server:
                self.facts = {"postgresql_us": round((_cpu_of_postgresql() - before) / self.setting.count * 1e6, 1)}
        return created

    def place(self) -> str:
        """The database of a round."""
        return os.environ["GOTSURGE_BENCH_POSTGRESQL"]


class NewPostgresLedgerPush(PostgresLedgerPush):
    """The same with a new database for each round, as others have a new file; the server's CPU time is not asked for.

    A push checks the orders of its ledger first.
    """

    asks_server = False

    def place(self) -> str:
        import psycopg

        url, name = super().place(), f"bench_{time.time_ns()}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return urlsplit(url)._replace(path=f"/{name}").geturl()


def _cpu_of_postgresql() -> float:
    """Seconds that all processes of PostgreSQL on this machine have used."""
    import psutil

    used = 0.0
    for process in psutil.process_iter(["name", "cpu_times"]):
        if process.info["name"] == "postgres" and process.info["cpu_times"]:
            used += process.info["cpu_times"].user + process.info["cpu_times"].system
    return used


class Create(Ours):
    """``gs.tasks.create``: the answer as whole objects."""

    reads = "whole tasks as objects, unknown fields kept"

    async def open(self) -> None:
        await super().open()
        self._chunks = chunks(orders.models(self.setting.count))

    async def run(self) -> int:
        return await in_parallel(self._chunks, self._send, self.setting.concurrency)

    async def _send(self, chunk: Sequence[Order]) -> int:
        created = await self.gs.tasks.create(chunk)
        tasks = {task.tracking_id: task for task in created.tasks}
        assert all(tasks[order.tracking_id].extra for order in chunk)
        return len(created.tasks)


class OneByOne(Ours):
    """``gs.tasks.create`` of one order a call, by as many callers as calls may be in flight."""

    reads = "whole tasks as objects, one order a call; nothing kept"

    async def open(self) -> None:
        await super().open()
        self._orders = orders.models(self.setting.count)

    async def run(self) -> int:
        self.latencies = []
        return await in_parallel(self._orders, self._timed, self.setting.concurrency)

    async def _timed(self, order: Order) -> int:
        started = time.perf_counter()
        done = await self.send(order)
        self.latencies.append(time.perf_counter() - started)
        return done

    async def send(self, order: Order) -> int:
        """Create one order; gives 1."""
        return len((await self.gs.tasks.create([order])).tasks)


class Get(Ours):
    """One small task after another."""

    reads = "the task as an object, unknown fields kept"

    async def run(self) -> int:
        self.latencies = []
        for _ in range(self.setting.count):
            started = time.perf_counter()
            assert (await self.gs.tasks.get("one")).id
            self.latencies.append(time.perf_counter() - started)
        return self.setting.count


class Pages(Ours):
    """``gs.platform.tasks.list``."""

    reads = "whole tasks as objects, unknown fields kept"

    async def run(self) -> int:
        read = 0
        for _ in range(self.setting.count // (server.PAGE * server.PAGES)):
            async for task in self.gs.platform.tasks.list(per_page=server.PAGE):
                assert task.extra
                read += 1
        return read


class Heartbeat(Ours):
    """The push of orders that are made one by one, beside a task that wants to be woken every few milliseconds.

    Made one by one, because a hundred thousand orders that are kept cost pauses of their own: those of the garbage
    collector, which looks at every one of them.
    """

    EVERY = 0.005
    reads = Push.reads

    async def run(self) -> int:
        late: list[float] = []
        beat = asyncio.create_task(self._beat(late))
        try:
            return await self.push(orders.endless_models(self.setting.count))
        finally:
            beat.cancel()
            self.facts = _heartbeat(late)

    async def push(self, some: Iterable[Order]) -> int:
        """What is done meanwhile."""
        created = 0
        async for result in self.gs.push(some):
            created += type(result) is Created
        return created

    async def _beat(self, late: list[float]) -> None:
        clock = time.perf_counter
        while True:
            asked = clock()
            await asyncio.sleep(self.EVERY)
            late.append(max(0.0, clock() - asked - self.EVERY))


class LedgerHeartbeat(Heartbeat):
    """The same through a ledger."""

    reads = LedgerPush.reads

    async def push(self, some: Iterable[Order]) -> int:
        return await durable_push(self.gs, some)


def _heartbeat(late: list[float]) -> dict[str, float]:
    late.sort()
    return {
        "beats": len(late),
        "within_50_ms": sum(1 for seconds in late if seconds <= 0.05) / len(late) if late else 1.0,
        **{
            name: late[min(int(len(late) * part), len(late) - 1)] * 1000 if late else 0.0
            for name, part in (("median_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999), ("worst_ms", 1.0))
        },
    }


class Stream(Ours):
    """The push of orders that are made one by one, with the process's memory over time."""

    reads = Push.reads

    async def run(self) -> int:
        sampler = asyncio.create_task(self._sample())
        try:
            return await self.push(orders.endless_models(self.setting.count))
        finally:
            sampler.cancel()
            self.facts["memory"].append([time.perf_counter() - self._started, resident()])

    async def push(self, some: Iterable[Order]) -> int:
        """Push a stream of orders."""
        created = 0
        async for result in self.gs.push(some):
            created += type(result) is Created
        return created

    async def _sample(self) -> None:
        self._started = time.perf_counter()
        self.facts = {"memory": []}
        while True:
            self.facts["memory"].append([time.perf_counter() - self._started, resident()])
            await asyncio.sleep(0.2)


class LedgerStream(Stream):
    """The same through a ledger."""

    reads = LedgerPush.reads

    async def push(self, some: Iterable[Order]) -> int:
        return await durable_push(self.gs, some)


class Soak(Ours):
    """Reads of two accounts of one client, and beside them calls to a server that drips; what they hold on to."""

    reads = "each task as an object"

    async def open(self) -> None:
        await super().open()
        await self.gs.adopt("another", await self.gs.tokens.current())
        self._dripping = await asyncio.start_server(drip, "127.0.0.1", 0)
        base = "http://{}:{}".format(*self._dripping.sockets[0].getsockname())
        self._dripped = await GotSurge("local", api_base=base, bearer_token=server.BEARER, timeouts=0.2, retry=1).open()

    async def run(self) -> int:
        self.facts = {"samples": []}
        calls = range(self.setting.count)
        accounts = (self.gs, self.gs.as_account("another"))
        tenth = max(1, self.setting.count // 10)

        async def read(number: int) -> int:
            if number % tenth == 0:
                self._sample(number)
            return 1 if (await accounts[number % 2].tasks.get("one")).id else 0

        beside = asyncio.create_task(self._wait_for_drops())
        try:
            return await in_parallel(calls, read, self.setting.concurrency)
        finally:
            beside.cancel()
            await asyncio.wait([beside])
            self._sample(self.setting.count)

    async def _wait_for_drops(self) -> None:
        while True:
            with suppress(NotSent, OutcomeUnknown):
                await self._dripped.tasks.get("one")

    def _sample(self, calls: int) -> None:
        import psutil

        tasks = len(asyncio.all_tasks())
        self.facts["samples"].append([calls, resident(), tasks, psutil.Process().num_fds()])

    async def close(self) -> None:
        await self._dripped.close()
        self._dripping.close()
        await super().close()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a byte at a time, and never to the end."""
    with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not reader.at_eof():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)
    writer.close()


def resident() -> int:
    """Bytes of memory that this process has in use now."""
    import psutil

    return int(psutil.Process().memory_info().rss)
