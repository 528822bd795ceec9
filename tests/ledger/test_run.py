"""A run from its beginning to its end."""

import asyncio

import pytest
from msgspec.structs import replace

from gotsurge_async import codec
from gotsurge_async.ledger import (
    Counts,
    Ledger,
    LedgerClosed,
    LedgerError,
    LedgerUnusable,
    NewOrder,
    OrderOutcome,
    OrderState,
    Remark,
    RunLost,
    RunState,
)
from tests.ledger.kit import added, begun, ids, loaded, lose_locks, order, orders, states


async def test_what_is_put_in_comes_out(ledger: Ledger) -> None:
    """Key, line, payload and source row of a pending order are byte for byte what was put in."""
    rows = [*orders(3), NewOrder(9, "Tōkyō ✓", b"", None), NewOrder(10, "k", b"\x00\xff", b"")]
    run = await loaded(ledger, rows)
    pending = [each async for batch in run.pending() for each in batch]
    assert [(each.line, each.key, each.payload) for each in pending] == [(o.line, o.key, o.payload) for o in rows]
    assert [(row.key, row.source_row) async for row in run.rows()] == [(o.key, o.source_row) for o in rows]


async def test_a_discarded_run_leaves_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Discarding removes a loading run and its orders, block by block, and frees its lock; an admitted run stays."""
    monkeypatch.setattr("gotsurge_async.ledger.sql.admission.DISCARDED_AT_ONCE", 3)
    run = await added(ledger, orders(10))
    await run.discard()
    assert await ledger.runs() == []
    assert (await ledger.counts(run.id)).total == 0
    with pytest.raises(LedgerClosed):
        await run.counts()
    kept = await loaded(ledger, orders(2))
    with pytest.raises(LedgerError, match="cannot be discarded, because it was admitted"):
        await kept.discard()
    assert (await kept.counts()).pending == 2


async def test_an_admitted_run_takes_no_more_orders(ledger: Ledger) -> None:
    """After its admission a run refuses orders and another admission; before it, it refuses to be sent or finished."""
    run = await begun(ledger)
    with pytest.raises(LedgerError, match="is still being loaded"):
        await run.start()
    with pytest.raises(LedgerError, match="is still being loaded"):
        await run.finish()
    await run.add([])
    await run.add(orders(1))
    assert [page async for page in run.pending()] == []
    await run.admit(source_sha256="abc")
    assert (await ledger.run(run.id)).source_sha256 == "abc"
    with pytest.raises(LedgerError, match="has all its orders"):
        await run.add([order(2)])
    with pytest.raises(LedgerError, match="has all its orders"):
        await run.admit()
    assert await run.finish() is RunState.STOPPED


async def test_a_run_is_sent_by_one_task_at_a_time(ledger: Ledger) -> None:
    """A second start before the first sending has finished is refused; after it, it is not."""
    run = await loaded(ledger, orders(1))
    await run.start()
    with pytest.raises(LedgerError, match="this process is already sending run"):
        await run.start()
    await run.finish()
    await run.start()


@pytest.mark.parametrize("turns", [1, 2, 5, 10])
async def test_a_start_that_was_cancelled_loses_nothing(ledger: Ledger, turns: int) -> None:
    """Whether it came to pass or not, the holder still has its run, and starts it again."""
    run = await loaded(ledger, orders(1))
    starting = asyncio.create_task(run.start())
    for _ in range(turns):
        await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await run.start()
    assert len(await run.claim(await ids(run))) == 1
    await run.finish()


async def test_a_holder_that_was_taken_over_writes_nothing(ledger: Ledger, where: str) -> None:
    """When a lock was lost and another holder has the run, nothing that the first one still writes goes through."""
    run = await loaded(ledger, orders(4), mode="two-phase")
    await run.start()
    first, second, third, _ = await ids(run)
    await run.claim([first, second])
    await run.record([OrderOutcome(first, OrderState.DRAFTED, "task-1")])
    await run.claim_broadcast([first])
    lose_locks(where)
    other = await ledger.hold(run.id)
    await other.start()
    await other.recover()
    before = await states(ledger, run)
    for write in (
        run.record([OrderOutcome(second, OrderState.DRAFTED, "task-of-a-frozen-process")]),
        run.record([OrderOutcome(first, OrderState.CREATED, "task-1")]),
        run.claim([third]),
        run.claim_broadcast([first]),
        run.renew_claim([first]),
        run.release_claim([first]),
        run.remark([Remark(first, OrderState.BROADCASTING, error="late")]),
        run.note_unused([("TRK-1", "task-9")]),
        run.resolve({"TRK-1": None}, by="mei"),
        run.recover(),
        run.finish(),
    ):
        with pytest.raises(RunLost, match="taken over by another process"):
            await write
    assert await states(ledger, run) == before
    await run.close()
    assert (await ledger.run(run.id)).holder is not None  # the other one's name stays


@pytest.mark.parametrize("key", ["", "a\0b", "a\ud800"])
async def test_a_key_that_databases_do_not_take_is_refused(ledger: Ledger, key: str) -> None:
    """An empty key, or one with a NUL or half a surrogate pair in it, is refused with its line."""
    run = await begun(ledger)
    with pytest.raises(ValueError, match=r"line 7: .* cannot be a key"):
        await run.add([order(1), order(7, key)])
    assert (await run.counts()).total == 0


async def test_a_closed_run_does_nothing(ledger: Ledger) -> None:
    """After close every method says that the run was closed; closing again is fine."""
    async with await loaded(ledger, orders(1)) as run:
        pass
    await run.close()
    for refused in (run.claim, run.record, run.release_claim):
        with pytest.raises(LedgerClosed, match="was closed"):
            await refused([])
    for asked in (run.recover, run.counts, run.start):
        with pytest.raises(LedgerClosed, match="was closed"):
            await asked()
    for read in (run.pending, run.rows):
        with pytest.raises(LedgerClosed, match="was closed"):
            read()


async def test_a_cancelled_claim_comes_to_pass_as_a_whole(ledger: Ledger) -> None:
    """A claim whose caller was cancelled is granted in full or not at all, and a later one gets the rest."""
    run = await loaded(ledger, orders(40))
    everything = await ids(run)

    async def claim(some: list[int]) -> None:
        await run.claim(some)

    for turns, at in enumerate(range(0, 40, 10)):
        claiming = asyncio.create_task(claim(everything[at : at + 10]))
        for _ in range(turns):
            await asyncio.sleep(0)
        claiming.cancel()
        await asyncio.wait([claiming])
    rest = await run.claim(everything)
    assert len(rest) % 10 == 0
    assert (await run.counts()).sending == 40


@pytest.mark.parametrize(
    ("outcome", "later"),
    [
        (OrderState.CREATED, []),
        (OrderState.CREATED, [OrderState.CANCELLING, OrderState.CANCELLED]),
        (OrderState.REFUSED, []),
        (OrderState.WITHDRAWN, []),
        (OrderState.WITHDRAWN, [OrderState.WITHDRAWN]),
    ],
)
async def test_an_answer_is_settled_once(ledger: Ledger, outcome: OrderState, later: list[OrderState]) -> None:
    """A write that seemed to fail took effect: what is recorded stays so, and a released order is not sent."""
    run = await loaded(ledger, orders(1))
    await run.start()
    (one,) = await run.claim(await ids(run))
    answer = OrderOutcome(one, outcome, "task-1" if outcome is OrderState.CREATED else None)
    if outcome is OrderState.WITHDRAWN:
        await run.release_claim([one])
    else:
        await run.record([answer])
    for state in later:
        if state is OrderState.WITHDRAWN:
            await run.withdraw([one], "not sent")
        else:
            await run.record([OrderOutcome(one, state, ended=state is OrderState.CANCELLED)])
    for _ in range(2):
        await run.settle_claimed(run, answer)
    assert await states(ledger, run) == {"TRK-1": (later or [outcome])[-1].value}


async def test_a_cancelled_admission_closes_the_door(ledger: Ledger) -> None:
    """An admission whose caller was cancelled may have come to pass: no order can be added after it."""
    run = await added(ledger, orders(3))
    admitting = asyncio.create_task(run.admit())
    await asyncio.sleep(0)
    admitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await admitting
    with pytest.raises(LedgerError, match="has all its orders"):
        await run.add([order(4)])
    await run.recover()  # waits for the writer
    assert await run.counts() == Counts(pending=3)


@pytest.mark.parametrize("damaged", [b"{damaged", b'{"tracking_id":"TRK-2"'])
async def test_orders_that_changed_since_they_were_added_are_parsed(ledger: Ledger, damaged: bytes) -> None:
    """Of what is read as it was added the names are taken; anything else must be JSON."""
    texts = [b'{"tracking_id":"TRK-%d","invoice_number":"I"}' % number for number in (1, 2)]
    run = await loaded(ledger, [NewOrder(line, f"K{line}", text) for line, text in enumerate(texts, 1)])
    ((first, second),) = [page async for page in run.pending()]
    with pytest.raises(LedgerUnusable, match=f"order {second.id}, line 2, key K2"):
        run.names_in([first, replace(second, payload=damaged)], codec.encode_batch([texts[0], damaged]))
    assert run.names_in([first, second], codec.encode_batch(texts)) == [("TRK-1", "I"), ("TRK-2", "I")]
