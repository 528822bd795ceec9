"""A receiver that is killed again and again, beside a service whose events are doubled, late, out of order, and lost.

``CHAOS_TASKS`` says how many tasks live (7 events each), and ``CHAOS_KILLS`` how often the receiver is killed. Whole,
which is 20,000 events: ``CHAOS_TASKS=2858 CHAOS_KILLS=30 CHAOS_READ_RATE=250``.
"""

import asyncio
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.bulk import Ledger, Mode, OrderState, Push
from gotsurge_async.database.leases import LIFE
from gotsurge_async.simulator import Fault, Simulator
from gotsurge_async.testing import simulated
from gotsurge_async.webhooks import Book, EventState, Inbox, read_event
from gotsurge_async.webhooks.follow import AT_ONCE
from tests.cli.afterwards.receiving import Receiving, receiving
from tests.support.orders import order, orders
from tests.support.postgres import free_port
from tests.support.threads import eventually

TASKS = int(os.environ.get("CHAOS_TASKS", "80"))
KILLS = int(os.environ.get("CHAOS_KILLS", "3"))
READ_RATE = float(os.environ.get("CHAOS_READ_RATE", "150"))
SWEEP_AFTER = 6.0
LIVING_SECONDS = 2.0 * KILLS
QUIET_SECONDS = 120.0
"""After the last event the book is equal to the service's data within this time."""
WAY = ("accepted", "pending_pickup", "pickup_arriving", "pending_delivery", "delivery_arriving", "complete")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def faults() -> Iterator[Fault]:
    """What the events meet."""
    yield Fault(operation="webhook", kind="lost", rate=0.05, seed=1)
    yield Fault(operation="webhook", kind="doubled", rate=0.2, seed=2)
    yield Fault(operation="webhook", kind="reordered", rate=0.1, seconds=60, seed=3)
    yield Fault(operation="webhook", kind="delay", rate=0.02, seconds=120, seed=4)


