"""The writes that move orders from state to state, and what they refuse."""

import asyncio

import pytest

from gotsurge_async.config import SETTLE
from gotsurge_async.ledger import (
    Counts,
    IllegalTransition,
    Ledger,
    OrderOutcome,
    OrderState,
    Remark,
    RunState,
)
from tests.ledger.kit import START, TurnedClock, bring, ids, loaded, moved_behind, only, order, orders, states


async def test_an_order_goes_from_pending_to_created(ledger: Ledger, clock: TurnedClock) -> None:
    """A claim and a record move an order on, each with its time, and the last state carries what the service said."""
    run = await loaded(ledger, [order(1)])
    await run.start()
    clock.turn(5)
    (claimed,) = await run.claim(await ids(run))
    row = await only(run)
    assert (row.state, row.claimed_at) == (OrderState.SENDING, clock.now)
    clock.turn(5)
    await run.record([OrderOutcome(claimed, OrderState.CREATED, "task-1", "broadcasting")])
    row = await only(run)
    assert (row.state, row.task_id, row.status, row.error) == (OrderState.CREATED, "task-1", "broadcasting", None)
    assert (row.updated_at - START).total_seconds() == 10
    assert await run.finish() is RunState.DONE
    info = await ledger.run(run.id)
    assert (info.state, info.finished_at) == (RunState.DONE, clock.now)


async def test_two_phases_keep_the_draft(ledger: Ledger) -> None:
    """In two-phase mode a claim drafts, the draft's id is kept through the broadcast, and both can be released."""
    run = await loaded(ledger, orders(2), mode="two-phase")
    one, two = await run.claim(await ids(run))
    assert await states(ledger, run) == {"TRK-1": "drafting", "TRK-2": "drafting"}
    await run.release_claim([two])
    await run.record([OrderOutcome(one, OrderState.DRAFTED, "task-1", "draft")])
    assert await run.claim_broadcast([one, two]) == [one]
    await run.release_claim([one])
    assert await states(ledger, run) == {"TRK-1": "drafted", "TRK-2": "pending"}
    assert await run.claim_broadcast([one]) == [one]
    await run.record([OrderOutcome(one, OrderState.CREATED)])
    row = await only(run, OrderState.CREATED)
    assert (row.task_id, row.status) == ("task-1", "draft")


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


async def test_a_claim_gives_what_is_left(ledger: Ledger) -> None:
    """A claim of orders of which some are taken, unknown, or another run's returns the others, in the order asked."""
    other, run = await loaded(ledger, [order(9)]), await loaded(ledger, orders(3))
    one, two, three = await ids(run)
    await run.claim([two])
    assert await run.claim([three, three + 1, 12345, two, *(await ids(other)), one]) == [three, one]
    assert await states(ledger, other) == {"TRK-9": "pending"}
    assert await run.claim([]) == []


async def test_a_released_order_waits_again(ledger: Ledger) -> None:
    """An order that was certainly not sent is pending again, and can be claimed again."""
    run = await loaded(ledger, orders(2))
    one, two = await run.claim(await ids(run))
    await run.release_claim([one])
    row = await only(run, OrderState.PENDING)
    assert (row.id, row.claimed_at) == (one, None)
    assert await run.claim([one, two]) == [one]


async def test_a_created_order_keeps_its_time_when_the_last_claim_is_given_back(
    ledger: Ledger, clock: TurnedClock
) -> None:
    """An order shows when it was claimed, also after the other orders of its chunk were released."""
    run = await loaded(ledger, orders(2))
    one, two = await run.claim(await ids(run))
    await run.record([OrderOutcome(one, OrderState.CREATED, "task-1")])
    await run.release_claim([two])
    assert [row.claimed_at async for row in run.rows()] == [clock.now, None]


@pytest.mark.parametrize("state", [OrderState.PENDING, OrderState.CREATED, OrderState.REFUSED, OrderState.IN_DOUBT])
async def test_only_a_claim_is_released(ledger: Ledger, state: OrderState) -> None:
    """Releasing an order that is not claimed is an error that names it, and releases no other."""
    run = await loaded(ledger, orders(2))
    claimed, other = await run.claim(await ids(run))
    await run.release_claim([other])
    await bring(run, state)
    with pytest.raises(
        IllegalTransition, match=rf"TRK-2 \(line 2\) of run .* is {state.value}, so it cannot be released"
    ):
        await run.release_claim([claimed, other])
    with pytest.raises(IllegalTransition, match="is unknown"):
        await run.release_claim([claimed, 12345])
    assert await states(ledger, run) == {"TRK-1": "sending", "TRK-2": state.value}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (OrderState.PENDING, OrderState.CREATED),
        (OrderState.PENDING, OrderState.REFUSED),
        (OrderState.SENDING, OrderState.DRAFTED),
        (OrderState.CREATED, OrderState.REFUSED),
        (OrderState.REFUSED, OrderState.CREATED),
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
    forbidden = rf"TRK-1 \(line 1\) .* is {before.value}, so it cannot become {after.value}"
    with pytest.raises(IllegalTransition, match=forbidden):
        await run.record([OrderOutcome(wrong, after, "task-1")])
    with pytest.raises(IllegalTransition):
        await good.record(
            [OrderOutcome(claimed, OrderState.CREATED, "task-2"), OrderOutcome(wrong, OrderState.CREATED)]
        )
    assert await states(ledger, run) == {"TRK-1": before.value}
    assert await states(ledger, good) == {"TRK-2": "sending"}


