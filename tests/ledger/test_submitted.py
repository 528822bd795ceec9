"""Orders that wait in the ledger until a desk sends them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from msgspec import structs
from psycopg.rows import dict_row
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from gotsurge_async import UsageError
from gotsurge_async.ledger import (
    OTHER_CONTENT,
    Ledger,
    LedgerBusy,
    LedgerError,
    OrderOutcome,
    OrderState,
    Run,
    Submitted,
)
from gotsurge_async.ledger.sql.store import Backend, place
from gotsurge_async.ledger.submitted import LEASE, SubmittedOrders
from tests.ledger.kit import TurnedClock, begun, ids, loaded, order
from tests.support.postgres import Server


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
    await waiting(ledger).put_off([again], 5, failed=True)
    assert await waiting(ledger).take("") == []
    clock.turn(5)
    (third,) = await waiting(ledger).take("")
    assert third.tries == again.tries + 1


async def test_a_clock_that_was_ahead_delays_no_order(ledger: Ledger, clock: TurnedClock) -> None:
    """An order that was put off by a wrong clock is due when the clock is right, not when it shows that time again."""
    clock.turn(86_400)
    await waiting(ledger).add("", "T-1", b"{}")
    (taken,) = await waiting(ledger).take("")
    await waiting(ledger).put_off([taken], 5, failed=True)
    clock.turn(-86_400)
    assert [each.key for each in await waiting(ledger).take("")] == ["T-1"]
    assert await waiting(ledger).take("") == []


async def added(ledger: Ledger, key: str, payload: bytes) -> Submitted:
    """The order that waits after one was added."""
    order_, _ = await waiting(ledger).add("", key, payload)
    assert order_ is not None
    return order_


async def test_one_order_waits_under_a_key(ledger: Ledger) -> None:
    """The first one stays; one that is stopped gives way, and nothing that is said of it concerns the new one."""
    await waiting(ledger).add("", "T-1", b"first")
    second = await added(ledger, "T-1", b"second")
    assert second.payload == b"first"
    await waiting(ledger).stop(second, OTHER_CONTENT)
    assert await waiting(ledger).take("") == []
    assert await ledger.waiting() == {"simulator": (0, 1)}
    third = await added(ledger, "T-1", b"third")
    assert (third.payload, third.stopped) == (b"third", 0)
    await waiting(ledger).forget(second)
    await waiting(ledger).stop(second, OTHER_CONTENT)
    assert (await waiting(ledger).standing("T-1"))[0] == third
    await waiting(ledger).forget(third)
    assert await waiting(ledger).standing("T-1") == (None, None)


async def test_takers_at_the_same_moment_take_different_ones(ledger: Ledger, where: str, clock: TurnedClock) -> None:
    """Of two desks over one ledger each has its own part."""
    for number in range(30):
        await waiting(ledger).add("", f"T-{number}", b"{}")
    async with await Ledger.open(where, clock=clock) as other:
        parts = await asyncio.gather(*(waiting(each).take("", 10) for each in (ledger, other) for _ in range(2)))
    taken = [each.key for part in parts for each in part]
    assert 20 <= len(taken) == len(set(taken))


async def test_an_error_says_that_nothing_was_sent(path: Path) -> None:
    """A submission that was not begun, a read, and an opening send nothing, whatever fails."""
    async with await Ledger.open(path) as ledger:
        pass
    nowhere = place("postgresql://127.0.0.1:1/nowhere")
    calls = (
        waiting(ledger).add("", "T-1", b"{}"),
        waiting(ledger).standing("T-1"),
        Ledger.open(nowhere),
        asyncio.to_thread(Backend(nowhere).is_there),
    )
    for call in calls:
        with pytest.raises(LedgerError) as caught:
            await call
        assert caught.value.sent == "nothing"


async def sending(ledger: Ledger) -> Run:
    """An empty run that is being sent."""
    run = await begun(ledger)
    await run.admit()
    await run.start()
    return run


async def test_what_is_claimed_no_longer_waits(ledger: Ledger) -> None:
    """One write claims it in both places; one that was not sent waits again by the write that withdraws it."""
    run = await sending(ledger)
    submitted = await added(ledger, "TRK-1", order(1).payload)
    (number,) = await run.join([order(1)], {"TRK-1": submitted.number})
    assert isinstance(number, int)
    waits, recorded = await waiting(ledger).standing("TRK-1")
    assert waits == structs.replace(submitted, claimed=number)
    assert recorded is not None
    assert recorded.row.state is OrderState.SENDING
    assert await run.join([order(2, "TRK-1")], {"TRK-1": submitted.number}) == [None]  # by a desk that was late
    await run.release_claim([number])
    assert await run.withdraw([number], "no connection") == {number}
    waits, recorded = await waiting(ledger).standing("TRK-1")
    assert waits == submitted
    assert recorded is not None
    assert recorded.row.state is OrderState.WITHDRAWN


async def test_what_another_order_has_created_is_claimed_too(ledger: Ledger) -> None:
    """If the content is the same: whatever becomes of that order, this one is not sent."""
    run = await sending(ledger)
    (number,) = await run.join([order(1)])
    assert isinstance(number, int)
    submitted = await added(ledger, "TRK-1", order(1).payload)
    other = await added(ledger, "TRK-2", b"{}")
    await run.join([order(1)], {"TRK-1": submitted.number})
    assert (await waiting(ledger).standing("TRK-1"))[0] == submitted  # it is on its way, and may fail
    await run.record([OrderOutcome(number, OrderState.CREATED, "task-1")])
    await run.join([order(1)], {"TRK-1": submitted.number, "TRK-2": other.number})
    assert (await waiting(ledger).standing("TRK-1"))[0] == structs.replace(submitted, claimed=number)
    assert (await waiting(ledger).standing("TRK-2"))[0] == other
    waits, recorded = await waiting(ledger).add("", "TRK-1", b"{}")
    assert (waits, recorded and recorded.row.task_id) == (structs.replace(submitted, claimed=number), "task-1")


async def refused(ledger: Ledger) -> tuple[Run, Submitted]:
    """A submitted order, TRK-1, that the service refused, and its run; no desk has noted that."""
    run = await sending(ledger)
    submitted = await added(ledger, "TRK-1", order(1).payload)
    (number,) = await run.join([order(1)], {"TRK-1": submitted.number})
    assert isinstance(number, int)
    await run.record([OrderOutcome(number, OrderState.REFUSED, error="no such street")])
    return run, structs.replace(submitted, claimed=number)


async def test_what_has_its_outcome_does_not_wait_again(ledger: Ledger) -> None:
    """Another order with its key is withdrawn, or waits in a run that no process has: the refusal is the outcome."""
    run, submitted = await refused(ledger)
    (other,) = await run.join([order(2, "TRK-1")])
    assert isinstance(other, int)
    await run.release_claim([other])
    assert await run.withdraw([other], "no connection") == {other}
    for _ in range(2):
        waits, recorded = await waiting(ledger).standing("TRK-1")
        assert waits == submitted
        assert recorded is not None
        assert (recorded.row.id, recorded.row.state) == (submitted.claimed, OrderState.REFUSED)
        stopped = await loaded(ledger, [order(3, "TRK-1")])
        await stopped.close()
        await waiting(ledger).unclaim(submitted)


async def left(ledger: Ledger) -> tuple[Run, Submitted]:
    """A run that ended before it sent its submitted order, TRK-1, and that."""
    run = await sending(ledger)
    submitted = await added(ledger, "TRK-1", order(1).payload)
    (number,) = await run.join([order(1)], {"TRK-1": submitted.number})
    assert isinstance(number, int)
    await run.release_claim([number])
    await run.close()
    return run, structs.replace(submitted, claimed=number)


async def test_what_another_run_takes_over_has_the_outcome_there(ledger: Ledger) -> None:
    """Its run ended before it sent it: an order that takes the key over acts for it, until that has an outcome."""
    _, submitted = await left(ledger)
    run = await loaded(ledger, [order(1)])
    await run.start()
    (taking,) = await run.claim(await ids(run))
    waits, recorded = await waiting(ledger).standing("TRK-1")
    assert recorded is not None
    assert (waits, recorded.row.id) == (structs.replace(submitted, claimed=taking), taking)
    await run.record([OrderOutcome(taking, OrderState.REFUSED, error="no such street")])
    (other,) = await run.join([order(2, "TRK-1")])
    assert isinstance(other, int)
    await run.withdraw_claimed([other], "no connection")
    assert (await waiting(ledger).standing("TRK-1"))[0] == waits


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
async def by_itself(url: str) -> AsyncIterator[Any]:
    """A connection of psycopg that commits each statement."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        yield connection


