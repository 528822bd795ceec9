"""A run from its beginning to its end."""

import asyncio
import sqlite3
from pathlib import Path

import attrs
import pytest
from sqlalchemy import event

from gotsurge_async.bulk.ledger import (
    Counts,
    IllegalTransition,
    Ledger,
    LedgerClosed,
    LedgerError,
    NewOrder,
    OrderState,
    Outcome,
    Remark,
    RunLost,
    RunState,
    UnusedDraft,
)
from tests.bulk.ledger.kit import START, TurnedClock, begun, bring, ids, loaded, only, order, orders, states


async def test_what_is_put_in_comes_out(ledger: Ledger) -> None:
    """Key, line, payload and source row of a pending order are byte for byte what was put in."""
    rows = [*orders(3), NewOrder(9, "Tōkyō ✓", b"", None), NewOrder(10, "k", b"\x00\xff", b"")]
    run = await loaded(ledger, rows)
    pending = [each async for batch in run.pending() for each in batch]
    assert [(each.line, each.key, each.payload) for each in pending] == [(o.line, o.key, o.payload) for o in rows]
    assert [(row.key, row.source_row) async for row in run.rows()] == [(o.key, o.source_row) for o in rows]
    await run.close()


async def test_an_order_goes_from_pending_to_created(ledger: Ledger, clock: TurnedClock) -> None:
    """A claim and a record move an order on, each with its time, and the last state carries what the service said."""
    run = await loaded(ledger, [order(1)])
    await run.start()
    clock.turn(5)
    (claimed,) = await run.claim(await ids(run))
    row = await only(run)
    assert (row.state, row.claimed_at) == (OrderState.SENDING, clock.now)
    clock.turn(5)
    await run.record([Outcome(claimed, OrderState.CREATED, "task-1", "broadcasting")])
    row = await only(run)
    assert (row.state, row.task_id, row.status, row.error) == (OrderState.CREATED, "task-1", "broadcasting", None)
    assert (row.updated_at - START).total_seconds() == 10
    assert await run.finish() is RunState.DONE
    info = await ledger.run(run.id)
    assert (info.state, info.finished_at) == (RunState.DONE, clock.now)
    await run.close()


async def test_two_phases_keep_the_draft(ledger: Ledger) -> None:
    """In two-phase mode a claim drafts, the draft's id is kept through the broadcast, and both can be released."""
    run = await loaded(ledger, orders(2), mode="two-phase")
    one, two = await run.claim(await ids(run))
    assert await states(ledger, run) == {"TRK-1": "drafting", "TRK-2": "drafting"}
    await run.release_claim([two])
    await run.record([Outcome(one, OrderState.DRAFTED, "task-1", "draft")])
    assert await run.claim_broadcast([one, two]) == [one]
    await run.release_claim([one])
    assert await states(ledger, run) == {"TRK-1": "drafted", "TRK-2": "pending"}
    assert await run.claim_broadcast([one]) == [one]
    await run.record([Outcome(one, OrderState.CREATED)])
    row = await only(run, OrderState.CREATED)
    assert (row.task_id, row.status) == ("task-1", "draft")
    await run.close()


async def test_an_order_is_claimed_once(ledger: Ledger) -> None:
    """However many ask at the same time for the same orders, each order is given to exactly one of them."""
    run = await loaded(ledger, orders(60))
    everything = await ids(run)
    asked = [everything[at : at + 20] for at in (0, 10, 20, 30, 40)] * 3
    given = await asyncio.gather(*(run.claim(some) for some in asked))
    for some, got in zip(asked, given, strict=True):
        assert got == [order_id for order_id in some if order_id in got]
    assert sorted(order_id for got in given for order_id in got) == everything
    assert await run.claim(everything) == []
    await run.close()


