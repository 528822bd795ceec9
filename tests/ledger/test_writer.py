"""What the ledger makes of the one writer: shared commits, and what happens when the disk fails or is locked."""

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.database import Database, Kind, Postgres, Sqlite
from gotsurge_async.ledger import (
    Counts,
    Ledger,
    LedgerBusy,
    LedgerUnusable,
    NewOrder,
    OrderOutcome,
    OrderState,
)
from tests.ledger.kit import TidyLedger, begun, ids, loaded, order, orders, states


async def test_a_full_disk_stops_the_ledger(path: Path) -> None:
    """A full disk is told with what to do; what was durable stays, nothing half is left, and later writes fail fast."""
    ledger = await Ledger.open(path)
    await ledger.write(lambda db: db.driver.execute("PRAGMA max_page_count = 60").fetchall())
    run = await loaded(ledger, orders(10))
    claimed = await run.claim((await ids(run))[:5])
    more = await begun(ledger)
    big = [NewOrder(line, f"BIG-{line}", b"x" * 50_000) for line in range(10)]
    with pytest.raises(LedgerUnusable, match=r"ledger\.db: the disk is full; free some space") as caught:
        await more.add(big)
    with pytest.raises(LedgerUnusable) as again:
        await run.record([OrderOutcome(claimed[0], OrderState.CREATED)])
    assert str(again.value) == str(caught.value)
    assert again.value is not caught.value
    with pytest.raises(LedgerUnusable):
        await run.claim(claimed)
    assert await run.counts() == Counts(sending=5, pending=5)
    assert (await more.counts()).total == 0
    for held in (run, more):
        await held.close()
    await ledger.close()
    async with await TidyLedger.open(path) as later:
        resumed = await later.hold(run.id)
        assert await resumed.recover() == Counts(in_doubt=5, pending=5)


async def test_another_process_that_keeps_the_file_locked_is_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write waits for another's lock up to a limit, then says so, changes nothing, and succeeds when tried again."""
    monkeypatch.setattr("gotsurge_async.ledger.sql.databases.BUSY_SECONDS", 0.05)
    async with await TidyLedger.open(path) as ledger:
        run = await loaded(ledger, [order(1)])
        everything = await ids(run)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerBusy, match="kept the ledger locked for too long; try again"):
            await run.claim(everything)
        other.execute("ROLLBACK")
        other.close()
        assert await states(ledger, run) == {"TRK-1": "pending"}
        assert await run.claim(everything) == everything


async def test_the_ledgers_marks_share_commits(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen chunks in flight make far fewer commits than marks, and every mark is durable when its call returns."""
    run = await loaded(ledger, orders(640))
    chunks = iter([page async for page in run.pending(20)])

    async def work() -> None:
        for chunk in chunks:
            claimed = await run.claim([each.id for each in chunk])
            await run.record([OrderOutcome(each, OrderState.CREATED) for each in claimed])

    commits: list[str] = []
    kind: Any = Sqlite if ledger.place.kind is Kind.SQLITE else Postgres
    commit = kind.commit

    def counted(db: Database) -> None:
        commits.append(threading.current_thread().name)
        commit(db)

    monkeypatch.setattr(kind, "commit", counted)
    await asyncio.gather(*(work() for _ in range(16)))
    assert 0 < len([name for name in commits if "writer" in name]) <= 16
    assert await run.counts() == Counts(created=640)
