"""Tests of doubles: which tasks of one name are one, as a plain function, and as a book's database finds them."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from gotsurge_async import codec
from gotsurge_async.database import Database
from gotsurge_async.models.tasks import TaskStatus
from gotsurge_async.testing import ManualClock
from gotsurge_async.webhooks.book import Book, BookOrder
from gotsurge_async.webhooks.book.doubles import doubles, find
from tests.webhooks.book.kit import ACCOUNT, at, task, written

WINDOW = {"start_time_utc": written(at(0)), "end_time_utc": written(at(60))}
LATER = {"start_time_utc": written(at(1440)), "end_time_utc": written(at(1500))}


def of(
    number: int, status: str = "broadcasting", key: str | None = None, account: str = ACCOUNT, **more: Any
) -> BookOrder:
    """A task as a book has it; of a push if it has a key."""
    given = {"tracking_id": "A", "invoice_number": "INV", "from_time_window": WINDOW, **more}
    shown = task(f"T-{number}", current=status, **given)
    return BookOrder(
        number=number,
        account=account,
        task_id=shown.id,
        run=None if key is None else "RUN",
        key=key,
        status=TaskStatus(status),
        seen_at=at(0),
        changed_at=at(0),
        due_at=None,
        planned=None,
        body=codec.encode(shown),
    )


@pytest.mark.parametrize(
    ("one", "other", "is_double"),
    [
        ({"key": "A"}, {}, True),
        ({}, {}, True),
        ({"key": "A"}, {"status": "accepted"}, True),
        ({"key": "A"}, {"key": "A"}, True),
        ({"key": "A"}, {"key": "B"}, False),
        ({"key": "A"}, {"tracking_id": "B"}, False),
        ({"key": "A"}, {"tracking_id": None}, True),
        ({"key": "A"}, {"tracking_id": None, "invoice_number": None}, False),
        ({"key": "A"}, {"tracking_id": None, "from_time_window": LATER}, False),
        ({"key": "A"}, {"tracking_id": None, "from_time_window": None}, False),
        ({"key": "A"}, {"from_time_window": LATER}, True),
        ({"key": "A", "status": "complete"}, {"from_time_window": LATER}, False),
        ({"key": "A", "status": "complete"}, {}, True),
        ({"key": "A", "status": "complete"}, {"status": "complete"}, True),
        ({"key": "A"}, {"account": "local/platform"}, True),
        ({}, {"account": "local/platform"}, False),
        ({"key": "A"}, {"account": "production"}, False),
        *(
            ({"key": "A"}, {"status": status}, False)
            for status in ("draft", "pending_broadcast", "cancelled", "expired")
        ),
        ({"key": "A"}, {"status": "moored"}, False),
    ],
)
def test_what_a_double_is(one: dict[str, Any], other: dict[str, Any], is_double: bool) -> None:
    """Two living tasks of one tracking id, or else of one invoice and pickup; of one environment; not of two keys."""
    found = doubles([of(2, **other), of(1, **one)])
    assert [set(each.task_ids) for each in found] == ([{"T-1", "T-2"}] if is_double else [])


def test_three_of_one_name_are_one_double() -> None:
    """The pushed one is told first, with its run and key."""
    (found,) = doubles([of(1), of(2, key="A"), of(3), of(4, tracking_id="B")])
    assert found.task_ids == ("T-2", "T-1", "T-3")
    assert found.name == "A"
    assert found.text().startswith(
        "3 living tasks with the same name: task T-2 (run RUN, key A, broadcasting), task T-1 (of no"
    )


def test_the_same_task_read_by_two_accounts_is_one() -> None:
    """A platform partner reads the tasks of its organizations too."""
    assert doubles([of(1, key="A"), evolve(of(2, account="local/platform"), task_id="T-1")]) == []


async def test_a_book_finds_its_doubles(book: Book, clock: ManualClock) -> None:
    """All, those of some names, and those that a new order belongs to; until one of them is cancelled."""
    windows = {"from_time_window": WINDOW}
    for name in ("A", "B"):
        await book.observe(ACCOUNT, task(f"{name}-1", current="broadcasting", tracking_id=name, **windows))
    await book.observe(ACCOUNT, task("C-1", current="broadcasting", invoice_number="INV", **windows))
    assert await book.doubles() == []
    after = await book.newest()
    second = task("A-2", current="accepted", tracking_id="A", **windows)
    await book.observe(ACCOUNT, second)
    await book.observe(ACCOUNT, task("C-2", current="accepted", invoice_number="INV", **windows))
    ids = [("A-1", "A-2"), ("C-1", "C-2")]
    assert [each.task_ids for each in await book.doubles()] == ids
    assert [each.task_ids for each in await book.doubles(after=after)] == ids
    assert await book.doubles(after=await book.newest()) == []
    assert [each.task_ids for each in await book.doubles([second])] == ids[:1]
    await book.observe(ACCOUNT, task("A-2", current="cancelled", tracking_id="A", **windows))
    assert [each.task_ids for each in await book.doubles()] == ids[1:]


async def test_tasks_that_are_all_at_their_end_are_told_for_a_day(book: Book, clock: ManualClock) -> None:
    """Both were delivered, and somebody should hear of it; not for ever."""
    for number in (1, 2):
        shown = task(f"A-{number}", current="complete", tracking_id="A", from_time_window=WINDOW)
        await book.observe(ACCOUNT, shown)
    assert len(await book.doubles()) == 1
    await clock.advance(25 * 3600)
    assert await book.doubles() == []


async def test_one_without_a_name_is_found_among_many_of_its_invoice(book: Book) -> None:
    """However many orders that tell their tracking ids share the invoice number and the window."""
    shared = {"invoice_number": "INV", "from_time_window": WINDOW}
    many = [task(f"A-{n:03}", current="broadcasting", tracking_id=f"T-{n:03}", **shared) for n in range(150)]
    await asyncio.gather(*(book.observe(ACCOUNT, each) for each in many))
    assert await book.doubles() == []
    await book.observe(ACCOUNT, task("C", current="broadcasting", **shared))
    (found,) = await book.doubles()
    assert set(found.task_ids) == {"C", *(each.id for each in many)}


async def test_a_look_takes_as_long_as_there_are_orders(tmp_path: Path) -> None:
    """Twice as many orders of one invoice take twice the work of the database, and not four times."""
    shared = {"invoice_number": "INV", "from_time_window": WINDOW}
    work = []
    async with Book.open(tmp_path / "book.db") as book:
        for start in (0, 400):
            some = [
                task(f"A-{n}", current="broadcasting", tracking_id=f"T-{n}", **shared)
                for n in range(start, start + 400)
            ]
            await asyncio.gather(*(book.observe(ACCOUNT, each) for each in some))
            work.append(await book._store.read(steps_of_a_look))
    assert work[1] < 3 * work[0]


def steps_of_a_look(db: Database) -> int:
    """Hundreds of steps of SQLite's machine."""
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    db.driver.set_progress_handler(step, 100)
    find(db, at(0))
    db.driver.set_progress_handler(None, 0)
    return steps
