"""Our desk: single orders, each remembered by its key; and a table of one's own for the same."""

import asyncio
import os
import sqlite3
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, closing
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from benchmarks import orders
from benchmarks.peers.ours import OneByOne, Stream
from benchmarks.work import in_parallel
from gotsurge_async import Created, Order, codec

if TYPE_CHECKING:
    from gotsurge_async.bulk import Desk


class AtDesk(OneByOne):
    """``desk.create`` by the same callers, with a new ledger on disk: what waits goes out together."""

    reads = "receipts; each order remembered by its key (SQLite, synchronous FULL)"
    desk: "Desk"

    async def open(self) -> None:
        await super().open()
        self._round = AsyncExitStack()

    async def prepare(self) -> None:
        # A service opens its desk once, in months.
        await self._round.aclose()
        folder = self._round.enter_context(TemporaryDirectory(prefix="gotsurge-bench-"))
        self.desk = await self._round.enter_async_context(await self.opened(folder))

    async def close(self) -> None:
        await self._round.aclose()
        await super().close()

    async def opened(self, folder: str) -> "Desk":
        """A desk in a folder."""
        from gotsurge_async.bulk import Desk

        return await Desk.open(self.gs, Path(folder) / "ledger.db", mode="direct", register=False)

    async def send(self, order: Order) -> int:
        return type(await self.desk.create(order)) is Created


class Replayed(AtDesk):
    """``desk.create`` of orders that the ledger knows: nothing is sent."""

    reads = "receipts, from the ledger; nothing is sent"

    async def open(self) -> None:
        await super().open()
        await super().prepare()
        await in_parallel(self._orders, self.send, 256)

    async def prepare(self) -> None:
        """Its rounds have one ledger."""


class PostgresAtDesk(AtDesk):
    """The same with a ledger in the database that GOTSURGE_BENCH_POSTGRESQL names, on this machine."""

    reads = "receipts; each order remembered by its key (PostgreSQL)"

    async def opened(self, folder: str) -> "Desk":
        from gotsurge_async.bulk import Desk

        # In an environment of its own each time: nothing was pushed there.
        where, environment = os.environ["GOTSURGE_BENCH_POSTGRESQL"], f"bench-{time.time_ns()}"
        return await Desk.open(self.gs, where, mode="direct", register=False, environment=environment)


class PostgresReplayed(Replayed, PostgresAtDesk):
    """``desk.create`` of orders that such a ledger knows."""

    reads = "receipts, from the ledger (PostgreSQL); nothing is sent"


class OwnTable(OneByOne):
    """``tasks.create`` with a table of one's own: a row is committed before the call, and its task after it.

    What everybody pays who remembers an order on disk before it leaves. Nothing is settled, shared or checked.
    """

    reads = "whole tasks; each order is a row of a table (SQLite, synchronous FULL)"

    async def open(self) -> None:
        await super().open()
        self._thread = ThreadPoolExecutor(1)
        self._round = ExitStack()

    async def prepare(self) -> None:
        self._round.close()
        folder = self._round.enter_context(TemporaryDirectory(prefix="gotsurge-bench-"))
        db = sqlite3.connect(Path(folder) / "orders.db", isolation_level=None, check_same_thread=False)
        self._db = self._round.enter_context(closing(db))
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE orders (key TEXT PRIMARY KEY, body BLOB, task TEXT) WITHOUT ROWID")

    async def send(self, order: Order) -> int:
        key, body = order.tracking_id, codec.encode(order)
        await self._do("INSERT INTO orders (key, body) VALUES (?, ?)", key, body)
        (task,) = (await self.gs.tasks.create([order])).tasks
        await self._do("UPDATE orders SET task = ? WHERE key = ?", task.id, key)
        return 1

    async def close(self) -> None:
        self._round.close()
        self._thread.shutdown()
        await super().close()

    async def _do(self, statement: str, *values: object) -> list[Any]:
        """Run a statement, which is a transaction of its own."""
        run = partial(self._db.execute, statement, values)
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: run().fetchall())


class OwnTableKnown(OwnTable):
    """The same rows, read by their keys."""

    reads = "the row of the table"

    async def open(self) -> None:
        await super().open()
        await super().prepare()
        await in_parallel(self._orders, super().send, 256)

    async def prepare(self) -> None:
        """Its rounds have one table."""

    async def send(self, order: Order) -> int:
        ((body, task),) = await self._do("SELECT body, task FROM orders WHERE key = ?", order.tracking_id)
        return int(body == codec.encode(order) and task is not None)


class KnownOfFew(Replayed):
    """``desk.create`` of orders that a ledger knows, one of each chunk."""

    times: ClassVar[int] = 20

    async def open(self) -> None:
        await AtDesk.open(self)
        count = self.setting.count
        self._orders = [_small(number * self.times) for number in range(count)]
        folder = self._round.enter_context(TemporaryDirectory(prefix="gotsurge-bench-"))
        await fill(Path(folder) / "ledger.db", count * self.times)
        self.desk = await self._round.enter_async_context(await self.opened(folder))


class KnownOfMany(KnownOfFew):
    """The same with a thousand times as many orders in the ledger."""

    times: ClassVar[int] = 20_000


@cache
def _bare() -> Order:
    """An order of the fields that it must have, and two addresses: ten million of them fit on a disk."""
    whole = orders.dicts(1)[0]
    names = ("from_time_window", "to_time_window", "broadcast_preference", "vehicle_preference", "service_type")
    some = {name: whole[name] for name in (*names, "client_time_utc", "price", "currency")}
    places = {name: {"zip_code": whole[name]["zip_code"]} for name in ("from_address", "to_address")}
    return codec.structure({**some, **places}, Order)


def _small(number: int) -> Order:
    return attrs.evolve(_bare(), tracking_id=f"M-{number:08d}")


async def fill(path: Path, count: int) -> None:
    """Make a ledger in which so many orders were created: loaded as a push loads them, and then answered by SQL."""
    from gotsurge_async.bulk import Ledger
    from gotsurge_async.ledger import NewOrder

    text = codec.encode(_small(0))
    async with await Ledger.open(path) as ledger:
        run = await ledger.begin(environment="local", mode="direct", source="bench")
        for first in range(0, count, 10_000):
            await run.add(
                [
                    NewOrder(number + 1, f"M-{number:08d}", text.replace(b"M-00000000", b"M-%08d" % number, 1))
                    for number in range(first, min(count, first + 10_000))
                ]
            )
        await run.admit()
        await run.close()
    ids = " || ',' || ".join(f"json_quote('task-' || id || '-{place}')" for place in range(20))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN")
        db.execute(f"INSERT INTO results (chunk, part, ids) SELECT id, 0, '[' || {ids} || ']' FROM chunks")  # noqa: S608
        db.execute("UPDATE chunks SET states = replace(states, 'p', 'c'), epoch = epoch + 1, claimed_at = updated_at")
        db.execute("UPDATE runs SET state = 'done', finished_at = created_at")
        db.execute("COMMIT")


class DeskStream(Stream):
    """``desk.push`` of orders that are made one by one, with a new ledger on disk."""

    reads = AtDesk.reads

    async def push(self, some: Iterable[Order]) -> int:
        from gotsurge_async.bulk import Desk

        created = 0
        with TemporaryDirectory(prefix="gotsurge-bench-") as folder:
            async with await Desk.open(self.gs, Path(folder) / "ledger.db", mode="direct", register=False) as desk:
                async for outcome in desk.push(some):
                    created += type(outcome) is Created
        return created
