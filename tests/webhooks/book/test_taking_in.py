"""Tests of how pushed orders come from the ledger into the book."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gotsurge_async.ledger import Ledger, NewOrder, OrderOutcome, OrderRow, OrderState, Run
from gotsurge_async.money import Money
from gotsurge_async.testing import ManualClock
from gotsurge_async.webhooks.alerts import AlertKind, alerts_in
from gotsurge_async.webhooks.book import Book, BookOrder, Only
from tests.simulator.kit import order
from tests.webhooks.book.kit import after, task


def new(line: int, **changes: Any) -> NewOrder:
    """An order as it is put into a ledger."""
    return NewOrder(line=line, key=f"K-{line}", payload=msgspec.json.encode(order(f"K-{line}", **changes)))


@pytest.fixture
async def ledger(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Ledger]:
    """A ledger, whose clock is the book's."""
    async with await Ledger.open(tmp_path / "ledger.db", clock=clock.now) as opened:
        yield opened


async def begun(ledger: Ledger, orders: list[NewOrder], **options: Any) -> Run:
    """A run with its orders admitted."""
    run = await ledger.begin(environment="local", mode="direct", source="orders.csv", options=options)
    await run.add(orders)
    await run.admit()
    return run


async def record(run: Run, states: dict[int, OrderState]) -> None:
    """Bring pending orders of some lines to a state; created ones get a task."""
    rows = [row async for row in run.rows({OrderState.PENDING}) if row.line in states]
    claimed = set(await run.claim([row.id for row in rows]))
    await run.record(
        [
            OrderOutcome(row.id, state, f"T-{row.line}" if state is OrderState.CREATED else None, "broadcasting")
            for row in rows
            if row.id in claimed
            for state in (states[row.line],)
        ]
    )


async def all_of(book: Book, **only: Any) -> list[BookOrder]:
    """The orders that are asked for."""
    return [each async for each in book.orders(Only(**only))]


async def test_created_orders_come_with_their_run_and_price(book: Book, ledger: Ledger, clock: ManualClock) -> None:
    """Created ones, as they were sent; none that was refused, is in doubt without a task, or waits."""
    run = await begun(ledger, [new(1), new(2), new(3), new(4, price=700_000)])
    async with run:
        created, refused, doubt = OrderState.CREATED, OrderState.REFUSED, OrderState.IN_DOUBT
        await record(run, {1: created, 2: refused, 3: doubt, 4: created})
        await book.not_found("local/plain", "T-1")
        await book.take_in(ledger)
    found = await all_of(book, run=run.id)
    assert [(each.task_id, each.key, each.account) for each in found] == [
        ("T-1", "K-1", "local/plain"),
        ("T-4", "K-4", "local/plain"),
    ]
    assert found[1].planned == Money.of("7.00", "SGD")
    assert found[0].status == "broadcasting"
    assert found[0].due_at == datetime.fromisoformat("2026-01-02T07:00:00Z")
    assert [each.task_id for each in await all_of(book, vessel="example")] == ["T-1", "T-4"]
    assert await book.known([("local/plain", "T-1")]) == {("local/plain", "T-1"): True}
    assert await book.waiting() == []
    await clock.advance(600)
    assert len(await book.due(clock.now())) == 2


async def test_a_read_and_a_push_are_one_order(book: Book, ledger: Ledger) -> None:
    """Whichever comes first: an event may be there before the answer of the create is."""
    run = await begun(ledger, [new(1), new(2)], account="ship-shop")
    account = "local/ship-shop"
    async with run:
        await book.observe(account, after(2, "T-1", price=900_000, currency="SGD"))
        await record(run, {1: OrderState.CREATED, 2: OrderState.CREATED})
        await book.take_in(ledger)
        await book.observe(account, after(3, "T-2", price=900_000, currency="SGD"))
    one, two = await all_of(book)
    assert (one.run, one.status, one.task.price) == (run.id, "accepted", Money.of("9.00", "SGD"))
    assert (two.run, two.status, two.task.price) == (run.id, "pending_pickup", Money.of("9.00", "SGD"))
    assert one.planned == two.planned == Money.of("5.00", "SGD")


async def test_only_what_is_new_is_read(
    book: Book, ledger: Ledger, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks that have not changed for a minute are passed over; what was created or settled since is not."""
    read: list[int] = []
    rows = ledger.rows

    async def counted(*args: Any, **given: Any) -> AsyncIterator[OrderRow]:
        read.append(0)
        async for row in rows(*args, **given):
            read[-1] += 1
            yield row

    monkeypatch.setattr(ledger, "rows", counted)
    first = await begun(ledger, [new(line) for line in range(1, 41)])
    async with first:
        await record(first, dict.fromkeys(range(1, 21), OrderState.CREATED))
        assert await book.take_in(ledger) == 20
        await clock.advance(timedelta(hours=1).total_seconds())
        assert await book.take_in(ledger) == 0  # though the last look was at their time
        assert await book.take_in(ledger) == 0
        assert read == [20, 20, 0]
        await record(first, dict.fromkeys(range(21, 31), OrderState.CREATED))
        assert await book.take_in(ledger) == 10
        assert await book.take_in(ledger, run=first.id) == 0
        assert read[3:] == [10, 10]
    assert len(await all_of(book)) == 30


async def test_what_the_ledger_knows_to_be_further_on_is_taken_in(book: Book, ledger: Ledger) -> None:
    """Once, as a change; what the book knows to be as far or further, or at its end, is left as it is."""
    run = await begun(ledger, [new(line) for line in (1, 2, 3)])
    account = "local/plain"
    async with run:
        await record(run, dict.fromkeys((1, 2, 3), OrderState.CREATED))
        await book.observe(account, task("T-1", None, "draft"))
        await book.observe(account, after(2, "T-2"))
        await book.observe(account, task("T-3", None, "cancelled"))
        before = [change.task_id for change in await book.waiting()]
        await book.take_in(ledger)
        await book.take_in(ledger)
    assert [(each.task_id, each.status) for each in await all_of(book)] == [
        ("T-1", "broadcasting"),
        ("T-2", "accepted"),
        ("T-3", "cancelled"),
    ]
    assert before == ["T-1", "T-2", "T-3"]
    (first, *_) = await all_of(book, name="T-1")
    assert [step.status for step in await book.history(first)] == ["draft", "broadcasting"]


@pytest.mark.parametrize("end", ["expired", "cancelled", "complete"])
async def test_an_order_that_ended_before_it_is_added_is_handed_on(
    book: Book, ledger: Ledger, clock: ManualClock, end: str
) -> None:
    """Its end is a change, once, and a failure has an alert: an order in doubt may be settled only then."""
    run = await begun(ledger, [new(1)])
    async with run:
        (row,) = [row async for row in run.rows({OrderState.PENDING})]
        await run.claim([row.id])
        await run.record([OrderOutcome(row.id, OrderState.CREATED, "T-1", end)])
    assert await book.take_in(ledger) == 1
    assert await book.take_in(ledger) == 0
    (change,) = await book.waiting()
    assert (change.status, change.previous, change.source, change.task.tracking_id) == (end, None, "ledger", "K-1")
    (order,) = await all_of(book)
    assert (order.status, order.run, order.key) == (end, run.id, "K-1")
    kinds = [alert.kind async for alert in alerts_in(book, clock.now())]
    assert kinds == ([AlertKind.FAILED] if end == "expired" else [])
