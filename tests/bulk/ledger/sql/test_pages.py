"""The orders of a run, page after page."""

import sqlite3

import pytest
from sqlalchemy import event

from gotsurge_async.bulk.ledger import (
    Ledger,
    NewOrder,
    OrderOutcome,
    OrderState,
)
from tests.bulk.ledger.kit import ids, loaded, order, orders


async def test_results_say_what_became_of_each_order(ledger: Ledger) -> None:
    """Results come by line, in pages, with the row of the source, or the payload where there is none."""
    run = await loaded(ledger, [order(2), NewOrder(3, "k", b"{}", None), order(1)])
    (first, *_) = await ids(run)
    await run.claim([first])
    await run.record([OrderOutcome(first, OrderState.CREATED, "task-1", "broadcasting")])
    pages = [page async for page in ledger.results(run.id, batch=2)]
    assert [len(page) for page in pages] == [2, 1]
    told = [(row.line, row.state, row.task_id, row.status, row.error, row.source) for page in pages for row in page]
    assert told == [
        (1, "created", "task-1", "broadcasting", None, order(1).source_row),
        (2, "pending", None, None, None, order(2).source_row),
        (3, "pending", None, None, None, b"{}"),
    ]
    await run.close()


async def test_large_orders_come_in_small_pages(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page holds fewer orders where they are large, and at least one, and none is left out."""
    monkeypatch.setattr("gotsurge_async.bulk.ledger.sql.pages.FIRST_PAGE", 4)
    monkeypatch.setattr("gotsurge_async.bulk.ledger.sql.pages.PAGE_BYTES", 10_000)
    sizes = [10] * 30 + [4_000] * 30 + [20_000] * 3
    run = await loaded(ledger, [NewOrder(line, f"k{line}", b"x" * size, None) for line, size in enumerate(sizes, 1)])
    pages = [[(each.line, len(each.payload)) for each in page] async for page in run.pending(20)]
    assert [each for page in pages for each in page] == list(enumerate(sizes, 1))
    assert [len(page) for page in pages] == [4, 20, 20, 3, 2, 2, 2, 2, 2, 2, 2, 1, 1]
    await run.close()


async def test_a_page_that_is_too_large_for_the_database_is_cut(ledger: Ledger) -> None:
    """Orders whose page goes beyond what SQLite holds in one value are read in smaller pages."""

    def limit(driver: sqlite3.Connection, _: object) -> None:
        driver.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10_000)

    event.listen(ledger._store._engine, "connect", limit)
    run = await loaded(ledger, [NewOrder(line, f"k{line}", b"x" * 1_000, None) for line in range(1, 51)])
    pages = [[each.line for each in page] async for page in run.pending()]
    assert [line for page in pages for line in page] == list(range(1, 51))
    assert all(len(page) < 10 for page in pages)
    await run.close()


async def test_rows_come_by_line_and_state(ledger: Ledger) -> None:
    """Rows come by line, however they were put in and paged, and only those of the states asked for."""
    lines = [5, 3, 9, 1, 7, 3]
    run = await loaded(ledger, [order(line, f"k{n}") for n, line in enumerate(lines)])
    for batch in (1, 2, 5, 6, 100):
        assert [(row.line, row.key) async for row in run.rows(batch=batch)] == [
            (1, "k3"), (3, "k1"), (3, "k5"), (5, "k0"), (7, "k4"), (9, "k2"),
        ]  # fmt: skip
        assert [len(page) async for page in run.pending(batch)] == [batch] * (6 // batch) + [6 % batch] * (
            6 % batch > 0
        )
    await run.claim((await ids(run))[:2])
    assert [row.key async for row in run.rows({OrderState.SENDING, OrderState.CREATED})] == ["k3", "k1"]
    assert [row.key async for row in run.rows([])] == []
    with pytest.raises(ValueError, match="at least 1"):
        await anext(run.pending(0))
    await run.close()


async def test_pending_passes_over_what_was_claimed(ledger: Ledger) -> None:
    """Orders claimed while the pages are read are not given again, released ones come in the next iteration."""
    run = await loaded(ledger, orders(10))
    seen = []
    async for page in run.pending(4):
        seen += [each.line for each in page]
        claimed = await run.claim([each.id for each in page])
        if len(seen) == 4:
            await run.release_claim(claimed[:1])
    assert seen == list(range(1, 11))
    assert [[each.line for each in page] async for page in run.pending()] == [[1]]
    await run.close()
