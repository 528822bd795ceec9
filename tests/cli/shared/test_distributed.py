"""The watching of a run that workers send."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, cast

import attrs
import pytest

from gotsurge_async.bulk import Ledger, OrderState, Sent
from gotsurge_async.cli.shared import distributed
from gotsurge_async.cli.shared.distributed import Watch
from gotsurge_async.cli.shared.exits import Interrupts
from gotsurge_async.ledger import LedgerOlder, OrderOutcome
from gotsurge_async.ledger.states import Counts
from tests.ledger.kit import loaded, orders
from tests.support.postgres import Server

if TYPE_CHECKING:
    from gotsurge_async.cli.shared.progress import Progress

pytestmark = pytest.mark.slow


@attrs.frozen
class Seen:
    """A progress that tells when it has begun, and when something was created."""

    begun: asyncio.Event = attrs.field(factory=asyncio.Event)
    created: asyncio.Event = attrs.field(factory=asyncio.Event)
    looks: asyncio.Semaphore = attrs.field(factory=lambda: asyncio.Semaphore(0))

    def show(self, counts: Counts) -> None:
        """Take in where a run stands."""
        self.begun.set()
        self.looks.release()
        if counts[OrderState.CREATED]:
            self.created.set()


async def test_who_watches_knows_an_older_copy(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that sends nothing itself refuses a copy that was made before what it saw others send."""
    pushing, sending = (str(tmp_path / name) for name in ("pushing", "sending"))
    monkeypatch.setenv("XDG_DATA_HOME", pushing)
    url = postgres.create("watched")
    async with await Ledger.open(url) as ledger:
        run = await loaded(ledger, orders(20))
        await ledger.segments.put_up(run, brakes={}, enqueue=lambda *_: None)
    postgres.create("copy", "TEMPLATE watched")

    seen = Seen()
    watch = Watch(ledger.place, run.id, cast("Progress", seen), lambda _: None, Interrupts(lambda _: None))
    watching = asyncio.create_task(watch.to_the_end())
    await seen.begun.wait()
    monkeypatch.setenv("XDG_DATA_HOME", sending)
    async with await Ledger.open(url) as elsewhere:
        segment = await elsewhere.segments.take(run.id, 0, worker="one", lease=60)
        assert segment is not None
        await segment.start()
        await segment.recover()
        waiting = [order.id async for page in segment.pending() for order in page]
        claimed = await segment.claim(waiting)
        await segment.record([OrderOutcome(order, OrderState.CREATED, f"task-{order}") for order in claimed])
        await seen.created.wait()
        await segment.close()
    watching.cancel()
    await asyncio.wait([watching])

    monkeypatch.setenv("XDG_DATA_HOME", pushing)
    postgres.ask("ALTER DATABASE watched RENAME TO newer")
    postgres.ask("ALTER DATABASE copy RENAME TO watched")
    with pytest.raises(LedgerOlder):
        await Ledger.open(url)


@pytest.mark.parametrize(("taken_over", "messages"), [(False, ["20 orders wait for a worker"]), (True, [])])
async def test_orders_wait_for_a_worker_only_where_there_are_some(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken_over: bool, messages: list[str]
) -> None:
    """That there is no worker is said once; a run whose orders all went into another one is over instead."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(distributed, "ALONE_SECONDS", 0.0)
    said: list[str] = []
    async with await Ledger.open(postgres.create(f"alone_{taken_over}".lower())) as ledger:
        run = await loaded(ledger, orders(20))
        await ledger.segments.put_up(run, brakes={}, enqueue=lambda *_: None)
        if taken_over:
            await (await loaded(ledger, orders(20))).close()
    seen = Seen()
    watch = Watch(ledger.place, run.id, cast("Progress", seen), said.append, Interrupts(lambda _: None))
    watching = asyncio.create_task(watch.to_the_end())
    if taken_over:
        assert await watching == Sent()
    else:
        for _ in range(3):
            await seen.looks.acquire()
        watching.cancel()
        await asyncio.wait([watching])
    assert [text.partition(":")[0] for text in said] == messages