async def test_a_claim_gives_what_is_left(ledger: Ledger) -> None:
    """A claim of orders of which some are taken, unknown, or another run's returns the others, in the order asked."""
    run, other = await loaded(ledger, orders(3)), await loaded(ledger, [order(9)])
    one, two, three = await ids(run)
    await run.claim([two])
    assert await run.claim([three, 12345, two, *(await ids(other)), one]) == [three, one]
    assert await states(ledger, other) == {"TRK-9": "pending"}
    assert await run.claim([]) == []
    await run.close()
    await other.close()


async def test_a_released_order_waits_again(ledger: Ledger) -> None:
    """An order that was certainly not sent is pending again, and can be claimed again."""
    run = await loaded(ledger, orders(2))
    one, two = await run.claim(await ids(run))
    await run.release_claim([one])
    row = await only(run, OrderState.PENDING)
    assert (row.id, row.claimed_at) == (one, None)
    assert await run.claim([one, two]) == [one]
    await run.close()


@pytest.mark.parametrize("state", [OrderState.PENDING, OrderState.CREATED, OrderState.REJECTED, OrderState.IN_DOUBT])
async def test_only_a_claim_is_released(ledger: Ledger, state: OrderState) -> None:
    """Releasing an order that is not claimed is an error that names it, and releases no other."""
    run = await loaded(ledger, orders(2))
    claimed, other = await run.claim(await ids(run))
    await run.release_claim([other])
    await bring(run, state)
    with pytest.raises(IllegalTransition, match=rf"TRK-2 \(line 2\) of run .* is {state} and cannot be released"):
        await run.release_claim([claimed, other])
    with pytest.raises(IllegalTransition, match="does not exist"):
        await run.release_claim([claimed, 12345])
    assert await states(ledger, run) == {"TRK-1": "sending", "TRK-2": state.value}
    await run.close()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (OrderState.PENDING, OrderState.CREATED),
        (OrderState.PENDING, OrderState.REJECTED),
        (OrderState.SENDING, OrderState.DRAFTED),
        (OrderState.CREATED, OrderState.REJECTED),
        (OrderState.REJECTED, OrderState.CREATED),
    ],
)
async def test_a_record_that_is_against_the_rules_records_nothing(
    ledger: Ledger, before: OrderState, after: OrderState
) -> None:
    """An outcome that cannot follow is an error that names the order, and no outcome of the call is recorded."""
    run = await loaded(ledger, [order(1)])
    await bring(run, before)
    good = await loaded(ledger, [order(2)])
    (wrong,), (claimed,) = await ids(run), await good.claim(await ids(good))
    with pytest.raises(IllegalTransition, match=rf"TRK-1 \(line 1\) .* is {before} and cannot become {after}"):
        await run.record([Outcome(wrong, after, "task-1")])
    with pytest.raises(IllegalTransition):
        await good.record([Outcome(claimed, OrderState.CREATED, "task-2"), Outcome(wrong, OrderState.CREATED)])
    assert await states(ledger, run) == {"TRK-1": before.value}
    assert await states(ledger, good) == {"TRK-2": "sending"}
    await run.close()
    await good.close()


async def test_an_outcome_is_recorded_once(ledger: Ledger) -> None:
    """Naming an order twice in one record, or recording it again, is an error."""
    run = await loaded(ledger, [order(1)])
    (claimed,) = await run.claim(await ids(run))
    outcome = Outcome(claimed, OrderState.CREATED, "task-1")
    with pytest.raises(IllegalTransition, match="named twice"):
        await run.record([outcome, outcome])
    await run.record([outcome])
    with pytest.raises(IllegalTransition):
        await run.record([outcome])
    with pytest.raises(ValueError, match="an outcome is one of"):
        await run.record([Outcome(claimed, OrderState.PENDING)])
    await run.close()