async def test_an_outcome_is_recorded_once(ledger: Ledger) -> None:
    """Naming an order twice in one record, or recording it again, is an error."""
    run = await loaded(ledger, [order(1)])
    (claimed,) = await run.claim(await ids(run))
    outcome = OrderOutcome(claimed, OrderState.CREATED, "task-1")
    with pytest.raises(IllegalTransition, match="listed twice"):
        await run.record([outcome, outcome])
    await run.record([outcome])
    with pytest.raises(IllegalTransition):
        await run.record([outcome])
    with pytest.raises(ValueError, match="an outcome must be one of"):
        await run.record([OrderOutcome(claimed, OrderState.PENDING)])


async def test_one_wrong_record_spoils_no_other(ledger: Ledger) -> None:
    """Of many records at the same time, one that is against the rules fails alone."""
    run = await loaded(ledger, orders(100))
    claimed = await run.claim((await ids(run))[:90])
    chunks = [claimed[at : at + 10] for at in range(0, 90, 10)]
    unclaimed = (await ids(run, OrderState.PENDING))[0]
    chunks[4] = [*chunks[4], unclaimed]
    ended = await asyncio.gather(
        *(run.record([OrderOutcome(each, OrderState.CREATED) for each in chunk]) for chunk in chunks),
        return_exceptions=True,
    )
    assert [type(error).__name__ for error in ended if error] == ["IllegalTransition"]
    assert isinstance(ended[4], IllegalTransition)
    counts = await run.counts()
    assert (counts.created, counts.sending, counts.pending) == (80, 10, 10)


async def test_garbage_in_an_answer_does_not_lose_its_outcome(ledger: Ledger) -> None:
    """What no database takes in an error text is replaced; the outcome is recorded all the same."""
    run = await loaded(ledger, [order(1)])
    (claimed,) = await run.claim(await ids(run))
    await run.record([OrderOutcome(claimed, OrderState.REFUSED, status="nö", error="bad \x00 byte \ud800")])
    row = await only(run)
    assert (row.status, row.error) == ("nö", "bad � byte ?")


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
    await phased.record([OrderOutcome(each, OrderState.DRAFTED, f"task-{each}") for each in (first, second)])
    await phased.claim_broadcast([first])
    await phased.start()
    counts = await phased.recover()
    assert await phased.lost_drafts() == ["TRK-13", "TRK-14"]
    assert counts == Counts(broadcasting=1, drafted=1, pending=2)
    assert await phased.claim([third]) == [third]


async def test_a_crash_is_settled_beside_what_is_being_sent(ledger: Ledger) -> None:
    """What an earlier holder was sending is in doubt, also where this one is sending a chunk that comes before it."""
    run = await loaded(ledger, orders(40))
    everything = await ids(run)
    await run.claim(everything[20:])
    await run.start()
    await run.claim(everything[:20])
    assert await run.recover() == Counts(sending=20, in_doubt=20)
    assert await ids(run, OrderState.IN_DOUBT) == everything[20:]


async def test_a_crash_adds_to_the_drafts_that_were_lost(ledger: Ledger) -> None:
    """The draft that a crash lost is counted beside those that were lost before it: one that is found is not all."""
    run = await loaded(ledger, orders(1), mode="two-phase")
    claimed = await run.claim(await ids(run))
    await run.lose_drafts(claimed)
    await run.start()
    await run.recover()
    await run.note_unused([("TRK-1", "draft-1")])
    assert await run.lost_drafts() == ["TRK-1"]
    await run.note_unused([("TRK-1", "draft-2")])
    assert await run.lost_drafts() == []


async def test_what_was_in_doubt_is_found_out(ledger: Ledger, clock: TurnedClock) -> None:
    """An order in doubt can be recorded as created, refused, or as one whose draft is to be broadcast again."""
    run = await loaded(ledger, orders(3))
    await bring(run, OrderState.IN_DOUBT)
    clock.turn(SETTLE)
    one, two, three = await ids(run)
    await run.record(
        [
            OrderOutcome(one, OrderState.CREATED, "task-1"),
            OrderOutcome(two, OrderState.REFUSED, error="looked twice, not there"),
            OrderOutcome(three, OrderState.BROADCASTING, "task-3"),
        ]
    )
    assert await states(ledger, run) == {"TRK-1": "created", "TRK-2": "refused", "TRK-3": "broadcasting"}


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
    await run.remark([Remark(first, OrderState.IN_DOUBT, status="accepted")])
    row, _ = [row async for row in run.rows()]
    assert (row.status, row.error) == ("accepted", "two tasks: A\ufffdB")
    await run.remark([])


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


async def test_only_an_order_with_a_task_is_claimed_to_be_read(ledger: Ledger) -> None:
    """Of orders in doubt those with a recorded task are claimed for a read; of the others there is nothing to read."""
    run = await loaded(ledger, orders(2), mode="two-phase")
    one, two = await run.claim(await ids(run))
    await run.record([OrderOutcome(one, OrderState.DRAFTED, "task-1")], broadcast=True)
    await run.record([OrderOutcome(one, OrderState.IN_DOUBT)])
    await run._store.write(moved_behind(run, "ii", epoch=0))
    assert await run.claim_to_read([one, two]) == [one]
    assert await states(ledger, run) == {"TRK-1": "broadcasting", "TRK-2": "in_doubt"}
