"""Orders that wait in the ledger until a desk sends them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from gotsurge_async import UsageError
from gotsurge_async.ledger import Ledger, OrderState
from gotsurge_async.ledger.submitted import LEASE, SubmittedOrders
from tests.ledger.kit import TurnedClock, begun, order


def waiting(ledger: Ledger) -> SubmittedOrders:
    """Those of the environment of these tests."""
    return ledger.submitted("simulator")


async def test_the_one_that_waits_longest_is_taken_first(ledger: Ledger, clock: TurnedClock) -> None:
    """At most as many as were asked for, of the account that asks, in the order in which they were submitted."""
    for number in range(5):
        await waiting(ledger).add("", f"T-{number}", b"{%d}" % number)
        clock.turn(1)
    await waiting(ledger).add("other", "T-9", b"{}")
    taken = await waiting(ledger).take("", 3)
    assert [(each.key, each.payload) for each in taken] == [("T-0", b"{0}"), ("T-1", b"{1}"), ("T-2", b"{2}")]
    assert [each.key for each in await waiting(ledger).take("")] == ["T-3", "T-4"]
    assert await waiting(ledger).take("") == []
    assert await ledger.waiting() == {"simulator": (6, 0)}


async def test_a_lease_ends(ledger: Ledger, clock: TurnedClock) -> None:
    """What a desk took and did not send can be taken again after a minute; what was put off, when it is due."""
    await waiting(ledger).add("", "T-1", b"{}")
    (first,) = await waiting(ledger).take("")
    clock.turn(LEASE / 1_000_000)
    (again,) = await waiting(ledger).take("")
    assert again == first
    await waiting(ledger).put_off([again], "no connection", seconds=5)
    assert await waiting(ledger).take("") == []
    clock.turn(5)
    ((third,), tried) = await waiting(ledger).take(""), again.tries + 1
    assert third.tries == tried


async def test_one_order_waits_under_a_key(ledger: Ledger) -> None:
    """The first one stays; one that is stopped gives way."""
    await waiting(ledger).add("", "T-1", b"first")
    second = await waiting(ledger).add("", "T-1", b"second")
    assert second is not None
    assert second.payload == b"first"
    await waiting(ledger).stop(second)
    assert await waiting(ledger).take("") == []
    assert await ledger.waiting() == {"simulator": (0, 1)}
    third = await waiting(ledger).add("", "T-1", b"third")
    assert third is not None
    assert (third.payload, third.stopped) == (b"third", False)
    await waiting(ledger).forget(third)
    assert await waiting(ledger).standing("T-1") == (None, None)


async def test_takers_at_the_same_moment_take_different_ones(ledger: Ledger, where: str, clock: TurnedClock) -> None:
    """Of two desks over one ledger each has its own part."""
    for number in range(30):
        await waiting(ledger).add("", f"T-{number}", b"{}")
    async with await Ledger.open(where, clock=clock) as other:
        parts = await asyncio.gather(*(waiting(each).take("", 10) for each in (ledger, other) for _ in range(2)))
    taken = [each.key for part in parts for each in part]
    assert len(taken) == len(set(taken))


async def test_what_is_claimed_no_longer_waits(ledger: Ledger) -> None:
    """One write claims it and removes it; one that was not sent waits again by the write that withdraws it."""
    run = await begun(ledger)
    await run.admit()
    await run.start()
    submitted = await waiting(ledger).add("", "TRK-1", order(1).payload)
    assert submitted is not None
    (number,) = await run.join([order(1)], {"TRK-1": submitted})
    assert isinstance(number, int)
    waits, recorded = await waiting(ledger).standing("TRK-1")
    assert waits is None
    assert recorded is not None
    assert recorded.row.state is OrderState.SENDING
    await run.release_claim([number])
    assert await run.withdraw([number], "no connection", {number: (submitted, 0)}) == {number}
    waits, recorded = await waiting(ledger).standing("TRK-1")
    assert waits is not None
    assert (waits.payload, waits.tries, waits.at) == (submitted.payload, 1, submitted.at)
    assert recorded is not None
    assert recorded.row.state is OrderState.WITHDRAWN
    await run.close()


async def test_a_key_that_another_order_has_is_not_removed(ledger: Ledger) -> None:
    """The desk compares the two orders first, and then says which outcome the one that waits has."""
    run = await begun(ledger)
    await run.admit()
    await run.start()
    await run.join([order(1)])
    submitted = await waiting(ledger).add("", "TRK-1", b"{}")
    assert submitted is not None
    await run.join([order(1)], {"TRK-1": submitted})
    assert (await waiting(ledger).standing("TRK-1"))[0] == submitted
    await run.close()


# --- in the caller's transaction --------------------------------------------------------------------------------------


@asynccontextmanager
async def by_psycopg(url: str) -> AsyncIterator[Any]:
    """A connection of psycopg whose rows are dicts, as its owner likes them."""
    async with await psycopg.AsyncConnection.connect(url, row_factory=dict_row) as connection:
        yield connection


@asynccontextmanager
async def by_sqlalchemy(url: str) -> AsyncIterator[Any]:
    """A connection of SQLAlchemy."""
    engine = create_async_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


@asynccontextmanager
async def by_session(url: str) -> AsyncIterator[Any]:
    """A session of SQLAlchemy."""
    engine = create_async_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    async with AsyncSession(engine) as session:
        yield session
    await engine.dispose()


@pytest.mark.slow
@pytest.mark.parametrize("connected", [by_psycopg, by_sqlalchemy, by_session])
async def test_it_waits_when_the_callers_transaction_is_committed(url: str, connected: Any) -> None:
    """Before that nobody sees it, and after a rollback it was never there."""
    async with await Ledger.open(url) as ledger, connected(url) as connection:
        await waiting(ledger).add("", "T-1", b"rolled back", connection)
        assert await waiting(ledger).take("") == []
        await connection.rollback()
        assert await ledger.waiting() == {}
        added = await waiting(ledger).add("", "T-1", b"kept", connection)
        assert added is not None
        assert added.payload == b"kept"
        await connection.commit()
        (taken,) = await waiting(ledger).take("")
        assert taken.payload == b"kept"


@pytest.mark.slow
async def test_a_connection_to_another_database_is_refused(url: str) -> None:
    """An order would wait there for ever: it is another ledger, or none."""
    async with await Ledger.open(url) as ledger, by_psycopg(url) as connection:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as admin:
            await admin.execute("UPDATE ledger_meta SET value = value + 1 WHERE name = 'ledger_id'")
        await waiting(ledger).add("", "T-1", b"{}", connection)  # both are of it
        async with await psycopg.AsyncConnection.connect(url) as other:
            await other.execute("CREATE TEMP TABLE ledger_meta (name TEXT, value BIGINT)")
            with pytest.raises(UsageError, match="it is not one to the database of the ledger"):
                await waiting(ledger).add("", "T-2", b"{}", other)


async def test_a_connection_of_another_kind_is_refused(ledger: Ledger, where: str) -> None:
    """A file has no connection to share, and a server one of the two drivers that are known."""
    why = "only a ledger in PostgreSQL" if where.endswith(".db") else "give psycopg's AsyncConnection"
    with pytest.raises(UsageError, match=why):
        await waiting(ledger).add("", "T-1", b"{}", object())