async def test_one_wrong_record_spoils_no_other(ledger: Ledger) -> None:
    """Of many records at the same time, one that is against the rules fails alone."""
    run = await loaded(ledger, orders(100))
    claimed = await run.claim((await ids(run))[:90])
    chunks = [claimed[at : at + 10] for at in range(0, 90, 10)]
    unclaimed = (await ids(run, OrderState.PENDING))[0]
    chunks[4] = [*chunks[4], unclaimed]
    ended = await asyncio.gather(
        *(run.record([Outcome(each, OrderState.CREATED) for each in chunk]) for chunk in chunks), return_exceptions=True
    )
    assert [type(error).__name__ for error in ended if error] == ["IllegalTransition"]
    assert isinstance(ended[4], IllegalTransition)
    counts = await run.counts()
    assert (counts.created, counts.sending, counts.pending) == (80, 10, 10)
    await run.close()


async def test_garbage_in_an_answer_does_not_lose_its_outcome(ledger: Ledger) -> None:
    """What no database takes in an error text is replaced; the outcome is recorded all the same."""
    run = await loaded(ledger, [order(1)])
    (claimed,) = await run.claim(await ids(run))
    await run.record([Outcome(claimed, OrderState.REJECTED, status="nö", error="bad \x00 byte \ud800")])
    row = await only(run)
    assert (row.status, row.error) == ("nö", "bad � byte ?")
    await run.close()


async def test_a_crash_is_settled(ledger: Ledger) -> None:
    """After a crash what was being sent is in doubt, what was being drafted waits, a broadcast stays to be read."""
    sent = await loaded(ledger, orders(2))
    await sent.claim((await ids(sent))[:1])
    assert (await sent.recover()).sending == 1  # its own claims are its own business
    await sent.start()
    counts = await sent.recover()
    assert (counts.in_doubt, counts.pending) == (1, 1)
    assert "process ended" in str((await only(sent, OrderState.IN_DOUBT)).error)
    await sent.close()
    phased = await loaded(ledger, [order(line) for line in range(11, 15)], mode="two-phase")
    first, second, third, _ = await phased.claim(await ids(phased))
    await phased.record([Outcome(each, OrderState.DRAFTED, f"task-{each}") for each in (first, second)])
    await phased.claim_broadcast([first])
    await phased.start()
    counts = await phased.recover()
    assert await phased.lost_drafts() == ["TRK-13", "TRK-14"]
    assert counts == Counts(broadcasting=1, drafted=1, pending=2)
    assert await phased.claim([third]) == [third]
    await phased.close()


async def test_what_was_in_doubt_is_found_out(ledger: Ledger) -> None:
    """An order in doubt can be recorded as created, rejected, or as one whose draft is to be broadcast again."""
    run = await loaded(ledger, orders(3))
    await bring(run, OrderState.IN_DOUBT)
    one, two, three = await ids(run)
    await run.record(
        [
            Outcome(one, OrderState.CREATED, f"task-{one}"),
            Outcome(two, OrderState.REJECTED, error="looked twice, not there"),
            Outcome(three, OrderState.BROADCASTING, f"task-{three}"),
        ]
    )
    assert await states(ledger, run) == {"TRK-1": "created", "TRK-2": "rejected", "TRK-3": "broadcasting"}
    await run.close()


async def test_results_say_what_became_of_each_order(ledger: Ledger) -> None:
    """Results come by line, in pages, with the row of the source, or the payload where there is none."""
    run = await loaded(ledger, [order(2), NewOrder(3, "k", b"{}", None), order(1)])
    (first, *_) = await ids(run)
    await run.claim([first])
    await run.record([Outcome(first, OrderState.CREATED, "task-1", "broadcasting")])
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


async def test_counts_tell_every_state(ledger: Ledger) -> None:
    """The counts of a run name each state, and their sum is the number of its orders."""
    run = await loaded(ledger, orders(5))
    one, two, *_ = await run.claim((await ids(run))[:3])
    await run.record([Outcome(one, OrderState.CREATED), Outcome(two, OrderState.REJECTED)])
    counts = await run.counts()
    assert counts == Counts(pending=2, sending=1, created=1, rejected=1)
    assert counts.total == 5
    assert counts[OrderState.SENDING] == 1
    assert await ledger.counts(run.id) == counts
    await run.close()