async def live(simulator: Simulator, ids: list[str]) -> None:
    """Move the tasks step by step, those of all mixed."""
    steps = [task_id for task_id in ids for _ in WAY]
    random.Random(5).shuffle(steps)
    ways = {task_id: iter(WAY) for task_id in ids}
    for number, task_id in enumerate(steps):
        simulator.move(task_id, next(ways[task_id]))
        if number % 20 == 0:
            await asyncio.sleep(20 * LIVING_SECONDS / len(steps))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_no_change_is_lost_or_out_of_order(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    """In the end the book says what the service does, and each change was handed on, in the order of its task."""
    port = free_port()
    ledger = tmp_path / "ledger.db" if kind == "sqlite" else request.getfixturevalue("database")
    where = tmp_path / "ledger.book.db" if kind == "sqlite" else ledger
    words = ("--read-rate", str(READ_RATE), "--sweep-after", str(SWEEP_AFTER), "--ledger", str(ledger))
    lives: list[tuple[Receiving, float]] = []
    async with Simulator() as simulator, simulated(simulator=simulator) as gs:
        simulator.run_at(30)  # so that it tries again soon
        for fault in faults():
            simulator.order_fault(fault)
        simulator.set_webhook(f"http://127.0.0.1:{port}/webhooks/token-of-the-command-1")
        ids: list[str] = []
        pool = [order(f"T-{number}", broadcast_preference="marine") for number in range(TASKS)]  # never expires
        for start in range(0, TASKS, 20):
            ids += [task.id for task in (await gs.tasks.create(pool[start : start + 20])).tasks]
        living, began_all = asyncio.create_task(live(simulator, ids)), time.monotonic()
        for number in range(KILLS + 1):
            async with receiving(simulator, tmp_path, *words, port=port) as receiver:
                began = time.monotonic()
                if number < KILLS:
                    # In PostgreSQL every second life is long enough to follow, after the lease of the one before.
                    lease = LIFE if kind == "postgresql" and number % 2 else 0.0
                    await asyncio.sleep(lease + random.Random(number).uniform(0.3, 3.0))
                    receiver.process.kill()
                else:
                    await living
                    quiet = receiver.moment()
                    truth = {each["id"]: [step[0] for step in each["history"]] for each in simulator.tasks()}
                    simulator.clear_faults()
                    await becomes(partial(is_known, where, truth))
                    known = receiver.moment()
                    await becomes(partial(all_was_handed_on, where))
                    handed_on_after = time.monotonic() - quiet.at
                    assert await receiver.end() == 0
            lives.append((receiver, time.monotonic() - began))
        answered = {(each["task_id"], each["status"]) for each in simulator.webhooks() if was_answered(each)}
        reads = simulator.audit()["calls"]["tasks.get"]
    with capfd.disabled():
        events = len(simulator.webhooks())
        print(
            f"\nchaos: {kind}, {events} events of {TASKS} tasks, {KILLS} kills in {quiet.at - began_all:.0f} s, {reads}"
            f" reads; after the last event the book was equal in {known.at - quiet.at:.1f} s"
            f" ({quiet.waited_until(known):.1f} s without a processor), and all was handed on in"
            f" {handed_on_after:.1f} s"
        )
    assert quiet.seconds_until(known) < QUIET_SECONDS
    assert answered <= await kept(where)
    check_handed_on(lives, truth)
    assert reads <= READ_RATE * sum(seconds for _, seconds in lives) + 5 * len(lives)


def was_answered(told: dict[str, Any]) -> bool:
    """Whether one of the tries to send an event was answered 200."""
    return any(each["status"] == 200 for each in told["tries"])


async def becomes(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds, and leave the machine to the receiver meanwhile: to check it takes long."""
    async with asyncio.timeout(5 * QUIET_SECONDS):
        while not await holds():  # noqa: ASYNC110 - another process's rows are no event
            await asyncio.sleep(max(0.05, TASKS / 1000))


async def is_known(where: Path | str, truth: dict[str, list[str]]) -> bool:
    """Whether the book has the history of every task."""
    async with Book.open(where) as book:
        known = {order.task_id: await book.history(order) async for order in book.orders()}
    return {task_id: [str(step.status) for step in steps] for task_id, steps in known.items()} == truth


async def all_was_handed_on(where: Path | str) -> bool:
    """Whether no change waits, and no event does."""
    async with Inbox.open(where, keep=None) as inbox:
        waiting = (await inbox.counts())[EventState.WAITING]
    async with Book.open(where) as book:
        left = await book._store.read(lambda db: list(db.stream("SELECT 1 FROM book_changes LIMIT 1")))
        return not waiting and not left


async def kept(where: Path | str) -> set[tuple[str, str]]:
    """The tasks and statuses of all events that are in the inbox."""
    found: set[tuple[str, str]] = set()
    async with Inbox.open(where, keep=None) as inbox:
        after = 0
        while page := await inbox.oldest(since=datetime(2020, 1, 1, tzinfo=UTC), after=after, limit=1000):
            after = page[-1].id
            for each in page:
                if each.is_without_body:
                    continue
                event = read_event(each.body or b"")
                found.add((event.task_id or "", event.status or ""))
    return found


def check_handed_on(lives: list[tuple[Receiving, float]], truth: dict[str, list[str]]) -> None:
    """Every change was handed on, in the order of its task; twice only what a kill left without acknowledgement."""
    seen: dict[str, list[str]] = defaultdict(list)
    times: Counter[tuple[str, str]] = Counter()
    numbers: dict[tuple[str, str], set[int]] = defaultdict(set)
    for receiver, _ in lives:
        for each in receiver.printed:
            times[each["task_id"], each["status"]] += 1
            numbers[each["task_id"], each["status"]].add(each["number"])
            if each["status"] not in seen[each["task_id"]]:
                seen[each["task_id"]].append(each["status"])
        mine = Counter((each["task_id"], each["status"]) for each in receiver.printed)
        assert max(mine.values(), default=1) == 1, "twice in one life"
    assert dict(seen) == truth
    assert {len(some) for some in numbers.values()} == {1}, "one change with two numbers"
    again = sum(number - 1 for number in times.values())
    assert again <= AT_ONCE * KILLS


async def test_orders_in_doubt_are_settled_and_none_is_doubled(tmp_path: Path) -> None:
    """A direct push with lost answers beside a receiver: whatever order's event came is created, by its own task."""
    async with Simulator() as simulator, simulated(simulator=simulator) as gs:
        simulator.order_fault(Fault(operation="webhook", kind="lost", rate=0.02, seed=1))
        async with receiving(simulator, tmp_path, "--read-rate", "300") as receiver:
            simulator.set_webhook(receiver.hook)
            for when, kind in (("after", "reset"), ("after", "half"), ("after", "garbage"), ("before", "reset")):
                fault = Fault(operation="tasks.create", when=when, kind=kind, rate=0.0125, seed=7)  # type: ignore[arg-type]
                simulator.order_fault(fault)
            async with await Ledger.open(tmp_path / "ledger.db") as ledger:
                push = Push(gs, ledger, mode=Mode.DIRECT, chunk=1, concurrency=8)
                run, _ = await push.load_orders(orders(1000))
                async with run:
                    await push.send(run)
                doubted = {row.key async for row in ledger.rows(run.id, (OrderState.IN_DOUBT,))}
                told = {each["tracking_id"] for each in simulator.webhooks() if each["state"] != "lost"}
                there = {each["tracking_id"] for each in simulator.tasks()}
                assert len(doubted) > 10

                async def settled() -> bool:
                    left = {row.key async for row in ledger.rows(run.id, (OrderState.IN_DOUBT,))}
                    return not left & told

                await eventually(settled, seconds=120)
                left = {row.key async for row in ledger.rows(run.id, (OrderState.IN_DOUBT,))}
                tasks = {row.key: row.task_id async for row in ledger.rows(run.id, (OrderState.CREATED,))}
            assert left <= doubted - told
            for each in simulator.tasks():
                assert tasks.get(each["tracking_id"], each["id"]) == each["id"]
            assert tasks.keys() <= there
        assert simulator.audit()["doubled"] == {}