@asynccontextmanager
async def by_pipeline(url: str) -> AsyncIterator[Any]:
    """A connection of psycopg in pipeline mode, whose cursors take values by number."""
    connecting = psycopg.AsyncConnection.connect(url, cursor_factory=psycopg.AsyncRawCursor)
    async with await connecting as connection, connection.pipeline():
        yield connection


@asynccontextmanager
async def by_session(url: str) -> AsyncIterator[Any]:
    """A session of SQLAlchemy."""
    engine = create_async_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    async with AsyncSession(engine) as session:
        yield session
    await engine.dispose()


@pytest.mark.slow
@pytest.mark.parametrize("connected", [by_psycopg, by_pipeline, by_sqlalchemy, by_session])
async def test_it_waits_when_the_callers_transaction_is_committed(url: str, connected: Any) -> None:
    """Before that nobody sees it, and after a rollback it was never there."""
    async with await Ledger.open(url) as ledger, connected(url) as connection:
        await waiting(ledger).add("", "T-1", b"rolled back", connection)
        assert await waiting(ledger).take("") == []
        await connection.rollback()
        assert await ledger.waiting() == {}
        kept, _ = await waiting(ledger).add("", "T-1", b"kept", connection)
        assert kept is not None
        assert kept.payload == b"kept"
        await connection.commit()
        (taken,) = await waiting(ledger).take("")
        assert taken.payload == b"kept"


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A submission waits for a shorter time for another transaction."""
    monkeypatch.setattr("gotsurge_async.ledger.submitted.PATIENCE", 0.5)


@pytest.mark.slow
async def test_an_open_transaction_keeps_nobody_waiting_for_long(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same key from elsewhere is busy after a while; the ledger's writer never waits for it meanwhile."""
    waits_for = partial(monkeypatch.setattr, "gotsurge_async.ledger.submitted.PATIENCE")
    async with await Ledger.open(url) as ledger, by_psycopg(url) as connection:
        taken = await added(ledger, "T-0", b"{}")
        await waiting(ledger).add("", "T-0", b"{}", connection)
        await waiting(ledger).put_off([taken], 5)
        await waiting(ledger).add("", "T-1", b"{}", connection)
        waits_for(600)
        late = [asyncio.create_task(waiting(ledger).add("", "T-1", b"{}")) for _ in range(20)]
        await asyncio.sleep(0)
        await added(ledger, "T-2", b"{}")
        assert not any(each.done() for each in late)
        waits_for(0.1)
        same = [waiting(ledger).add("", "T-1", b"{}") for _ in range(20)]
        errors = await asyncio.gather(*same, return_exceptions=True)
        assert {(type(error), getattr(error, "sent", "")) for error in errors} == {(LedgerBusy, "nothing")}
        assert not any(each.done() for each in late)
        await connection.rollback()
        assert {standing is not None for standing, _ in await asyncio.gather(*late)} == {True}