async def test_a_discarded_run_leaves_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Discarding removes a loading run and its orders, block by block, and frees its lock; an admitted run stays."""
    monkeypatch.setattr("gotsurge_async.bulk.ledger.sql.admission.DISCARDED_AT_ONCE", 3)
    run = await begun(ledger)
    await run.add(orders(10))
    await run.discard()
    assert await ledger.runs() == []
    assert (await ledger.counts(run.id)).total == 0
    with pytest.raises(LedgerClosed):
        await run.counts()
    kept = await loaded(ledger, orders(2))
    with pytest.raises(LedgerError, match="only a run that was not admitted"):
        await kept.discard()
    assert (await kept.counts()).pending == 2
    await kept.close()


async def test_an_admitted_run_takes_no_more_orders(ledger: Ledger) -> None:
    """After its admission a run refuses orders and another admission; before it, it refuses to be sent or finished."""
    run = await begun(ledger)
    with pytest.raises(LedgerError, match="was not admitted yet"):
        await run.start()
    with pytest.raises(LedgerError, match="was not admitted yet"):
        await run.finish()
    await run.add([])
    await run.add(orders(1))
    assert [page async for page in run.pending()] == []
    await run.admit(source_sha256="abc")
    assert (await ledger.run(run.id)).source_sha256 == "abc"
    with pytest.raises(LedgerError, match="was admitted"):
        await run.add([order(2)])
    with pytest.raises(LedgerError, match="was admitted"):
        await run.admit()
    assert await run.finish() is RunState.STOPPED
    await run.close()


async def test_a_run_is_sent_by_one_task_at_a_time(ledger: Ledger) -> None:
    """A second start before the first sending has finished is refused; after it, it is not."""
    run = await loaded(ledger, orders(1))
    await run.start()
    with pytest.raises(LedgerError, match="being sent by this process already"):
        await run.start()
    await run.finish()
    await run.start()
    await run.close()


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
    await run.close()


async def test_a_holder_that_was_taken_over_writes_nothing(ledger: Ledger, path: Path) -> None:
    """When a lock was lost and another holder has the run, nothing that the first one still writes goes through."""
    run = await loaded(ledger, orders(4), mode="two-phase")
    await run.start()
    first, second, third, _ = await ids(run)
    await run.claim([first, second])
    await run.record([Outcome(first, OrderState.DRAFTED, "task-1")])
    await run.claim_broadcast([first])
    for lock in path.parent.glob("*.lock"):
        lock.unlink()
    other = await ledger.hold(run.id)
    await other.start()
    await other.recover()
    before = await states(ledger, run)
    for write in (
        run.record([Outcome(second, OrderState.DRAFTED, "task-of-a-frozen-process")]),
        run.record([Outcome(first, OrderState.CREATED, "task-1")]),
        run.claim([third]),
        run.claim_broadcast([first]),
        run.renew_claim([first]),
        run.release_claim([first]),
        run.remark([Remark(first, OrderState.BROADCASTING, error="late")]),
        run.note_unused([("TRK-1", "task-9")]),
        run.resolve_all({"TRK-1": None}, by="mei"),
        run.recover(),
        run.finish(),
    ):
        with pytest.raises(RunLost, match="taken over by another process"):
            await write
    assert await states(ledger, run) == before
    await run.close()
    assert (await ledger.run(run.id)).holder is not None  # the other one's name stays
    await other.close()


async def test_a_task_id_that_was_recorded_is_never_replaced(ledger: Ledger) -> None:
    """Neither a second draft nor another outcome puts another task in the place of a recorded one."""
    run = await loaded(ledger, orders(1), mode="two-phase")
    (one,) = await run.claim(await ids(run))
    await run.record([Outcome(one, OrderState.DRAFTED, "task-1")])
    with pytest.raises(IllegalTransition):
        await run.record([Outcome(one, OrderState.DRAFTED, "task-2")])
    await run.claim_broadcast([one])
    with pytest.raises(IllegalTransition):
        await run.record([Outcome(one, OrderState.DRAFTED, "task-2")])
    with pytest.raises(IllegalTransition):
        await run.record([Outcome(one, OrderState.CREATED, "task-2")])
    await run.record([Outcome(one, OrderState.CREATED, status="broadcasting")])
    assert (await only(run)).task_id == "task-1"
    await run.close()


async def test_a_claim_is_renewed_while_it_is_held(ledger: Ledger, clock: TurnedClock) -> None:
    """Renewing makes a claim young; what is no longer claimed is not renewed."""
    run = await loaded(ledger, orders(2))
    claimed = await run.claim(await ids(run))
    clock.turn(40)
    await run.renew_claim(claimed)
    assert {row.claimed_at async for row in run.rows()} == {clock.now}
    await run.release_claim(claimed[:1])
    with pytest.raises(IllegalTransition):
        await run.renew_claim(claimed)
    await run.close()


async def test_lost_and_unused_drafts_are_remembered(ledger: Ledger) -> None:
    """A draft whose answer was lost is counted until it is found; one that is found or refused is listed."""
    run = await loaded(ledger, orders(3), mode="two-phase")
    first, second, third = await run.claim(await ids(run))
    await run.lose_drafts([first])
    await run.release_claim([first, third])
    assert await run.lost_drafts() == ["TRK-1"]
    await run.note_unused([("TRK-1", "task-9"), ("TRK-1", "task-9")])
    await run.note_unused([("TRK-1", "task-9")])
    assert await run.lost_drafts() == []
    await run.record([Outcome(second, OrderState.DRAFTED, "task-2")])
    await run.claim_broadcast([second])
    await run.record([Outcome(second, OrderState.REJECTED)])
    assert await ledger.unused_drafts(run.id) == [
        UnusedDraft("TRK-1", "task-9", cancelled=False),
        UnusedDraft("TRK-2", "task-2", cancelled=False),
    ]
    await run.unused_cancelled(["task-9"])
    assert [draft.cancelled for draft in await ledger.unused_drafts(run.id)] == [True, False]
    await run.close()


@pytest.mark.parametrize("key", ["", "a\0b", "a\ud800"])
async def test_a_key_that_databases_do_not_take_is_refused(ledger: Ledger, key: str) -> None:
    """An empty key, or one with a NUL or half a surrogate pair in it, is refused with its line."""
    run = await begun(ledger)
    with pytest.raises(ValueError, match=r"line 7: .* cannot be a key"):
        await run.add([order(1), order(7, key)])
    assert (await run.counts()).total == 0
    await run.close()


async def test_a_closed_run_does_nothing(ledger: Ledger) -> None:
    """After close every method says that the run was closed; closing again is fine."""
    async with await loaded(ledger, orders(1)) as run:
        pass
    await run.close()
    for refused in (run.claim([1]), run.record([]), run.release_claim([]), run.recover(), run.counts(), run.start()):
        with pytest.raises(LedgerClosed, match="was closed"):
            await refused
    for read in (run.pending, run.rows):
        with pytest.raises(LedgerClosed, match="was closed"):
            read()


async def test_a_cancelled_claim_comes_to_pass_as_a_whole(ledger: Ledger) -> None:
    """A claim whose caller was cancelled is granted in full or not at all, and a later one gets the rest."""
    run = await loaded(ledger, orders(40))
    everything = await ids(run)
    for turns, at in enumerate(range(0, 40, 10)):
        claiming = asyncio.create_task(run.claim(everything[at : at + 10]))
        for _ in range(turns):
            await asyncio.sleep(0)
        claiming.cancel()
        await asyncio.wait([claiming])
    rest = await run.claim(everything)
    assert len(rest) % 10 == 0
    assert (await run.counts()).sending == 40
    await run.close()


async def test_a_cancelled_admission_closes_the_door(ledger: Ledger) -> None:
    """An admission whose caller was cancelled may have come to pass: no order can be added after it."""
    run = await begun(ledger)
    await run.add(orders(3))
    admitting = asyncio.create_task(run.admit())
    await asyncio.sleep(0)
    admitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await admitting
    with pytest.raises(LedgerError, match="was admitted"):
        await run.add([order(4)])
    await run.recover()  # waits for the writer
    assert await run.counts() == Counts(pending=3)
    await run.close()


async def test_similar_orders_are_shown(ledger: Ledger) -> None:
    """Waiting orders are paired with live orders of the same fingerprint and another key, of this run and of others."""
    first = await loaded(ledger, [order(1, "a", b"\x01"), order(2, "b", b"\x02"), order(3, "c")])
    second = await begun(ledger)
    await second.add([order(1, "d", b"\x01"), order(2, "e", b"\x01"), order(3, "f", b"\x03"), order(4, "g")])
    assert {(pair.key, pair.other_key) for pair in await second.similar()} == {("d", "a"), ("e", "a")}
    await second.admit()
    pairs = await ledger.similar(second)
    assert {(pair.key, pair.other_key) for pair in pairs} == {("d", "a"), ("e", "a"), ("e", "d")}
    one = next(pair for pair in pairs if pair.key == "d")
    assert (one.line, one.other_line, one.other_run, one.other_state) == (1, 1, first.id, OrderState.PENDING)
    elsewhere = await loaded(ledger, [order(1, "x", b"\x01")], environment="sandbox")
    assert await elsewhere.similar() == []
    for run in (first, second, elsewhere):
        await run.close()


async def test_remarks_change_what_is_said_and_no_state(ledger: Ledger) -> None:
    """A remark notes status and error of an order in the state that it names, and leaves any other alone."""
    run = await loaded(ledger, orders(2))
    await bring(run, OrderState.IN_DOUBT)
    first, second = await ids(run)
    await run.remark(
        [
            Remark(first, OrderState.IN_DOUBT, error="two tasks: A\0B"),
            Remark(second, OrderState.CREATED, status="cancelled", error="no"),
        ]
    )
    rows = [row async for row in run.rows()]
    assert [(row.state, row.status, row.error) for row in rows] == [
        (OrderState.IN_DOUBT, "broadcasting", "two tasks: A\ufffdB"),
        (OrderState.IN_DOUBT, "broadcasting", None),
    ]
    await run.remark([])
    await run.close()


async def test_only_a_draft_that_can_be_nobody_elses_is_adopted(ledger: Ledger) -> None:
    """A draft found by its name is an order's own, unless its key had another text, or the draft is known."""
    for text in (b"old", b"new"):
        run = await begun(ledger, mode="two-phase")
        await run.add([order(1), attrs.evolve(order(2), payload=text), order(3), order(4)])
        await run.admit()
        if text == b"old":
            await run.claim(await ids(run))
            await run.close()
    third, fourth = (await run.claim(await ids(run)))[2:]
    await run.record([Outcome(third, OrderState.DRAFTED, "recorded")])
    await run.note_unused([("TRK-4", "noted")])
    drafts = {"TRK-1": "found", "TRK-2": "of-the-old-text", "TRK-3": "recorded", "TRK-4": "noted", "TRK-9": "x"}
    assert await run.adoptable(drafts) == {"TRK-1": "found"}
    await run.release_claim([fourth])
    await run.close()


async def test_who_goes_on_with_a_broadcast_owns_its_claim(ledger: Ledger) -> None:
    """A row that was left broadcasting is claimed anew before it is read, and its claim can be renewed."""
    run = await loaded(ledger, orders(2), mode="two-phase")
    await bring(run, OrderState.BROADCASTING)
    await run.close()
    other = await ledger.hold(run.id)
    await other.start()
    rows = await ids(other)
    with pytest.raises(IllegalTransition):
        await other.renew_claim(rows)
    assert await other.claim_to_read(rows) == rows
    await other.renew_claim(rows)
    await other.close()
