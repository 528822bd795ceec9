"""Two things at once, or one after another, of which each is right alone."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from gotsurge_async.bulk import Ledger, Mode, OrderState
from gotsurge_async.ledger import LedgerError, LedgerOlder, OrderOutcome, RunHeld, RunLost, TaskTaken
from gotsurge_async.ledger.run import discard
from gotsurge_async.ledger.sql import runs
from gotsurge_async.ledger.upkeep.check import backup
from tests.ledger.kit import TidyLedger, added, begun, ids, loaded, order, orders, states


async def test_a_loader_that_is_swept_away_adds_nothing_and_admits_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run whose loader was taken for dead goes whole: the loader, should it wake, gets an error immediately."""
    monkeypatch.setattr("gotsurge_async.ledger.sql.admission.DISCARDED_AT_ONCE", 1)
    slow = await added(ledger, orders(50))
    slow._lock.release()  # a file's lock that was lost
    await ledger.write(lambda db: db.driver.execute("UPDATE runs SET lease_until = 0"))  # a lease that ended
    other = await begun(ledger)
    for wish in (slow.add([order(99)]), slow.admit()):
        with pytest.raises((RunLost, LedgerError)):
            await wish
    assert {info.id for info in await ledger.runs()} == {other.id}
    await other.add(orders(50))
    assert (await other.admit()).pending == 50


async def test_who_sweeps_is_fenced_too(ledger: Ledger) -> None:
    """Of two who remove a loading run, the one that another took it from removes nothing more."""
    run = await added(ledger, orders(3))
    before = run._held
    await ledger.write(lambda db: runs.raise_epoch(db, run.id))
    with pytest.raises(RunLost):
        await discard(ledger, before)
    assert (await ledger.counts(run.id)).loading == 3


async def test_a_copy_from_before_a_draft_was_recorded_is_noticed(path: Path) -> None:
    """The record of a draft claims its broadcast, and counts: a copy from before it would broadcast a second one."""
    async with await TidyLedger.open(path) as ledger:
        sound = replace(order(1), payload=b"{}", source_row=None)
        run = await loaded(ledger, [sound], mode=Mode.TWO_PHASE)
        await run.start()
        (one,) = await run.claim(await ids(run))
        await asyncio.to_thread(backup, path, path.with_name("copy.db"))
        await run.record([OrderOutcome(one, OrderState.DRAFTED, "task-1")], broadcast=True)
        await run.record([OrderOutcome(one, OrderState.CREATED, "task-1")])
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    path.with_name("copy.db").rename(path)
    with pytest.raises(LedgerOlder):
        await Ledger.open(path)


async def test_what_was_not_admitted_is_not_sent(ledger: Ledger) -> None:
    """Neither while it is loaded, nor after an admission that was cancelled and then refused."""
    first = await loaded(ledger, [order(1)])
    await first.start()
    second = await added(ledger, [order(1)])
    with pytest.raises(LedgerError, match="is still being loaded"):
        await second.claim(await ids(second))
    admitting = asyncio.create_task(second.admit())
    for _ in range(3):
        await asyncio.sleep(0)
    admitting.cancel()
    with pytest.raises((asyncio.CancelledError, RunHeld)):
        await admitting
    with pytest.raises(LedgerError, match="was not completely recorded"):
        await second.start()
    assert await states(ledger, second) == {"TRK-1": "loading"}


async def test_what_was_not_admitted_has_no_results(ledger: Ledger) -> None:
    """A run whose loading ended says nothing of its orders: another run may have sent them."""
    await loaded(ledger, [order(1)])
    second = await added(ledger, [order(1)])
    await second.close()
    with pytest.raises(LedgerError, match="was not completely recorded"):
        [page async for page in ledger.results(second.id)]


@pytest.mark.parametrize("chunk", [0, 21])
async def test_a_chunk_that_no_call_takes_is_refused(ledger: Ledger, chunk: int) -> None:
    """Before anything is written."""
    with pytest.raises(ValueError, match="1 to 20 orders"):
        await ledger.begin(environment="e", mode=Mode.DIRECT, source="s", chunk=chunk)
    assert await ledger.runs() == []


async def test_a_repeated_push_leaves_what_was_pushed_alone(ledger: Ledger) -> None:
    """Orders that are pushed already are not written to when their file comes again."""
    first = await loaded(ledger, orders(3))
    claimed = await first.claim(await ids(first))
    await first.record([OrderOutcome(each, OrderState.CREATED, f"task-{each}") for each in claimed])
    before = [row async for row in first.rows()]
    second = await loaded(ledger, orders(3))
    assert (await second.counts()).already_pushed == 3
    assert [row async for row in first.rows()] == before
    assert {row.claimed_at async for row in second.rows()} == {None}


async def test_who_has_finished_with_a_chunk_remembers_no_claim_of_it(ledger: Ledger) -> None:
    """What a holder knows of its claims does not grow with the run."""
    run = await loaded(ledger, orders(60))
    claimed = await run.claim(await ids(run))
    assert len(run._held.claims) == 3
    await run.record([OrderOutcome(each, OrderState.CREATED) for each in claimed[:45]])
    assert len(run._held.claims) == 1
    await run.record([OrderOutcome(each, OrderState.CREATED) for each in claimed[45:]])
    assert run._held.claims == {}


async def test_two_who_load_at_once_get_numbers_of_their_own(ledger: Ledger, where: str) -> None:
    """However their blocks come in between each other's, through one connection or several."""
    async with await Ledger.open(where) as other:
        made = [await begun(each) for each in (ledger, other)]

        async def load(number: int) -> None:
            for block in range(10):
                keys = [order(line, f"{number}-{block}-{line}") for line in range(1, 100)]
                await made[number].add(keys)

        await asyncio.gather(load(0), load(1))
        for run in made:
            assert (await run.admit()).pending == 990
            await run.close()


async def test_one_task_is_given_to_one_order_also_in_one_write(ledger: Ledger) -> None:
    """Of two answers that are recorded together, and give two orders one task, one is refused."""
    run = await loaded(ledger, orders(40))
    first, *_, last = await run.claim(await ids(run))
    await asyncio.gather(ledger.write(lambda _: None), ledger.write(lambda _: None))  # so that the next two share one
    ended = await asyncio.gather(
        run.record([OrderOutcome(first, OrderState.CREATED, "task-1")]),
        run.record([OrderOutcome(last, OrderState.CREATED, "task-1")]),
        return_exceptions=True,
    )
    assert [type(end) for end in ended if end is not None] == [TaskTaken]
    assert (await run.counts()).created == 1