@pytest.mark.slow
@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("connected", [by_psycopg, by_itself, by_pipeline, by_sqlalchemy, by_session])
async def test_a_second_transaction_is_refused_after_a_while(url: str, connected: Any) -> None:
    """It waits no longer than the ledger says, whatever its own limit is, which it has again afterwards."""
    async with await Ledger.open(url) as ledger, by_psycopg(url) as first, connected(url) as second:
        await asyncio.gather(*(waiting(ledger).add("", f"T-{number}", b"{}", first) for number in range(3)))
        assert await (await first.execute("SHOW lock_timeout")).fetchone() == {"lock_timeout": "0"}
        with pytest.raises(LedgerBusy, match="another transaction submitted the key T-1"):
            async with asyncio.timeout(60):
                await waiting(ledger).add("", "T-1", b"{}", second)
        await second.rollback()
        await first.commit()
        assert (await waiting(ledger).add("", "T-1", b"{}", second))[0] is not None


@pytest.mark.slow
async def test_a_rollback_leaves_what_was_stopped(url: str) -> None:
    """An order gives way when the transaction of another one is committed; until then its desk is not held up."""
    async with await Ledger.open(url) as ledger, by_psycopg(url) as connection:
        stopped = await added(ledger, "T-1", b"first")
        await waiting(ledger).stop(stopped, OTHER_CONTENT)
        new, _ = await waiting(ledger).add("", "T-1", b"second", connection)
        assert new is not None
        assert new.payload == b"second"
        await waiting(ledger).forget(stopped)
        await waiting(ledger).put_off([stopped], 5)
        await connection.rollback()
        kept, _ = await waiting(ledger).standing("T-1")
        assert kept == structs.replace(stopped, stopped=OTHER_CONTENT)
        await waiting(ledger).add("", "T-1", b"second", connection)
        await connection.commit()
        (taken,) = await waiting(ledger).take("")
        assert taken.payload == b"second"


@pytest.mark.slow
async def test_an_open_transaction_does_not_hold_up_another_order_with_the_key(url: str) -> None:
    """It replaces a submitted order that was refused; an order that a caller created is withdrawn meanwhile."""
    async with await Ledger.open(url) as ledger, by_psycopg(url) as connection:
        run, _ = await refused(ledger)
        await waiting(ledger).add("", "TRK-1", b"{}", connection)
        (other,) = await run.join([order(2, "TRK-1")])
        assert isinstance(other, int)
        async with asyncio.timeout(20):
            await run.withdraw_claimed([other], "no connection")
        await connection.commit()
        waits, _ = await waiting(ledger).standing("TRK-1")
        assert waits is not None
        assert (waits.payload, waits.claimed) == (b"{}", 0)
        await run.close()


@pytest.mark.slow
@pytest.mark.parametrize("is_withdrawn", [True, False])
async def test_an_open_transaction_does_not_hold_up_an_admission(url: str, is_withdrawn: bool) -> None:
    """It replaces a submitted order that waits in an undone run: rolled back, that waits again if it was not sent."""
    async with await Ledger.open(url) as ledger, by_psycopg(url) as connection:
        first, submitted = await left(ledger)
        await waiting(ledger).add("", "TRK-1", b"{}", connection, is_over=lambda _: True)
        async with asyncio.timeout(20):
            run = await loaded(ledger, [order(1)])
        assert [row.state async for row in ledger.rows(first.id)] == [OrderState.SUPERSEDED]
        (here,) = await ids(run)
        if is_withdrawn:
            await connection.rollback()
            assert await run.withdraw([here], "no connection") == {here}
        else:
            assert await waiting(ledger).unclaim(submitted) is False
            await connection.rollback()
            waits, recorded = await waiting(ledger).standing("TRK-1")
            assert recorded is not None
            assert (waits, recorded.row.id) == (submitted, here)
            assert await waiting(ledger).unclaim(submitted) is True
        waits, _ = await waiting(ledger).standing("TRK-1")
        assert waits == structs.replace(submitted, claimed=0)


@pytest.mark.slow
async def test_a_connection_to_another_database_is_refused(url: str, postgres: Server) -> None:
    """It has another ledger, or none, so nothing would send the order; the caller's transaction stays usable."""
    empty = postgres.create("without_a_ledger")
    async with await Ledger.open(url) as ledger, by_psycopg(empty) as connection:
        with pytest.raises(UsageError, match="connection must be to the database of the ledger"):
            await waiting(ledger).add("", "T-2", b"{}", connection)
        await connection.execute("CREATE TABLE ledger_meta (name TEXT, value BIGINT)")
        with pytest.raises(UsageError, match="connection must be to the database of the ledger"):
            await waiting(ledger).add("", "T-2", b"{}", connection)


async def test_a_connection_of_another_kind_is_refused(ledger: Ledger, where: str) -> None:
    """A file has no connection to share, and a server one of the two drivers that are known."""
    why = "only a ledger in PostgreSQL" if where.endswith(".db") else "give psycopg's AsyncConnection"
    with pytest.raises(UsageError, match=why):
        await waiting(ledger).add("", "T-1", b"{}", object())
